//! X-Forwarded-For, -Proto, -Host, -Port and Forwarded say who asked and for what. A
//! stranger's are removed and made anew; those of a trusted proxy are added to.

use std::net::{IpAddr, Ipv4Addr};

use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway, Wire};

/// A client's address outside the trusted 127.0.0.0/24.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 9, 9));
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));

struct Case {
    upstream: ScriptedUpstream,
    gateway: TestGateway,
}

impl Case {
    async fn start() -> Self {
        Self::with_filters("").await
    }

    async fn with_filters(filters: &str) -> Self {
        Self::with("", filters).await
    }

    /// Whose proxies write `Forwarded`.
    async fn forwarded() -> Self {
        Self::with("forwarded_header: forwarded", "").await
    }

    async fn with(top: &str, filters: &str) -> Self {
        let upstream = ScriptedUpstream::mirror().await;
        let yaml = format!(
            "{top}\ntrusted_proxies: [127.0.0.0/24]\nservices: {{ up: {{ endpoints: [http://UP] }} }}\n\
             routes: [{{ name: r, match: {{ path: /** }}, filters: [{filters}], \
             proxy: {{ service: up }} }}]\n"
        );
        let gateway = TestGateway::start(&upstream, &yaml);
        Self { upstream, gateway }
    }

    /// What the upstream sees of `request` from `from`.
    async fn seen(&self, from: IpAddr, request: &Request) -> Head {
        drop(self.upstream.take_heads());
        let mut client = Wire::connect_from(from, self.gateway.address()).await;
        client.request(request).await;
        client.read_head().await;
        self.upstream.only_head().await
    }
}

/// As a plain request, and as a handshake.
fn both() -> [Request; 2] {
    [Request::get("/"), Request::handshake("/")].map(|request| request.host("api.example:8443"))
}

/// The elements of all Forwarded lines (RFC 7239): each a list of `name=value` in lower case.
fn forwarded(head: &Head) -> Vec<Vec<String>> {
    let elements = head.fields("Forwarded").join(",").to_ascii_lowercase();
    elements
        .split(',')
        .map(|element| {
            let mut pairs: Vec<String> = element
                .split(';')
                .map(|pair| pair.trim().replace('"', ""))
                .collect();
            pairs.sort();
            pairs
        })
        .collect()
}

fn forwarded_for(address: &str) -> Vec<String> {
    let mut pairs = vec![
        format!("for={address}"),
        "host=api.example:8443".to_owned(),
        "proto=http".to_owned(),
    ];
    pairs.sort();
    pairs
}

