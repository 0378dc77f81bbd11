//! Each filter changes what it names, for plain requests and handshakes alike, in the order of the
//! list.

use tidegate_tests::{Answer, Head, Request, ScriptedUpstream, TestGateway};

/// A gateway whose only route has these filters.
fn filtering(upstream: &ScriptedUpstream, filters: &str) -> TestGateway {
    let yaml = format!(
        "services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes:\n  - name: r\n    match: {{ path: ['/r/{{id}}/**', /**] }}\n    \
         filters: [{filters}]\n    proxy: {{ service: up }}\n"
    );
    TestGateway::start(upstream, &yaml)
}

/// What the upstream sees of `request` through these filters.
async fn seen(filters: &str, request: &Request) -> Head {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = filtering(&upstream, filters);
    let mut client = gateway.connect().await;
    client.request(request).await;
    let status = client.read_head().await.status();
    assert!(status == 200 || status == 101, "{status}");
    upstream.only_head().await
}

/// The target that the upstream sees, the same for both kinds.
async fn target(filters: &str, target: &str) -> String {
    let plain = seen(filters, &Request::get(target)).await;
    let handshake = seen(filters, &Request::handshake(target)).await;
    assert_eq!(plain.target(), handshake.target());
    plain.target().to_owned()
}

#[tokio::test]
async fn strip_prefix() {
    for (filter, asked, expected) in [
        ("{ strip_prefix: 1 }", "/a/b/c", "/b/c"),
        ("{ strip_prefix: 2 }", "/a/b/c?x=%2F", "/c?x=%2F"),
        ("{ strip_prefix: 1 }", "/a/", "/"),
        ("{ strip_prefix: 1 }", "/a", "/"),
        ("{ strip_prefix: 3 }", "/a/b", "/"),
        ("{ strip_prefix: 1 }", "/a/b%2Fc/d", "/b%2Fc/d"),
    ] {
        assert_eq!(target(filter, asked).await, expected, "{filter} of {asked}");
    }
}

#[tokio::test]
async fn prefix_path() {
    for (filter, asked, expected) in [
        ("{ prefix_path: /v1 }", "/a?b", "/v1/a?b"),
        ("{ prefix_path: /v1/x }", "/", "/v1/x/"),
        ("{ prefix_path: /v1/ }", "/a", "/v1/a"),
    ] {
        assert_eq!(target(filter, asked).await, expected, "{filter} of {asked}");
    }
}

#[tokio::test]
async fn rewrite_path() {
    let rewrite = "{ rewrite_path: { regex: '^/a/(.*)$', to: '/b/$1' } }";
    assert_eq!(target(rewrite, "/a/x/y?q=/a/").await, "/b/x/y?q=/a/");
    assert_eq!(target(rewrite, "/c/a/x").await, "/c/a/x");
    let named =
        "{ rewrite_path: { regex: '^/(?<first>[^/]+)/(?<last>[^/]+)$', to: '/$last/$first' } }";
    assert_eq!(target(named, "/one/two").await, "/two/one");
}

/// What a rewrite makes is no way out either.
#[tokio::test]
async fn rewritten_path_does_not_leave_the_root() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = filtering(
        &upstream,
        "{ rewrite_path: { regex: '^/a/(.*)$', to: '/base/..$1' } }",
    );
    let answer = gateway.ask(&Request::get("/a//admin")).await;
    assert_ne!(answer.status(), 200, "{}", answer.text());
    upstream.was_left_alone().await;
}

#[tokio::test]
async fn order_of_the_list_counts() {
    let strip = "{ strip_prefix: 1 }";
    let prefix = "{ prefix_path: /v1 }";
    assert_eq!(target(&format!("{strip}, {prefix}"), "/a/b").await, "/v1/b");
    assert_eq!(target(&format!("{prefix}, {strip}"), "/a/b").await, "/a/b");
}

#[tokio::test]
async fn request_headers() {
    let request = || {
        Request::get("/")
            .with("X-A", "1")
            .with("X-B", "b")
            .with("x-a", "2")
    };
    let plain = |filters: &'static str| async move { seen(filters, &request()).await };

    let set = plain("{ set_request_header: { X-A: new } }").await;
    assert_eq!(set.fields("X-A"), ["new"]);
    let set = plain("{ set_request_header: { X-C: new } }").await;
    assert_eq!(set.fields("X-C"), ["new"]);
    assert_eq!(set.fields("X-A"), ["1", "2"]);
    let added = plain("{ add_request_header: { X-A: [x, y] } }").await;
    assert_eq!(added.fields("X-A"), ["1", "2", "x", "y"]);
    let added = plain("{ add_request_header: { X-A: x, X-D: '3' } }").await;
    assert_eq!(added.fields("X-A"), ["1", "2", "x"]);
    assert_eq!(added.fields("X-D"), ["3"]);
    let removed = plain("{ remove_request_header: [X-A, X-None] }").await;
    assert!(!removed.has("X-A") && removed.has("X-B"), "{removed:?}");
    let removed = plain("{ remove_request_header: x-b }").await;
    assert!(!removed.has("X-B") && removed.has("X-A"), "{removed:?}");

    let filters = "{ set_request_header: { Authorization: Bearer x } }, \
        { remove_request_header: [Cookie] }, { add_request_header: { X-A: '1' } }";
    let handshake = Request::handshake("/")
        .with("Cookie", "a=1")
        .with("authorization", "old");
    let handshake = seen(filters, &handshake).await;
    assert_eq!(handshake.fields("Authorization"), ["Bearer x"]);
    assert!(!handshake.has("Cookie"));
    assert_eq!(handshake.fields("X-A"), ["1"]);
    assert!(handshake.has("Sec-WebSocket-Key"));
}

