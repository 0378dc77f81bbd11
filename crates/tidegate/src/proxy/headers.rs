//! What the two sides are told of each other: hop-by-hop fields go, the client's address is told,
//! `Host` and `Origin` follow the route's policy.

use std::fmt::Write as _;
use std::net::IpAddr;

use http::HeaderValue;

use crate::config::plan::{EndpointPlan, HostPolicy, OriginPolicy, ProxyPlan};
use crate::exchange::Exchange;
use crate::headers::{FieldName, Headers};

/// Fields that speak of one connection only (RFC 9110 section 7.6.1), and what older senders use.
const HOP_BY_HOP: [&str; 11] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that `Connection` may name and that stay all the same, because somebody relies on them
/// for protection.
fn is_protected(name: &str) -> bool {
    const EXACT: [&str; 11] = [
        "authorization",
        "content-length",
        "content-type",
        "cookie",
        "forwarded",
        "host",
        "origin",
        "set-cookie",
        "www-authenticate",
        "x-real-ip",
        "x-request-id",
    ];
    const PREFIXES: [&str; 2] = ["sec-websocket-", "x-forwarded-"];
    EXACT.iter().any(|exact| name.eq_ignore_ascii_case(exact))
        || PREFIXES.iter().any(|prefix| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}

/// Removes what speaks of one connection only: the fixed set, and what `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut Headers) {
    let named: Vec<Vec<u8>> = headers
        .list("connection")
        .filter(|name| std::str::from_utf8(name).is_ok_and(|name| !is_protected(name)))
        .map(<[u8]>::to_vec)
        .collect();
    headers.retain(|field| {
        let name = field.name.as_str();
        !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
            && !named
                .iter()
                .any(|named| name.as_bytes().eq_ignore_ascii_case(named))
    });
}

/// The request's fields as the upstream gets them, but for those of framing and of a handshake.
pub(crate) fn for_upstream(
    exchange: &Exchange,
    proxy: &ProxyPlan,
    endpoint: &EndpointPlan,
) -> Headers {
    let mut headers = exchange.headers.clone();
    let wants_trailers = headers.list_has("te", "trailers");
    let trailer: Vec<_> = headers.get_all("trailer").cloned().collect();
    remove_hop_by_hop(&mut headers);
    tell_client(&mut headers, exchange);
    set_host(&mut headers, exchange, &proxy.host, endpoint);
    set_origin(&mut headers, &proxy.origin, endpoint);
    if wants_trailers {
        headers.append(
            FieldName::from_static("TE"),
            HeaderValue::from_static("trailers"),
        );
    }
    // Trailers can only follow chunks (RFC 9112 section 7.1.2).
    if exchange.body.length().is_none() {
        for value in trailer {
            headers.append(FieldName::from_static("Trailer"), value);
        }
    }
    headers
}

/// The answer's fields as the client gets them, but for those of framing.
pub(crate) fn for_downstream(headers: &mut Headers, chunked: bool) {
    let trailer: Vec<_> = headers.get_all("trailer").cloned().collect();
    remove_hop_by_hop(headers);
    if chunked {
        for value in trailer {
            headers.append(FieldName::from_static("Trailer"), value);
        }
    }
}

/// Whether a name is one by which a proxy tells of the client, also when written with underscores,
/// which many applications take for hyphens.
fn tells_of_client(name: &str) -> bool {
    const NAMES: [&str; 8] = [
        "forwarded",
        "x-forwarded-by",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-port",
        "x-forwarded-prefix",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    let same =
        |left: u8, right: u8| left.eq_ignore_ascii_case(&right) || left == b'_' && right == b'-';
    let is = |known: &str| {
        name.len() == known.len()
            && name
                .bytes()
                .zip(known.bytes())
                .all(|(left, right)| same(left, right))
    };
    NAMES.iter().any(|known| is(known))
        || name.len() > 12
            && "x-forwarded-"
                .bytes()
                .zip(name.bytes())
                .all(|(known, byte)| same(byte, known))
}

/// Tells the upstream who the client is. What an untrusted peer says of it is removed and made
/// anew; a trusted proxy's word is kept and added to.
fn tell_client(headers: &mut Headers, exchange: &Exchange) {
    let downstream = &exchange.origin;
    if downstream.trusted {
        headers.retain(|field| {
            !(field.name.as_str().contains('_') && tells_of_client(field.name.as_str()))
        });
    } else {
        headers.retain(|field| !tells_of_client(field.name.as_str()));
    }
    let peer = downstream.peer.ip().to_canonical();
    let proto = if downstream.secure { "https" } else { "http" };
    let default_port = if downstream.secure { 443 } else { 80 };
    let authority = exchange.authority.as_ref();
    let host = authority.map(ToString::to_string);
    let port = authority
        .and_then(crate::authority::Authority::port)
        .unwrap_or(default_port);
    extend_list(headers, "X-Forwarded-For", &peer.to_string());
    set_if_absent(headers, "X-Forwarded-Proto", proto);
    if let Some(host) = &host {
        set_if_absent(headers, "X-Forwarded-Host", host);
    }
    set_if_absent(headers, "X-Forwarded-Port", &port.to_string());
    set_if_absent(headers, "X-Real-IP", &exchange.client.to_string());
    extend_list(
        headers,
        "Forwarded",
        &forwarded(peer, host.as_deref(), proto),
    );
}

/// One element of `Forwarded` (RFC 7239 section 4).
fn forwarded(peer: IpAddr, host: Option<&str>, proto: &str) -> String {
    let mut element = match peer {
        IpAddr::V4(peer) => format!("for={peer}"),
        IpAddr::V6(peer) => format!("for=\"[{peer}]\""),
    };
    if let Some(host) = host {
        // A colon or a bracket is not part of a token, so such a host is quoted.
        let quote = if host.contains([':', '[']) { "\"" } else { "" };
        let _ = write!(element, ";host={quote}{host}{quote}");
    }
    let _ = write!(element, ";proto={proto}");
    element
}

/// Adds an element to a list field, on one line.
fn extend_list(headers: &mut Headers, name: &'static str, element: &str) {
    let mut list = Vec::new();
    for value in headers.get_all(name).filter(|value| !value.is_empty()) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(element.as_bytes());
    set_value(headers, name, &list);
}

fn set_if_absent(headers: &mut Headers, name: &'static str, value: &str) {
    if !headers.contains(name) {
        set_value(headers, name, value.as_bytes());
    }
}

fn set_value(headers: &mut Headers, name: &'static str, value: &[u8]) {
    // Made of addresses and of values that were legal before.
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.set(FieldName::from_static(name), value);
    }
}