#[tokio::test]
async fn made_from_nothing() {
    let case = Case::start().await;
    let port = case.gateway.address().port();
    for from in [STRANGER, PROXY] {
        for request in both() {
            let seen = case.seen(from, &request).await;
            assert_eq!(
                seen.field("X-Forwarded-For"),
                Some(from.to_string().as_str())
            );
            assert_eq!(seen.field("X-Forwarded-Proto"), Some("http"));
            assert_eq!(seen.field("X-Forwarded-Host"), Some("api.example:8443"));
            let said = seen.field("X-Forwarded-Port").unwrap();
            // The port that the client asked for, or the one that it came to.
            assert!(said == "8443" || said == port.to_string(), "{seen:?}");
            let made = forwarded(&seen);
            assert_eq!(made.len(), 1, "{seen:?}");
            let expected = forwarded_for(&from.to_string());
            for pair in expected {
                assert!(made[0].contains(&pair), "{pair} is not in {seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn strangers_words_are_not_believed() {
    let case = Case::start().await;
    for request in both() {
        let request = request
            .with("X-Forwarded-For", "10.0.0.1")
            .with("x-forwarded-for", "10.0.0.2, 10.0.0.3")
            .with("X-Forwarded-Proto", "https")
            .with("X-Forwarded-Host", "evil.example")
            .with("X-Forwarded-Port", "1")
            .with("Forwarded", "for=10.0.0.1;host=evil.example;proto=https");
        let seen = case.seen(STRANGER, &request).await;
        assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.9.9"));
        assert_eq!(seen.field("X-Forwarded-Proto"), Some("http"));
        assert_eq!(seen.field("X-Forwarded-Host"), Some("api.example:8443"));
        assert_ne!(seen.field("X-Forwarded-Port"), Some("1"));
        assert_eq!(forwarded(&seen).len(), 1);
        let text = format!("{seen:?}");
        assert!(
            !text.contains("10.0.0.") && !text.contains("evil"),
            "{text}"
        );
    }
}

/// Upstreams that turn `-` into `_` (CGI, WSGI) would take them for the real ones.
#[tokio::test]
async fn aliases_of_a_stranger_are_removed() {
    let case = Case::start().await;
    for request in both() {
        let request = request
            .with("X_Forwarded_For", "10.0.0.1")
            .with("x_forwarded-proto", "https")
            .with("X-Forwarded_Host", "evil.example")
            .with("X_FORWARDED_PORT", "1")
            .with("X-Real-IP", "10.0.0.1")
            .with("X_Real_IP", "10.0.0.1")
            .with("X-Forwarded-Prefix", "/evil")
            .with("X-Kept_Too", "1");
        let seen = case.seen(STRANGER, &request).await;
        let text = format!("{seen:?}").to_ascii_lowercase();
        for word in [
            "10.0.0.1",
            "evil",
            "x_forwarded",
            "x_real",
            "forwarded_host",
        ] {
            assert!(!text.contains(word), "{word} is in {text}");
        }
        assert_ne!(seen.field("X-Forwarded-Port"), Some("1"));
        assert_eq!(seen.field("X-Kept_Too"), Some("1"));
    }
}

#[tokio::test]
async fn trusted_proxys_words_are_added_to() {
    let case = Case::start().await;
    for request in both() {
        let request = request
            .with("X-Forwarded-For", "203.0.113.9, 127.0.0.3")
            .with("X-Forwarded-Proto", "https")
            .with("X-Forwarded-Host", "front.example")
            .with("X-Forwarded-Port", "443")
            .with("Forwarded", "for=192.0.2.66;proto=http;host=evil.example");
        let seen = case.seen(PROXY, &request).await;
        let chain = seen.fields("X-Forwarded-For").join(", ");
        let chain: Vec<&str> = chain.split(',').map(str::trim).collect();
        assert_eq!(chain, ["203.0.113.9", "127.0.0.3", "127.0.0.7"]);
        assert_eq!(seen.field("X-Forwarded-Proto"), Some("https"));
        assert_eq!(seen.field("X-Forwarded-Host"), Some("front.example"));
        assert_eq!(seen.field("X-Forwarded-Port"), Some("443"));
        // Its other header, which the client may have sent, is made anew.
        let elements = forwarded(&seen);
        assert_eq!(elements.len(), 3, "{seen:?}");
        for (element, node) in elements.iter().zip(chain) {
            assert!(element.contains(&format!("for={node}")), "{seen:?}");
        }
        assert!(!format!("{seen:?}").contains("evil"), "{seen:?}");
    }
}

#[tokio::test]
async fn chain_over_several_lines_keeps_its_order() {
    let case = Case::start().await;
    let request = Request::get("/")
        .with("X-Forwarded-For", "203.0.113.1")
        .with("X-A", "between")
        .with("x-forwarded-for", "203.0.113.2,203.0.113.3");
    let seen = case.seen(PROXY, &request).await;
    let chain = seen.fields("X-Forwarded-For").join(",").replace(' ', "");
    assert_eq!(chain, "203.0.113.1,203.0.113.2,203.0.113.3,127.0.0.7");
}

#[tokio::test]
async fn nobody_is_trusted_by_default() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let request = Request::get("/").with("X-Forwarded-For", "203.0.113.1");
    let seen = gateway.ask(&request).await.seen();
    assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.0.1"));
}

#[tokio::test]
async fn ipv6_clients_are_quoted_in_forwarded() {
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = format!(
        "version: 1\nlisteners: [{{ name: public, bind: '[::1]:0' }}]\n\
         services: {{ up: {{ endpoints: [http://{}] }} }}\n\
         routes: [{{ name: r, match: {{ path: /** }}, proxy: {{ service: up }} }}]\n",
        upstream.address()
    );
    let gateway = TestGateway::from_file(&yaml);
    assert!(gateway.address().is_ipv6());
    let seen = gateway
        .ask(&Request::get("/").host("[::1]:80"))
        .await
        .seen();
    assert_eq!(seen.field("X-Forwarded-For"), Some("::1"));
    let forwarded = seen.field("Forwarded").unwrap().to_ascii_lowercase();
    // RFC 7239 section 6: in brackets and quotes.
    assert!(forwarded.contains("for=\"[::1]\""), "{forwarded}");
    assert!(forwarded.contains("host=\"[::1]:80\""), "{forwarded}");
}

/// Links that an application builds of scheme, host and port lead back to where the client is.
#[tokio::test]
async fn port_goes_with_the_scheme_and_host_that_a_trusted_proxy_tells() {
    let told = [
        (Some("https"), Some("pub.example"), "443"),
        (Some("http"), Some("pub.example"), "80"),
        (Some("https"), Some("pub.example:9443"), "9443"),
        (Some("http"), Some("pub.example:443"), "443"),
        (None, Some("pub.example"), "80"),
        (Some("https"), None, "8443"),
    ];
    let case = Case::start().await;
    for (proto, host, port) in told {
        for mut request in both() {
            if let Some(proto) = proto {
                request = request.with("X-Forwarded-Proto", proto);
            }
            if let Some(host) = host {
                request = request.with("X-Forwarded-Host", host);
            }
            let seen = case.seen(PROXY, &request).await;
            assert_eq!(seen.field("X-Forwarded-Port"), Some(port), "{seen:?}");
            let proto = proto.unwrap_or("http");
            assert_eq!(seen.field("X-Forwarded-Proto"), Some(proto), "{seen:?}");
            let host = host.unwrap_or("api.example:8443");
            assert_eq!(seen.field("X-Forwarded-Host"), Some(host), "{seen:?}");
        }
    }
}

/// Applications that ban or allow by X-Real-IP get the address that the chain bears out.
#[tokio::test]
async fn real_ip_is_the_computed_one() {
    let case = Case::start().await;
    for request in both() {
        let request = request.with("X-Real-IP", "10.6.6.6");
        let alone = case.seen(PROXY, &request).await;
        assert_eq!(alone.field("X-Real-IP"), Some("127.0.0.7"), "{alone:?}");
        let request = request.with("X-Forwarded-For", "10.6.6.6, 203.0.113.9, 127.0.0.3");
        let chained = case.seen(PROXY, &request).await;
        assert_eq!(
            chained.field("X-Real-IP"),
            Some("203.0.113.9"),
            "{chained:?}"
        );
        let stranger = case.seen(STRANGER, &request).await;
        assert_eq!(
            stranger.field("X-Real-IP"),
            Some("127.0.9.9"),
            "{stranger:?}"
        );
    }
}

/// A proxy that speaks RFC 7239 alone, before an application that knows the older fields alone.
#[tokio::test]
async fn forwarded_alone_is_told_by_the_older_fields_too() {
    let case = Case::forwarded().await;
    for request in both() {
        let told = "for=203.0.113.9;proto=https;host=pub.example";
        let seen = case.seen(PROXY, &request.with("Forwarded", told)).await;
        let chain = seen.fields("X-Forwarded-For").join(",").replace(' ', "");
        assert_eq!(chain, "203.0.113.9,127.0.0.7");
        assert_eq!(seen.field("X-Real-IP"), Some("203.0.113.9"));
        assert_eq!(seen.field("X-Forwarded-Proto"), Some("https"));
        assert_eq!(seen.field("X-Forwarded-Host"), Some("pub.example"));
        assert_eq!(seen.field("X-Forwarded-Port"), Some("443"));
        let elements = forwarded(&seen);
        assert_eq!(elements.len(), 2, "{seen:?}");
        assert!(
            elements[0].contains(&"for=203.0.113.9".to_owned()),
            "{seen:?}"
        );
        assert!(
            elements[1].contains(&"for=127.0.0.7".to_owned()),
            "{seen:?}"
        );
    }
}

/// And the other way round: both tell the same story.
#[tokio::test]
async fn forwarded_agrees_with_the_older_fields() {
    let case = Case::start().await;
    for request in both() {
        let request = request
            .with("X-Forwarded-For", "203.0.113.9, 127.0.0.3")
            .with("X-Forwarded-Proto", "https")
            .with("X-Forwarded-Host", "pub.example");
        let seen = case.seen(PROXY, &request).await;
        let chain = seen.fields("X-Forwarded-For").join(",").replace(' ', "");
        assert_eq!(chain, "203.0.113.9,127.0.0.3,127.0.0.7");
        let elements = forwarded(&seen);
        let nodes: Vec<&String> = elements
            .iter()
            .flatten()
            .filter(|pair| pair.starts_with("for="))
            .collect();
        assert_eq!(nodes, ["for=203.0.113.9", "for=127.0.0.3", "for=127.0.0.7"]);
        assert!(elements[0].contains(&"proto=https".to_owned()), "{seen:?}");
        assert!(
            elements[0].contains(&"host=pub.example".to_owned()),
            "{seen:?}"
        );
    }
}

/// Behind a balancer that ends TLS and says nothing of it, a filter has the last word.
#[tokio::test]
async fn what_a_filter_sets_stays() {
    let filters = "{ set_request_header: { X-Forwarded-Proto: https, X-Real-IP: 192.0.2.1 } }";
    let case = Case::with_filters(filters).await;
    for from in [STRANGER, PROXY] {
        for request in both() {
            let request = request.with("X-Forwarded-Proto", "http");
            let seen = case.seen(from, &request).await;
            assert_eq!(seen.field("X-Forwarded-Proto"), Some("https"), "{seen:?}");
            assert_eq!(seen.field("X-Real-IP"), Some("192.0.2.1"), "{seen:?}");
        }
    }
}

/// What a client says goes no further past a proxy that writes the other header, nor can it swallow
/// the proxy's word.
#[tokio::test]
async fn a_client_speaks_for_nobody_through_a_proxy() {
    let case = Case::forwarded().await;
    for request in both() {
        let smuggled = request
            .clone()
            .with("X-Forwarded-For", "192.0.2.66")
            .with("X-Forwarded-Proto", "gopher")
            .with("X-Forwarded-Host", "evil.example")
            .with(
                "Forwarded",
                "for=192.0.2.66;host=evil.example;proto=https, for=\"",
            )
            .with("Forwarded", "for=203.0.113.9;proto=https");
        let seen = case.seen(PROXY, &smuggled).await;
        let text = format!("{seen:?}");
        for word in ["192.0.2.66", "evil", "gopher"] {
            assert!(!text.contains(word), "{word} is in {text}");
        }
        assert_eq!(seen.field("X-Real-IP"), Some("203.0.113.9"));
        assert_eq!(
            seen.field("X-Forwarded-For"),
            Some("203.0.113.9, 127.0.0.7")
        );
        assert_eq!(seen.field("X-Forwarded-Proto"), Some("https"));
        let quoted = request.with("Forwarded", "for=\";, for=203.0.113.9");
        let seen = case.seen(PROXY, &quoted).await;
        assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.0.7"));
        assert_eq!(forwarded(&seen).len(), 1, "{seen:?}");
    }
}

/// And what is no address, scheme or host ends here.
#[tokio::test]
async fn junk_of_a_trusted_proxy_ends_here() {
    let case = Case::start().await;
    for request in both() {
        let request = request
            .with("X-Forwarded-For", "192.0.2.66, \"x, 203.0.113.9")
            .with("X-Forwarded-Proto", "javascript")
            .with("X-Forwarded-Host", "a b")
            .with("X-Forwarded-Port", "none");
        let seen = case.seen(PROXY, &request).await;
        assert_eq!(
            seen.field("X-Forwarded-For"),
            Some("203.0.113.9, 127.0.0.7")
        );
        assert_eq!(seen.field("X-Forwarded-Proto"), Some("http"));
        assert_eq!(seen.field("X-Forwarded-Host"), Some("api.example:8443"));
        assert_eq!(seen.field("X-Forwarded-Port"), Some("8443"));
    }
}

/// Who calls is said by a bridge and by nobody else, whoever is trusted with addresses.
#[tokio::test]
async fn nobody_says_who_calls() {
    let case = Case::start().await;
    for from in [PROXY, STRANGER] {
        for name in ["User", "Roles", "Session", "Conn", "Time", "Signature"] {
            for name in [format!("X-Tidegate-{name}"), format!("x_tidegate_{name}")] {
                let request = Request::get("/")
                    .with(&name, "root")
                    .with("X-Tidegate-Other", "1");
                let head = case.seen(from, &request).await;
                assert!(!head.has(&name), "{name} from {from}");
                assert_eq!(head.fields("X-Tidegate-Other"), ["1"]);
            }
        }
    }
}
