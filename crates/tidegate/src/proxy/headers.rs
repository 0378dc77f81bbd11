//! What the two sides are told of each other: hop-by-hop fields go, the client's address is told,
//! `Host` and `Origin` follow the route's policy.

use http::HeaderValue;

use crate::config::plan::{EndpointPlan, HostPolicy, OriginPolicy, ProxyPlan};
use crate::exchange::Exchange;
use crate::forwarded;
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

/// Removes what speaks of one connection only: the fixed set, and what `Connection` names.
pub(crate) fn remove_hop_by_hop(headers: &mut Headers) {
    headers.remove_named();
    headers.retain(|field| {
        let name = field.name.as_str();
        !HOP_BY_HOP.iter().any(|hop| name.eq_ignore_ascii_case(hop))
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
    forwarded::tell_upstream(&mut headers, exchange);
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

fn set_value(headers: &mut Headers, name: &'static str, value: &[u8]) {
    // Made of a host that was parsed.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_connection_names_goes_unless_it_protects() {
        let mut headers = Headers::of(&[
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
}
