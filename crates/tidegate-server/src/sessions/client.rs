//! Asks an admin listener: one request to a connection, in the HTTP/1.0 that it answers without
//! chunks.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;
use std::{fs, io, str};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tidegate::config::{Secret, defaults};

use super::tls::{self, Tls};
use crate::cli::AdminArgs;
use crate::config;
use crate::reachable::reachable;

/// How long each step may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest answer, in bytes.
const LONGEST: u64 = 64 << 20;

/// The way to one admin listener.
pub(crate) struct Client {
    host: String,
    token: Option<Secret>,
    tls: Option<Tls>,
}

/// What it said.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// JSON, or null.
    pub(crate) body: Value,
}

impl Client {
    /// The listener that `args` name, else that of the configuration.
    pub(crate) fn new(args: &AdminArgs) -> anyhow::Result<Self> {
        let token = args.token_file.as_ref().map(|file| {
            let text = fs::read_to_string(file);
            let text = text.with_context(|| format!("cannot read {}", file.display()))?;
            let text = text.trim_ascii();
            if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!(
                    "{} holds no token: visible ASCII characters",
                    file.display()
                );
            }
            anyhow::Ok(Secret::new(text))
        });
        let token = token.transpose()?;
        // With an address and no file named, what lies about on this machine is not meant.
        let is_named = args.config.config.is_some();
        let plan = if is_named || (args.admin.is_none() && config::find(&args.config).is_ok()) {
            let plan = config::load(&args.config)?.resolve()?;
            let named = plan.admin.context(
                "the configuration has no `admin`: name its listener with --admin HOST:PORT",
            );
            Some(named?)
        } else {
            None
        };
        let host = match (&args.admin, &plan) {
            (Some(host), _) => host.clone(),
            (None, Some(plan)) => reachable(plan.bind()).to_string(),
            (None, None) => defaults::ADMIN_BIND.to_string(),
        };
        let configured = || plan.as_ref().and_then(|plan| plan.token().cloned());
        let token = token.or_else(configured);
        let tls = plan.as_ref().and_then(|plan| plan.tls());
        let tls = Tls::new(&args.tls, &host, tls.map(|tls| &**tls))?;
        Ok(Self { host, token, tls })
    }

    /// One that wants no token and speaks no TLS.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self {
            host: address.to_string(),
            token: None,
            tls: None,
        }
    }

    /// Where it is.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Sends a request, and reads the answer to its end.
    pub(crate) fn ask(
        &self,
        method: &str,
        target: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        self.ask_with(method, target, None, body)
    }

    /// The same, with one more field.
    pub(crate) fn ask_with(
        &self,
        method: &str,
        target: &str,
        field: Option<(&str, &str)>,
        body: Option<&Value>,
    ) -> anyhow::Result<Answer> {
        let host = &self.host;
        let request = self.request(method, target, field, body)?;
        let answered = self.exchange(&request);
        let answer =
            answered.with_context(|| format!("cannot ask the admin listener at {host}"))?;
        parse(&answer).with_context(|| format!("what answers at {host} is no admin listener"))
    }

    fn exchange(&self, request: &str) -> anyhow::Result<Vec<u8>> {
        let stream = connect(&self.host)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        match &self.tls {
            Some(tls) => talk(tls.over(stream)?, request),
            None => talk(stream, request),
        }
    }

    fn request(
        &self,
        method: &str,
        target: &str,
        field: Option<(&str, &str)>,
        body: Option<&Value>,
    ) -> anyhow::Result<String> {
        let mut request = format!("{method} {target} HTTP/1.0\r\nHost: {}\r\n", self.host);
        if let Some(token) = &self.token {
            let token = str::from_utf8(token.reveal())?;
            write!(request, "Authorization: Bearer {token}\r\n")?;
        }
        if let Some((name, value)) = field {
            write!(request, "{name}: {value}\r\n")?;
        }
        let body = body.map(ToString::to_string).unwrap_or_default();
        if !body.is_empty() {
            write!(request, "Content-Length: {}\r\n", body.len())?;
        }
        request.push_str("\r\n");
        request.push_str(&body);
        Ok(request)
    }
}

impl Answer {
    /// Its body, where it has this status; else what it complains of.
    pub(crate) fn expect(self, status: u16) -> anyhow::Result<Value> {
        if self.status == status {
            return Ok(self.body);
        }
        if self.status == 401 {
            bail!(
                "the admin listener wants its token: name its file with --token-file, or the \
                 configuration that has it with --config (401)"
            );
        }
        if self.body["code"] == "plain_http" {
            bail!("the admin listener speaks TLS: ask it with --tls, or --ca (400)");
        }
        match self.body["detail"].as_str() {
            Some(detail) => bail!(
                "{} ({})",
                detail.replace(char::is_control, "?"),
                self.status
            ),
            None => bail!("the admin listener answers with {}", self.status),
        }
    }
}

/// Sends a request, and reads what comes until the end.
fn talk(mut stream: impl Read + Write, request: &str) -> anyhow::Result<Vec<u8>> {
    let mut answer = Vec::new();
    let mut talk = || {
        stream.write_all(request.as_bytes())?;
        stream.flush()?;
        (&mut stream).take(LONGEST).read_to_end(&mut answer)
    };
    match talk() {
        Ok(_read) => Ok(answer),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            bail!("nothing came for {} s", TIMEOUT.as_secs())
        }
        Err(error) => {
            let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
            let advice = of_tls.map(tls::advice);
            let error = anyhow::Error::from(error);
            match advice {
                Some(advice) => Err(error.context(advice)),
                None => Err(error),
            }
        }
    }
}

fn connect(host: &str) -> anyhow::Result<TcpStream> {
    let mut last = None;
    for address in host.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.into()),
        None => bail!("the name has no address"),
    }
}

fn parse(answer: &[u8]) -> anyhow::Result<Answer> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.context("the answer has no whole head")?);
    let head = str::from_utf8(head)?;
    let status = head.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.context("the answer has no status")?.parse()?;
    let body = &body[4..];
    let lengths = head.lines().filter_map(|line| line.split_once(':'));
    for (name, value) in lengths {
        if name.eq_ignore_ascii_case("content-length") && value.trim() != body.len().to_string() {
            bail!("the answer is cut");
        }
    }
    let body = serde_json::from_slice(body).unwrap_or_default();
    Ok(Answer { status, body })
}

/// A value for a path or a query.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_whole_or_none() {
        let whole = parse(b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\n{\"a\": 1}").unwrap();
        assert_eq!((whole.status, &whole.body["a"]), (200, &1.into()));
        for wrong in [
            &b""[..],
            b"HTTP/1.0 200 OK\r\n",
            b"HTTP/1.0 2\r\n\r\n",
            b"HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\n{\"a\": 1}",
            b"SSH-2.0\r\n\r\n",
        ] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn who_is_not_let_in_is_told_by_which_option() {
        let body = serde_json::json!({ "detail": "send a header" });
        let answer = Answer { status: 401, body };
        let said = answer.expect(200).unwrap_err().to_string();
        assert!(
            said.contains("--token-file") && said.contains("401"),
            "{said}"
        );
    }

    #[test]
    fn what_stands_in_a_target_is_encoded() {
        assert_eq!(encoded("10.0.0.0/8 é"), "10.0.0.0%2F8%20%C3%A9");
    }
}
