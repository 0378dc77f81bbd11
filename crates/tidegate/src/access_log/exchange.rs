//! `http`, and `ws.open`: what a request asked for, and what it got.

use std::io::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::escape::cut;
use super::line::{LONGEST, Line, between_quotes, more, target};
use super::{AccessLog, stamp};
use crate::config::plan::AccessLogFormat;
use crate::exchange::Downstream;
use crate::headers::Headers;
use crate::http1::head::{RequestHead, Version};
use crate::route::{Route, Target};
use crate::session::handle::Handle;
use crate::session::id::ConnectionId;
use crate::tls::Secured;
use crate::upstream::Endpoint;

/// What is kept of a request until its line is written. It shares what the request's head holds.
#[derive(Debug)]
pub(crate) struct Record {
    connection: ConnectionId,
    client: IpAddr,
    /// Who sent it, where that is known.
    user: Option<Box<str>>,
    method: Method,
    path: Bytes,
    query: Option<Bytes>,
    version: Version,
    upgrade: bool,
    origin: Option<HeaderValue>,
    agent: Option<HeaderValue>,
    trace: Option<HeaderValue>,
    tls: Option<Arc<Secured>>,
    /// For the combined format alone.
    referer: Option<HeaderValue>,
    /// The endpoint that was tried last.
    endpoint: Option<Arc<Endpoint>>,
    /// How often it was tried anew.
    retries: u64,
    /// From the choice of the endpoint to the head of its answer.
    upstream: Option<Duration>,
    /// The code of the problem that the client was told.
    code: Option<&'static str>,
    /// Why the answer is not whole.
    cause: Option<&'static str>,
    bytes_in: u64,
    bytes_out: u64,
}

impl Record {
    /// A request whose head has come.
    pub(crate) fn new(
        log: &AccessLog,
        head: &RequestHead,
        upgrade: bool,
        downstream: &Downstream,
    ) -> Self {
        let mut record = Self {
            connection: downstream.connection,
            client: downstream.peer.ip().to_canonical(),
            user: None,
            method: head.method.clone(),
            path: head.path.clone(),
            query: head.query.clone(),
            version: head.version,
            upgrade,
            origin: None,
            agent: None,
            trace: None,
            tls: downstream.tls.clone(),
            referer: None,
            endpoint: None,
            retries: 0,
            upstream: None,
            code: None,
            cause: None,
            bytes_in: 0,
            bytes_out: 0,
        };
        record.read(&head.headers, log.format == AccessLogFormat::Combined);
        record
    }

    /// Masks what `hide` knows to be secret, in the query and in that of the page before.
    pub(crate) fn hide(&mut self, hide: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        if let Some(hidden) = self.query.as_deref().and_then(&hide) {
            self.query = Some(hidden.into());
        }
        let referer = self.referer.as_ref().map(HeaderValue::as_bytes);
        let Some((page, query)) = referer.and_then(|referer| {
            let at = referer.iter().position(|byte| *byte == b'?')?;
            Some(referer.split_at(at + 1))
        }) else {
            return;
        };
        if let Some(hidden) = hide(query) {
            self.referer = HeaderValue::from_bytes(&[page, &hidden].concat()).ok();
        }
    }

    /// Finds what it needs in one walk.
    fn read(&mut self, headers: &Headers, wants_referer: bool) {
        for field in headers.iter() {
            let name = &field.name;
            let place = match name.as_str().len() {
                6 if name.is("origin") => &mut self.origin,
                7 if wants_referer && name.is("referer") => &mut self.referer,
                10 if name.is("user-agent") => &mut self.agent,
                11 if name.is("traceparent") => &mut self.trace,
                _ => continue,
            };
            place.get_or_insert_with(|| field.value.clone());
        }
    }

    /// Who the client is, once trusted proxies were heard.
    pub(crate) const fn come_from(&mut self, client: IpAddr) {
        self.client = client;
    }

    /// Who sent it.
    pub(crate) fn known(&mut self, user: &str) {
        self.user = Some(user.into());
    }

