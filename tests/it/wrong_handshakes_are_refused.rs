//! Handshakes that are odd but right open a session; wrong ones are refused with the status
//! of `docs/statuses.md`, and the upstream hears nothing of them.

use tidegate_tests::request::KEY;
use tidegate_tests::{Answer, End, Request, ScriptedUpstream, TestGateway};

fn good() -> Request {
    Request::handshake("/chat")
}

#[tokio::test]
async fn odd_but_right_ones_open() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let requests = [
        good().set("Connection", "keep-alive, Upgrade"),
        good()
            .set("Connection", "keep-alive")
            .with("Connection", "Upgrade"),
        good().set("Connection", "UPGRADE"),
        good().set("Connection", "upgrade,keep-alive,"),
        good().set("Connection", "Upgrade, close"),
        good().set("Upgrade", "WebSocket"),
        good()
            .set("Upgrade", "WEBSOCKET")
            .set("Connection", "uPgRaDe"),
        good().with("Content-Length", "0"),
        good()
            .with("Sec-WebSocket-Protocol", "")
            .without("Sec-WebSocket-Protocol"),
        good().host("[::1]:8080"),
        good().without("Upgrade").with("upgrade", "websocket"),
    ];
    for request in requests {
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let answer = client.read_head().await;
        assert_eq!(answer.status(), 101, "{request:?}");
    }
}

async fn refused(request: &Request, status: u16) -> (Answer, End) {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let answer = client.ask(request).await;
    assert_eq!(answer.status(), status, "{request:?}");
    answer.expect_problem(status);
    assert_eq!(gateway.sessions(), 0);
    upstream.was_left_alone().await;
    client.finish().await;
    let end = client.expect_end().await;
    (answer, end)
}

#[tokio::test]
async fn other_versions_are_426() {
    let requests = [
        good().set("Sec-WebSocket-Version", "8"),
        good().set("Sec-WebSocket-Version", "0"),
        good().set("Sec-WebSocket-Version", "14"),
        good().set("Sec-WebSocket-Version", "130"),
        good().set("Sec-WebSocket-Version", "+13"),
        good().set("Sec-WebSocket-Version", "013"),
        good().set("Sec-WebSocket-Version", ""),
        good().without("Sec-WebSocket-Version"),
        good().with("Sec-WebSocket-Version", "13"),
        good().with("Sec-WebSocket-Version", "8"),
        good().set("Sec-WebSocket-Version", "13, 8"),
    ];
    for request in requests {
        let (answer, _) = refused(&request, 426).await;
        assert_eq!(answer.head.field("Sec-WebSocket-Version"), Some("13"));
        assert_eq!(answer.head.tokens("Upgrade"), ["websocket"]);
        let connection = answer.head.tokens("Connection");
        assert!(
            connection.contains(&"upgrade".to_owned()),
            "{:?}",
            answer.head
        );
    }
}

#[tokio::test]
async fn bad_keys_are_400_and_say_so() {
    let keys = [
        "",
        "short",
        "dGhlIHNhbXBsZSBub25jZQ",         // no padding
        "dGhlIHNhbXBsZSBub25jZQ=",        // half the padding
        "dGhlIHNhbXBsZSBub25j",           // 15 bytes
        "dGhlIHNhbXBsZSBub25jZSE=",       // 17 bytes
        "dGhlIHNhbXBsZSBub25jZQ== x",     // something behind it
        "dGhlIHNhbXBsZSBub25jZQ==, AAAA", // a list
        "dGhlIHNhbXBsZSBub25j_Q==",       // another alphabet
        "!!!!!!!!!!!!!!!!!!!!!!==",
    ];
    for key in keys {
        let (answer, end) = refused(&good().set("Sec-WebSocket-Key", key), 400).await;
        assert!(answer.text().contains("16 bytes"), "{}", answer.text());
        assert_closed(&answer, end);
    }
    let (answer, end) = refused(&good().without("Sec-WebSocket-Key"), 400).await;
    assert_closed(&answer, end);
    for second in [KEY, "AQIDBAUGBwgJCgsMDQ4PEA=="] {
        let (answer, end) = refused(&good().with("Sec-WebSocket-Key", second), 400).await;
        assert_closed(&answer, end);
    }
}

