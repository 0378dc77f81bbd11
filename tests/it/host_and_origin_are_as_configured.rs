//! The upstream sees the client's Host and Origin, its own, or a literal one.

use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway};

/// What the upstream sees through a route with these keys of `proxy`, as a plain request and as a
/// handshake; `origin` is the client's.
async fn seen(proxy: &str, origin: Option<&str>) -> ([Head; 2], String) {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before_with(&upstream, "", proxy);
    let heads = [Request::get("/"), Request::handshake("/")].map(|request| {
        let request = request.host("client.example:8443");
        match origin {
            Some(origin) => request.with("Origin", origin),
            None => request,
        }
    });
    let mut seen = Vec::new();
    for request in heads {
        drop(upstream.take_heads());
        let mut client = gateway.connect().await;
        client.request(&request).await;
        client.read_head().await;
        seen.push(upstream.only_head().await);
    }
    let second = seen.pop().unwrap();
    (
        [seen.pop().unwrap(), second],
        upstream.address().to_string(),
    )
}

#[tokio::test]
async fn host() {
    for proxy in ["", "host: keep"] {
        let (heads, _) = seen(proxy, None).await;
        for head in heads {
            assert_eq!(head.field("Host"), Some("client.example:8443"));
        }
    }
    let (heads, address) = seen("host: rewrite", None).await;
    for head in heads {
        assert_eq!(head.field("Host"), Some(address.as_str()));
        assert_eq!(head.field("X-Forwarded-Host"), Some("client.example:8443"));
    }
    for literal in ["inner.example", "inner.example:81"] {
        let (heads, _) = seen(&format!("host: '{literal}'"), None).await;
        for head in heads {
            assert_eq!(head.field("Host"), Some(literal));
        }
    }
}

#[tokio::test]
async fn origin_of_a_client_that_has_one() {
    let theirs = "https://app.example";
    for proxy in ["", "origin: keep", "origin: { default: https://x.example }"] {
        let (heads, _) = seen(proxy, Some(theirs)).await;
        for head in heads {
            assert_eq!(head.field("Origin"), Some(theirs), "{proxy}");
        }
    }
    let (heads, address) = seen("origin: rewrite", Some(theirs)).await;
    for head in heads {
        assert_eq!(
            head.field("Origin"),
            Some(format!("http://{address}").as_str())
        );
    }
    let (heads, _) = seen("origin: https://literal.example", Some(theirs)).await;
    for head in heads {
        assert_eq!(head.field("Origin"), Some("https://literal.example"));
    }
    let (heads, _) = seen("origin: keep", Some("null")).await;
    for head in heads {
        assert_eq!(head.field("Origin"), Some("null"));
    }
}

#[tokio::test]
async fn origin_of_a_client_that_has_none() {
    for proxy in ["", "origin: keep", "origin: rewrite"] {
        let (heads, _) = seen(proxy, None).await;
        for head in heads {
            assert!(!head.has("Origin"), "{proxy}: {head:?}");
        }
    }
    for proxy in [
        "origin: https://x.example",
        "origin: { default: https://x.example }",
    ] {
        let (heads, _) = seen(proxy, None).await;
        for head in heads {
            assert_eq!(head.field("Origin"), Some("https://x.example"), "{proxy}");
        }
    }
}

#[tokio::test]
async fn host_stays_in_its_place() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before_with(&upstream, "", "host: rewrite");
    let seen = gateway
        .ask(&Request::get("/").with("X-A", "1"))
        .await
        .seen();
    let place = |name: &str| {
        seen.fields
            .iter()
            .position(|(known, _)| known == name)
            .unwrap()
    };
    assert!(place("Host") < place("X-A"), "{seen:?}");
}

/// A client of HTTP/1.0 may name no host; the upstream, spoken to in HTTP/1.1, must hear one.
#[tokio::test]
async fn host_is_made_for_who_names_none() {
    let upstream = ScriptedUpstream::mirror().await;
    for proxy in ["", "host: rewrite"] {
        let gateway = TestGateway::before_with(&upstream, "", proxy);
        let request = Request::get("/").version("HTTP/1.0").without("Host");
        let seen = gateway.ask(&request).await.seen();
        let address = upstream.address().to_string();
        assert_eq!(seen.field("Host"), Some(address.as_str()));
    }
}

/// Kept is kept: its case too, though routes compare without it.
#[tokio::test]
async fn kept_host_is_as_it_was_written() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    for host in [
        "Client.Example",
        "CLIENT.example:8443",
        "a:80",
        "[::1]:80",
        "127.0.0.1",
    ] {
        let seen = gateway.ask(&Request::get("/").host(host)).await.seen();
        assert_eq!(seen.field("Host"), Some(host));
    }
}
