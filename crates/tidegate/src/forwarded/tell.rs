//! What the upstream is told of the client.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use bytes::Bytes;
use http::HeaderValue;

use super::{parse_address, tells_of_certificate, tells_of_client, told};
use crate::authority::Authority;
use crate::exchange::Exchange;
use crate::headers::{FieldName, Headers, is_token_byte};
use crate::tls::ClientCertificate;

/// Tells the upstream who the client is, adding to what trusted proxies and filters say.
pub(crate) fn tell_upstream(headers: &mut Headers, exchange: &Exchange) {
    if headers
        .iter()
        .any(|field| tells_of_client(field.name.as_str()))
    {
        tell_more(headers, exchange);
    } else {
        tell_first(headers, exchange);
    }
}

/// Tells what [`tell_more`] would where nobody has told anything, which is so for almost every
/// request: all values are in one piece of memory.
fn tell_first(headers: &mut Headers, exchange: &Exchange) {
    let secure = exchange.downstream.secure;
    let (proto, default_port) = if secure { ("https", 443) } else { ("http", 80) };
    let peer = exchange.downstream.peer.ip().to_canonical();
    let host = exchange.authority.as_ref();
    let port = host.and_then(Authority::port).unwrap_or(default_port);
    let mut text = String::with_capacity(256);
    // Formatting into memory does not fail.
    let mut put = |value: fmt::Arguments<'_>| {
        let begin = text.len();
        let _ = text.write_fmt(value);
        begin..text.len()
    };
    let node = put(format_args!("{peer}"));
    let own_host = host.map(|host| put(format_args!("{host}")));
    let port = put(format_args!("{port}"));
    let client = put(format_args!("{}", exchange.client));
    let element = match peer {
        IpAddr::V4(peer) => put(format_args!("for={peer}")),
        IpAddr::V6(peer) => put(format_args!("for=\"[{peer}]\"")),
    };
    if let Some(host) = host {
        let is_token = host.port().is_none() && host.host().bytes().all(is_token_byte);
        let quote = if is_token { "" } else { "\"" };
        put(format_args!(";host={quote}{host}{quote}"));
    }
    let element = element.start..put(format_args!(";proto={proto}")).end;
    let text = Bytes::from(text);
    let mut tell = |name, value: Bytes| {
        // Made of addresses, of a host that was parsed, and of a number.
        if let Ok(value) = HeaderValue::from_maybe_shared(value) {
            headers.append(FieldName::from_static(name), value);
        }
    };
    tell("X-Forwarded-For", text.slice(node));
    tell("X-Forwarded-Proto", Bytes::from_static(proto.as_bytes()));
    if let Some(own_host) = own_host {
        tell("X-Forwarded-Host", text.slice(own_host));
    }
    tell("X-Forwarded-Port", text.slice(port));
    tell("X-Real-IP", text.slice(client));
    tell("Forwarded", text.slice(element));
}

/// Adds to what was told before.
fn tell_more(headers: &mut Headers, exchange: &Exchange) {
    let downstream = &exchange.downstream;
    let told = told(headers, exchange.client);
    let before = headers.contains("forwarded");
    let peer = downstream.peer.ip().to_canonical();
    let own_proto = if downstream.secure { "https" } else { "http" };
    let own_host = exchange.authority.as_ref().map(ToString::to_string);
    let proto = told.proto.as_deref().unwrap_or(own_proto);
    let host = told.host.as_deref().or(own_host.as_deref());
    // The port goes with the host and the scheme: whoever told those decides on it.
    let named = host.and_then(|host| Authority::parse(host.as_bytes()).ok());
    let default_port = if proto.eq_ignore_ascii_case("https") {
        443
    } else {
        80
    };
    let port = named
        .as_ref()
        .and_then(Authority::port)
        .unwrap_or(default_port);

    let mut nodes = told.nodes.clone();
    nodes.push(peer.to_string());
    set(headers, "X-Forwarded-For", &nodes.join(", "));
    set_if_absent(headers, "X-Forwarded-Proto", proto);
    if let Some(host) = host {
        set_if_absent(headers, "X-Forwarded-Host", host);
    }
    set_if_absent(headers, "X-Forwarded-Port", &port.to_string());
    set_if_absent(headers, "X-Real-IP", &exchange.client.to_string());

    let mut forwarded = String::new();
    if before {
        for value in headers
            .get_all("forwarded")
            .filter_map(|value| value.to_str().ok())
        {
            let _ = write!(forwarded, "{value}, ");
        }
        write_element(
            &mut forwarded,
            &peer.to_string(),
            own_host.as_deref(),
            Some(own_proto),
        );
    } else {
        // The first element is the client's, so it is the one that knows host and scheme.
        for (place, node) in nodes.iter().enumerate() {
            let first = place == 0;
            let separator = if first { "" } else { ", " };
            forwarded.push_str(separator);
            write_element(
                &mut forwarded,
                node,
                host.filter(|_| first),
                Some(proto).filter(|_| first),
            );
        }
    }
    set(headers, "Forwarded", &forwarded);
}