fn set_host(
    headers: &mut Headers,
    exchange: &Exchange,
    policy: &HostPolicy,
    endpoint: &EndpointPlan,
) {
    let host = match policy {
        HostPolicy::Keep => exchange.authority.as_ref().unwrap_or(&endpoint.authority),
        HostPolicy::Rewrite => &endpoint.authority,
        HostPolicy::Literal(authority) => authority,
    };
    // A kept `Host` stays as it was written, unless an absolute target said otherwise.
    let kept = headers.get("host").is_some_and(|value| {
        value
            .as_bytes()
            .eq_ignore_ascii_case(host.to_string().as_bytes())
    });
    if !kept {
        let host = without_default_port(host);
        set_value(headers, "Host", host.as_bytes());
    }
}

/// A host as it is written where port 80 is the default.
fn without_default_port(authority: &crate::authority::Authority) -> String {
    match authority.port() {
        Some(80) => authority.host().to_owned(),
        _ => authority.to_string(),
    }
}

fn set_origin(headers: &mut Headers, policy: &OriginPolicy, endpoint: &EndpointPlan) {
    let present = headers.contains("origin");
    match policy {
        OriginPolicy::Keep => {}
        OriginPolicy::Rewrite if present => {
            let origin = format!("http://{}", without_default_port(&endpoint.authority));
            set_value(headers, "Origin", origin.as_bytes());
        }
        OriginPolicy::Default(_) if present => {}
        OriginPolicy::Rewrite => {}
        OriginPolicy::Literal(origin) | OriginPolicy::Default(origin) => {
            headers.set(FieldName::from_static("Origin"), origin.clone());
        }
    }
}

/// The client's address: the peer's, or, behind trusted proxies, the right-most address in
/// `X-Forwarded-For` that is none of theirs.
pub(crate) fn client_address(
    peer: IpAddr,
    headers: &Headers,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let named: Vec<_> = headers.list("x-forwarded-for").collect();
    for element in named.into_iter().rev() {
        let address = std::str::from_utf8(element).ok().and_then(parse_address);
        // What cannot be read hides who stood behind it.
        let Some(address) = address else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address with or without a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
        .map(|(address, _)| address);
    let address = bare.unwrap_or(text).parse().ok();
    address
        .or_else(|| {
            text.parse::<std::net::SocketAddr>()
                .ok()
                .map(|address| address.ip())
        })
        .map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in lines {
            headers.append(
                FieldName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    #[test]
    fn what_connection_names_goes_unless_it_protects() {
        let mut headers = headers(&[
            (
                "Connection",
                "keep-alive, X-Secret, Cookie, X-Forwarded-For, sec-websocket-key, Host",
            ),
            ("X-Secret", "1"),
            ("Cookie", "a=b"),
            ("X-Forwarded-For", "1.1.1.1"),
            ("Sec-WebSocket-Key", "k"),
            ("Host", "h"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "close"),
        ]);
        remove_hop_by_hop(&mut headers);
        let left: Vec<_> = headers.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(
            left,
            ["Cookie", "X-Forwarded-For", "Sec-WebSocket-Key", "Host"]
        );
    }

    #[test]
    fn aliases_with_underscores_are_known() {
        for name in [
            "X_Forwarded_For",
            "x-forwarded_proto",
            "X-Forwarded-Anything",
            "FORWARDED",
            "X_Real_IP",
        ] {
            assert!(tells_of_client(name), "{name}");
        }
        assert!(!tells_of_client("X-Forward"));
    }

    #[test]
    fn the_client_is_the_right_most_untrusted_address() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let of = |peer: &str, list: &'static str| {
            let headers = headers(&[("X-Forwarded-For", list)]);
            client_address(peer.parse().unwrap(), &headers, trusted).to_string()
        };
        assert_eq!(of("10.0.0.1", "6.6.6.6, 7.7.7.7, 10.0.0.2"), "7.7.7.7");
        assert_eq!(of("5.5.5.5", "6.6.6.6"), "5.5.5.5");
        assert_eq!(of("10.0.0.1", "10.0.0.9"), "10.0.0.9");
        assert_eq!(of("10.0.0.1", "6.6.6.6, junk"), "10.0.0.1");
        assert_eq!(of("10.0.0.1", "[2001:db8::1]:443"), "2001:db8::1");
    }
}