fn assert_closed(answer: &Answer, end: End) {
    let connection = answer.head.tokens("Connection");
    assert!(
        connection.contains(&"close".to_owned()),
        "{:?}",
        answer.head
    );
    assert_eq!(end, End::Fin);
}

#[tokio::test]
async fn other_methods_are_405() {
    for method in [
        "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get", "PROPFIND",
    ] {
        let request = Request::new(method, "/chat")
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Key", KEY)
            .with("Sec-WebSocket-Version", "13");
        let (answer, _) = refused(&request, 405).await;
        assert_eq!(answer.head.field("Allow"), Some("GET"));
    }
}

#[tokio::test]
async fn body_is_400() {
    let requests = [
        good().body("hello"),
        good().body("x"),
        good().chunks(&["hello"]),
    ];
    for request in requests {
        let (answer, end) = refused(&request, 400).await;
        assert_closed(&answer, end);
    }
}

#[tokio::test]
async fn no_host_or_two_are_400() {
    let requests = [
        good().without("Host"),
        good().with("Host", "test.example"),
        good().with("Host", "other.example"),
        good().host("a b"),
        good().host("user@test.example"),
        good().host("test.example:port"),
        good().host(""),
    ];
    for request in requests {
        let (answer, end) = refused(&request, 400).await;
        assert_closed(&answer, end);
    }
}

/// HTTP/1.0, no `Connection: upgrade`, another protocol: the upgrade is ignored (RFC 9110 section
/// 7.8 lets a server), and nothing of it goes on.
#[tokio::test]
async fn upgrades_to_nothing_are_plain_requests() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let settings = "AAMAAABkAAQAAP__";
    let requests = [
        good().version("HTTP/1.0"),
        good().without("Connection"),
        good().set("Connection", "keep-alive"),
        good().set("Connection", "Upgraded, xupgrade"),
        good().without("Upgrade"),
        good().set("Upgrade", "foo"),
        good().set("Upgrade", "websockets"),
        good().set("Upgrade", "web socket"),
        Request::get("/")
            .with("Connection", "Upgrade, HTTP2-Settings")
            .with("Upgrade", "h2c")
            .with("HTTP2-Settings", settings),
        Request::get("/")
            .with("Upgrade", "h2c")
            .with("HTTP2-Settings", settings),
        Request::new("POST", "/")
            .with("Connection", "Upgrade, HTTP2-Settings")
            .with("Upgrade", "h2c")
            .with("HTTP2-Settings", settings)
            .body("hello"),
        Request::get("/")
            .with("Connection", "Upgrade")
            .with("Upgrade", "TLS/1.0"),
        Request::get("/").with("Connection", "Upgrade"),
    ];
    for request in requests {
        let mut client = gateway.connect().await;
        let answer = client.ask(&request).await;
        let seen = answer.seen();
        for name in ["Upgrade", "HTTP2-Settings"] {
            assert!(!seen.has(name), "{request:?} made {seen:?}");
            assert!(!answer.head.has(name), "{:?}", answer.head);
        }
        let connection = seen.tokens("Connection");
        assert!(!connection.contains(&"upgrade".to_owned()), "{seen:?}");
        assert_eq!(seen.start.rsplit(' ').next(), Some("HTTP/1.1"));
    }
    assert_eq!(gateway.sessions(), 0);
}

#[tokio::test]
async fn h2c_beside_websocket_goes_nowhere() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let lists = [
        good().set("Upgrade", "h2c, websocket"),
        good().set("Upgrade", "websocket, h2c"),
        good()
            .with("Upgrade", "h2c")
            .set("Connection", "Upgrade, HTTP2-Settings"),
    ];
    for request in lists {
        let mut client = gateway.connect().await;
        client
            .request(&request.with("HTTP2-Settings", "AAMAAABkAAQAAP__"))
            .await;
        client.read_head().await;
    }
    for seen in upstream.heads() {
        assert!(!seen.has("HTTP2-Settings"), "{seen:?}");
        assert!(
            !seen.tokens("Upgrade").contains(&"h2c".to_owned()),
            "{seen:?}"
        );
    }
}

#[tokio::test]
async fn next_try_on_the_same_connection_may_be_right() {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let old = client.ask(&good().set("Sec-WebSocket-Version", "8")).await;
    assert_eq!(old.status(), 426);
    if old.head.tokens("Connection").contains(&"close".to_owned()) {
        client = gateway.connect().await;
    }
    client.upgrade("/chat").await;
}