    /// An endpoint is tried.
    pub(crate) fn tried(&mut self, endpoint: Arc<Endpoint>) {
        self.retries += u64::from(self.endpoint.is_some());
        self.endpoint = Some(endpoint);
    }

    /// The endpoint answered.
    pub(crate) const fn answered_by_upstream(&mut self, took: Duration) {
        self.upstream = Some(took);
    }

    /// The client is told this problem.
    pub(crate) const fn failed(&mut self, code: &'static str) {
        self.code = Some(code);
    }

    /// The answer is not whole.
    pub(crate) const fn cut(&mut self, cause: &'static str) {
        self.cause = Some(cause);
    }

    /// Whether it is known why the answer is not whole.
    pub(crate) const fn is_cut(&self) -> bool {
        self.cause.is_some()
    }

    /// So many bytes of the bodies passed, from the client and to it.
    pub(crate) const fn carried(&mut self, (bytes_in, bytes_out): (u64, u64)) {
        self.bytes_in = bytes_in;
        self.bytes_out = bytes_out;
    }

    /// Writes the line of an exchange that was answered with `status`.
    pub(crate) fn write(
        &self,
        log: &AccessLog,
        route: Option<&Route>,
        status: u16,
        took: Duration,
    ) {
        if log.format == AccessLogFormat::Combined {
            return log.shard.offer(|out| self.combined(out, status));
        }
        log.line("http", |line| {
            line.word("conn", self.connection);
            self.put_target(line, route);
            line.text("method", self.method.as_str().as_bytes());
            self.put_path(line, status);
            if let Some(code) = self.code {
                line.label("code", code);
            }
            if self.upgrade {
                line.label("upgrade", "websocket");
            }
            self.put_client(line);
            line.millis("duration_ms", took);
            if let Some(took) = self.upstream {
                line.millis("upstream_ms", took);
            }
            line.number("retries", self.retries)
                .number("bytes_in", self.bytes_in)
                .number("bytes_out", self.bytes_out);
            if let Some(cause) = self.cause {
                line.label("cause", cause);
            }
            self.put_trace(line);
        });
    }

    /// Writes the line of a session that has begun.
    pub(crate) fn write_open(
        &self,
        log: &AccessLog,
        session: &Handle,
        route: Option<&Route>,
        took: Duration,
    ) {
        if log.format == AccessLogFormat::Combined {
            return log.shard.offer(|out| self.combined(out, 101));
        }
        log.line("ws.open", |line| {
            line.word("conn", self.connection)
                .word("session", session.id);
            self.put_target(line, route);
            self.put_path(line, 101);
            if let Some(subprotocol) = session.facts.subprotocol() {
                line.text("subprotocol", subprotocol.as_bytes());
            }
            self.put_client(line);
            line.millis("handshake_ms", took);
            if let Some(took) = self.upstream {
                line.millis("upstream_handshake_ms", took);
            }
            self.put_trace(line);
        });
    }

    fn put_target(&self, line: &mut Line<'_>, route: Option<&Route>) {
        line.label("route", route.map_or("-", |route| &route.name));
        let target = route.map(|route| &route.target);
        if let Some(service) = target.and_then(Target::service) {
            line.label("service", &service.plan.name);
        }
        if let Some(handler) = target.and_then(Target::handler) {
            line.label("handler", handler);
        }
        if let Some(endpoint) = &self.endpoint {
            line.word("endpoint", &endpoint.plan.authority);
        }
        line.address("client", self.client);
        if let Some(user) = &self.user {
            line.text("user", user.as_bytes());
        }
    }

    fn put_path(&self, line: &mut Line<'_>, status: u16) {
        line.path("path", &self.path, self.query.as_deref())
            .number("status", status.into());
    }

    fn put_client(&self, line: &mut Line<'_>) {
        line.label("http", self.version());
        if let Some(tls) = &self.tls {
            line.label("tls", tls.version);
            line.label("tls_cipher", tls.cipher_suite);
            if let Some(name) = &tls.server_name {
                line.text("sni", name.as_bytes());
            }
            if let Some(certificate) = &tls.client_certificate {
                line.text("client_certificate", certificate.subject().as_bytes());
            }
        }
        for (key, value) in [("origin", &self.origin), ("ua", &self.agent)] {
            if let Some(value) = value {
                line.text(key, value.as_bytes());
            }
        }
    }