/// Tells the upstream of the client's certificate (RFC 9440), and of nobody's where it showed none.
pub(crate) fn tell_of_certificate(headers: &mut Headers, certificate: Option<&ClientCertificate>) {
    headers.retain(|field| !tells_of_certificate(field.name.as_str()));
    let Some(certificate) = certificate else {
        return;
    };
    let encoded = format!(":{}:", STANDARD.encode(certificate.der()));
    let names = certificate.names().collect::<Vec<_>>().join(", ");
    set(headers, "Client-Cert", &encoded);
    set(headers, "X-Client-Cert-Subject", certificate.subject());
    set(headers, "X-Client-Cert-San", &names);
}

/// Writes one element (RFC 7239 section 4).
fn write_element(into: &mut String, node: &str, host: Option<&str>, proto: Option<&str>) {
    let node = match parse_address(node) {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        Some(IpAddr::V4(address)) => address.to_string(),
        None => node.to_owned(),
    };
    let parameters = [
        ("for", Some(node.as_str())),
        ("host", host),
        ("proto", proto),
    ];
    for (place, (name, value)) in parameters
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .enumerate()
    {
        let separator = if place == 0 { "" } else { ";" };
        // What is no token is quoted: a colon, a bracket.
        let token = value.bytes().all(is_token_byte);
        let quote = if token { "" } else { "\"" };
        // Formatting into memory does not fail.
        let _ = write!(
            into,
            "{separator}{name}={quote}{}{quote}",
            value.replace(['"', '\\'], "")
        );
    }
}

fn set_if_absent(headers: &mut Headers, name: &'static str, value: &str) {
    if !headers.contains(name) {
        set(headers, name, value);
    }
}

pub(super) fn set(headers: &mut Headers, name: &'static str, value: &str) {
    // Made of addresses and of values that were legal before.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.set(FieldName::from_static(name), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The short way says what the long one does.
    #[test]
    fn who_tells_first_tells_the_same() {
        let peers = ["192.0.2.1:9", "[2001:db8::1]:9", "[::ffff:192.0.2.1]:9"];
        let hosts = [
            None,
            Some("h.example"),
            Some("h:8080"),
            Some("[::1]:80"),
            Some("[::1]"),
        ];
        for (peer, host) in peers.iter().flat_map(|peer| hosts.map(|host| (peer, host))) {
            for secure in [false, true] {
                let mut exchange = crate::pipeline::testing::exchange("/");
                let downstream = std::sync::Arc::get_mut(&mut exchange.downstream).unwrap();
                downstream.peer = peer.parse().unwrap();
                downstream.secure = secure;
                exchange.client = downstream.peer.ip().to_canonical();
                exchange.authority = host.map(|host| Authority::parse(host.as_bytes()).unwrap());
                let kept = Headers::of(&[("Accept", "*/*")]);
                let (mut short, mut long) = (kept.clone(), kept);
                tell_first(&mut short, &exchange);
                tell_more(&mut long, &exchange);
                assert_eq!(short, long);
                assert!(short.len() >= 6);
            }
        }
    }
}