/// The answers that pass through these filters: a plain one, a refusal, and a 101.
async fn answers(filters: &str) -> Vec<Head> {
    const LINES: &str = "X-A: 1\r\nX-B: b\r\nx-a: 2\r\nContent-Length: 2\r\n\r\nok";
    let upstream = ScriptedUpstream::serve(|mut wire| async move {
        while let Ok(asked) = wire.read_head_or_end().await {
            if asked.target() == "/open" {
                let lines = ["X-A: 1", "X-B: b", "x-a: 2"];
                wire.send(tidegate_tests::wire::switching(&asked, &lines))
                    .await;
                return tidegate_tests::upstream::echo(wire).await;
            }
            let status = if asked.is_upgrade() {
                "401 No"
            } else {
                "200 OK"
            };
            wire.send(format!("HTTP/1.1 {status}\r\n{LINES}")).await;
        }
    })
    .await;
    let gateway = filtering(&upstream, filters);
    let mut client = gateway.connect().await;
    let plain: Answer = client.ask(&Request::get("/")).await;
    let refusal = client.ask(&Request::handshake("/refuse")).await;
    let open = client.upgrade("/open").await;
    assert_eq!((plain.text().as_str(), refusal.status()), ("ok", 401));
    vec![plain.head, refusal.head, open]
}

#[tokio::test]
async fn response_headers() {
    for head in answers("{ set_response_header: { X-A: new, X-C: c } }").await {
        assert_eq!(head.fields("X-A"), ["new"], "{head:?}");
        assert_eq!(head.fields("X-C"), ["c"]);
    }
    for head in answers("{ add_response_header: { X-A: [x, y] } }").await {
        assert_eq!(head.fields("X-A"), ["1", "2", "x", "y"], "{head:?}");
    }
    for head in answers("{ remove_response_header: [x-a] }").await {
        assert!(!head.has("X-A") && head.has("X-B"), "{head:?}");
    }
}

/// The first of the list is the outermost: it sees an answer last.
#[tokio::test]
async fn answers_pass_the_list_backwards() {
    let filters = "{ set_response_header: { X-Order: first } }, \
        { set_response_header: { X-Order: second } }";
    for head in answers(filters).await {
        assert_eq!(head.fields("X-Order"), ["first"], "{head:?}");
    }
}

/// A filter may not undo what the gateway vouches for.
#[tokio::test]
async fn handshake_cannot_be_filtered_apart() {
    let upstream = ScriptedUpstream::mirror().await;
    let yaml = "services: { up: { endpoints: [http://UP] } }\n\
        routes:\n  - name: r\n    match: { path: /** }\n    \
        filters: [{ remove_response_header: [Sec-WebSocket-Accept, Upgrade, Connection] }, \
        { remove_request_header: [Sec-WebSocket-Key, Sec-WebSocket-Version] }]\n    \
        proxy: { service: up }\n";
    // Such a file may be refused as well; if it is not, the handshake stands.
    let Ok(gateway) = TestGateway::try_start(&upstream, yaml) else {
        return;
    };
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/")).await;
    let answer = client.read_head().await;
    assert_eq!(answer.status(), 101);
    assert!(
        answer.is_upgrade() && answer.has("Sec-WebSocket-Accept"),
        "{answer:?}"
    );
}

/// What a file may say works: it is refused, or the upstream sees it.
#[tokio::test]
async fn accepted_header_is_seen() {
    for name in [
        "X-Forwarded-Proto",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Real-IP",
        "Forwarded",
        "Origin",
        "Host",
        "TE",
        "Content-Length",
        "Connection",
        "Sec-WebSocket-Protocol",
        "Accept-Encoding",
    ] {
        let upstream = ScriptedUpstream::mirror().await;
        let yaml = format!(
            "services: {{ up: {{ endpoints: [http://UP] }} }}\n\
             routes:\n  - name: r\n    match: {{ path: /** }}\n    \
             filters: [{{ set_request_header: {{ {name}: theirs }} }}]\n    \
             proxy: {{ service: up }}\n"
        );
        let Ok(gateway) = TestGateway::try_start(&upstream, &yaml) else {
            continue;
        };
        let mut client = gateway.connect().await;
        client.request(&Request::get("/")).await;
        client.read_head().await;
        let seen = upstream.only_head().await;
        let values = seen.fields(name).join(", ");
        assert!(
            values.contains("theirs"),
            "{name} is accepted and lost: {seen:?}"
        );
    }
}

#[tokio::test]
async fn filters_of_other_routes_do_nothing() {
    let upstream = ScriptedUpstream::mirror().await;
    let routes = "  - { name: a, match: { path: /x }, filters: [{ prefix_path: /v1 }, \
        { set_response_header: { X-A: '1' } }], proxy: { service: a } }\n  \
        - { name: b, match: { path: /** }, proxy: { service: b } }\n";
    let gateway = TestGateway::routing(&upstream, routes);
    let mut client = gateway.connect().await;
    let filtered = client.ask(&Request::get("/x")).await;
    assert_eq!(filtered.seen().target(), "/a/v1/x");
    assert_eq!(filtered.head.field("X-A"), Some("1"));
    let other = client.ask(&Request::get("/y")).await;
    assert_eq!(other.seen().target(), "/b/y");
    assert!(!other.head.has("X-A"));
}
