//! What the two sides are told of each other: hop-by-hop fields go, the client's address is told,
//! `Host` and `Origin` follow the route's policy.

use http::HeaderValue;

use crate::authority::Authority;
use crate::config::defaults;
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

/// Lines that are added to a request at most, as a rule.
const ADDED: usize = 10;

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
    let mut headers = exchange.headers.clone_with_room(ADDED);
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
    let kept = headers.get("host");
    let kept = kept.is_some_and(|value| host.is_written(value.as_bytes()));
    if !kept {
        let host = without_default_port(host, endpoint.is_tls);
        set_value(headers, "Host", host.as_bytes());
    }
}

/// A host as it is written where port 80 is the default, or 443 over TLS.
fn without_default_port(authority: &Authority, is_tls: bool) -> String {
    let default = if is_tls {
        defaults::ENDPOINT_TLS_PORT
    } else {
        defaults::ENDPOINT_PORT
    };
    if authority.port() == Some(default) {
        authority.host().to_owned()
    } else {
        authority.to_string()
    }
}

fn set_origin(headers: &mut Headers, policy: &OriginPolicy, endpoint: &EndpointPlan) {
    let present = headers.contains("origin");
    match policy {
        OriginPolicy::Keep => {}
        OriginPolicy::Rewrite if present => {
            let scheme = if endpoint.is_tls { "https" } else { "http" };
            let host = without_default_port(&endpoint.authority, endpoint.is_tls);
            let origin = format!("{scheme}://{host}");
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
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::config::plan::TargetPlan;
    use crate::headers::stays_though_named;
    use crate::pipeline::testing::exchange;

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

    /// Fields that a filter may trip over: hop-by-hop ones, those that `Connection` names in any
    /// case, those that it may not take away, and bystanders.
    fn tricky() -> impl Strategy<Value = Headers> {
        let name = prop::sample::select(vec![
            "Connection",
            "connection",
            "CONNECTION",
            "Keep-Alive",
            "TE",
            "te",
            "Trailer",
            "Upgrade",
            "Transfer-Encoding",
            "Proxy-Authorization",
            "Proxy-Connection",
            "HTTP2-Settings",
            "X-A",
            "x-b",
            "X-C",
            "Cookie",
            "Authorization",
            "Host",
            "Origin",
            "X-Forwarded-For",
            "X_Forwarded_For",
            "X-Forwarded-Host",
            "X-Real-IP",
            "Forwarded",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Protocol",
            "Content-Type",
            "X-Request-Id",
        ]);
        let value = prop::sample::select(vec![
            "x-a",
            "X-A, x-B",
            "cookie,host , X-C",
            "authorization",
            "close",
            "keep-alive, ,te",
            "trailers",
            "gzip",
            "upgrade",
            "x-forwarded-for, x-real-ip",
            "sec-websocket-key",
            "connection",
            "1",
            "",
            "transfer-encoding, trailer",
            "origin,forwarded",
            "a\tb",
        ]);
        prop::collection::vec((name, value), 0..14).prop_map(|lines| Headers::of(&lines))
    }

    fn lines(headers: &Headers) -> Vec<(String, HeaderValue)> {
        let line = |field: &crate::headers::Field| {
            let name = field.name.as_str().to_ascii_lowercase();
            (name, field.value.clone())
        };
        headers.iter().map(line).collect()
    }

    /// What `Connection` names, read in another way than the filter reads it.
    fn named(headers: &Headers) -> Vec<String> {
        let all: Vec<_> = headers
            .get_all("connection")
            .map(|value| value.to_str().unwrap().to_ascii_lowercase())
            .collect();
        let names = all.iter().flat_map(|line| line.split(','));
        names.map(|name| name.trim().to_owned()).collect()
    }

    fn plan() -> ProxyPlan {
        let text = "{ version: 1, listeners: [{ name: a, bind: '127.0.0.1:0' }], \
                    services: { app: { endpoints: 'http://10.0.0.1:81' } }, \
                    routes: [{ name: r, match: { path: /** }, proxy: { service: app } }] }";
        let plan = Config::from_yaml("test.yaml", text)
            .unwrap()
            .resolve()
            .unwrap();
        let target = plan.routes.into_iter().next().unwrap().target;
        let TargetPlan::Proxy(proxy) = target else {
            unreachable!("it is a proxy");
        };
        proxy
    }

    proptest! {
        #[test]
        fn exactly_what_speaks_of_one_connection_goes(before in tricky()) {
            let named = named(&before);
            let mut after = before.clone();
            remove_hop_by_hop(&mut after);
            let stays = |(name, _): &(String, HeaderValue)| {
                !HOP_BY_HOP.contains(&&name[..]) && (stays_though_named(name) || !named.contains(name))
            };
            let wanted: Vec<_> = lines(&before).into_iter().filter(stays).collect();
            prop_assert_eq!(lines(&after), wanted);
        }

        #[test]
        fn an_upstream_gets_no_named_field_and_every_protected_one(before in tricky()) {
            let plan = plan();
            let mut exchange = exchange("/");
            exchange.authority = Some(Authority::parse(b"client.example").unwrap());
            exchange.headers = before.clone();
            forwarded::distrust(&mut exchange.headers, None);
            let after = for_upstream(&exchange, &plan, &plan.service.endpoints[0]);

            let named = named(&before);
            for (name, value) in lines(&after) {
                let asked_for = name == "te" && value == "trailers";
                prop_assert!(asked_for || !HOP_BY_HOP.contains(&&name[..]), "{} went on", name);
                prop_assert!(asked_for || stays_though_named(&name) || !named.contains(&name), "{}", name);
            }
            let survives = |(name, _): &(String, HeaderValue)| {
                name == "cookie"
                    || name == "authorization"
                    || name == "origin"
                    || name.starts_with("sec-websocket-")
            };
            let kept = |headers: &Headers| -> Vec<_> {
                lines(headers).into_iter().filter(survives).collect()
            };
            prop_assert_eq!(kept(&after), kept(&before));
            for (name, wanted) in [
                ("host", "client.example"),
                ("x-forwarded-for", "127.0.0.1"),
                ("x-forwarded-host", "client.example"),
                ("x-real-ip", "127.0.0.1"),
                ("forwarded", "for=127.0.0.1;host=client.example;proto=http"),
            ] {
                prop_assert_eq!(after.get_all(name).collect::<Vec<_>>(), [wanted], "{}", name);
            }
            prop_assert!(!after.contains("x_forwarded_for"));
        }

        #[test]
        fn a_client_gets_no_named_field(before in tricky(), chunked in any::<bool>()) {
            let named = named(&before);
            let mut after = before;
            for_downstream(&mut after, chunked);
            for (name, _) in lines(&after) {
                let trailer = chunked && name == "trailer";
                prop_assert!(trailer || !HOP_BY_HOP.contains(&&name[..]), "{} went on", name);
                prop_assert!(trailer || stays_though_named(&name) || !named.contains(&name), "{}", name);
            }
        }
    }
}