    fn put_trace(&self, line: &mut Line<'_>) {
        let trace = self.trace.as_ref().map(HeaderValue::as_bytes);
        if let Some(id) = trace.and_then(trace_id) {
            line.label("trace_id", id);
        }
    }

    const fn version(&self) -> &'static str {
        match self.version {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
        }
    }

    fn combined(&self, out: &mut Vec<u8>, status: u16) {
        begin_combined(out, self.client);
        // A token, which needs no escape, and as long as a stranger likes.
        let (method, is_cut) = cut(self.method.as_str().as_bytes(), LONGEST);
        out.extend_from_slice(method);
        more(out, is_cut);
        out.push(b' ');
        let is_cut = target(out, false, &self.path, self.query.as_deref());
        more(out, is_cut);
        let (version, bytes) = (self.version(), self.bytes_out);
        let _ = write!(out, " HTTP/{version}\" {status} {bytes} "); // memory takes it
        match self.referer.as_ref().map(HeaderValue::as_bytes) {
            Some(referer) => {
                // A fragment has no business there (RFC 9110 section 10.1.3), and may be a token.
                let end = referer.iter().position(|byte| *byte == b'#');
                let referer = &referer[..end.unwrap_or(referer.len())];
                let end = referer.iter().position(|byte| *byte == b'?');
                let (page, query) = referer.split_at(end.unwrap_or(referer.len()));
                out.push(b'"');
                let is_cut = target(out, false, page, query.get(1..));
                more(out, is_cut);
                out.push(b'"');
            }
            None => between_quotes(out, None),
        }
        out.push(b' ');
        between_quotes(out, self.agent.as_ref().map(HeaderValue::as_bytes));
        out.push(b'\n');
    }
}

fn begin_combined(out: &mut Vec<u8>, client: IpAddr) {
    let _ = write!(out, "{client} - - [");
    stamp::put_common(out, SystemTime::now());
    out.extend_from_slice(b"] \"");
}

/// Writes the line of what was no request.
pub(super) fn combined_refusal(out: &mut Vec<u8>, client: IpAddr, status: u16) {
    begin_combined(out, client);
    let _ = writeln!(out, "-\" {status} 0 \"-\" \"-\"");
}

/// The trace id of a `traceparent` that is as W3C has it.
pub(crate) fn trace_id(traceparent: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(traceparent).ok()?;
    let mut parts = text.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let (parent, flags) = (parts.next()?, parts.next()?);
    let is_hex = |text: &str, length: usize| {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        text.len() == length && text.bytes().all(is_digit)
    };
    let is_something = |text: &str| text.bytes().any(|byte| byte != b'0');
    let is_valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_something(trace)
        && is_hex(parent, 16)
        && is_something(parent)
        && is_hex(flags, 2)
        // What later versions may add.
        && (version != "00" || parts.next().is_none());
    is_valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_traceparent_as_it_should_be_names_a_trace() {
        let id = "0af7651916cd43dd8448eb211c80319c";
        let parent = "b7ad6b7169203331";
        for (text, is_valid) in [
            (format!("00-{id}-{parent}-01"), true),
            (format!("cc-{id}-{parent}-01-more"), true),
            (format!("00-{id}-{parent}-01-more"), false),
            (format!("ff-{id}-{parent}-01"), false),
            (format!("00-{id}-{parent}"), false),
            (format!("00-{}-{parent}-01", "0".repeat(32)), false),
            (format!("00-{id}-{}-01", "0".repeat(16)), false),
            (format!("00-{}-{parent}-01", id.to_uppercase()), false),
            (format!("00-{id}x-{parent}-01"), false),
            (format!("00-{}\"-{parent}-01", &id[1..]), false),
            (String::new(), false),
        ] {
            let found = trace_id(text.as_bytes());
            assert_eq!(found, is_valid.then_some(id), "{text}");
        }
    }
}
