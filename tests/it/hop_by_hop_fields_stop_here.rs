//! Fields of one connection are not passed to the next, in either direction; and no
//! `Connection` can name away what protects.

use tidegate_tests::request::KEY;
use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway};

/// What the upstream sees of `request`.
async fn seen(request: &Request) -> Head {
    let upstream = ScriptedUpstream::mirror().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(request).await;
    client.read_head().await;
    upstream.only_head().await
}

/// The same as a plain request and as a handshake.
fn both(lines: &[(&str, &str)]) -> [Request; 2] {
    let plain = Request::get("/").with("Connection", "keep-alive");
    [plain, Request::handshake("/")].map(|request| {
        lines
            .iter()
            .fold(request, |request, (name, value)| request.with(name, value))
    })
}

#[tokio::test]
async fn fixed_set_of_a_request() {
    let lines = [
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "gzip;q=0.5"),
        ("X-Kept", "1"),
    ];
    for request in both(&lines) {
        let seen = seen(&request).await;
        for name in ["Keep-Alive", "Proxy-Connection", "TE"] {
            assert!(!seen.has(name), "{seen:?}");
        }
        assert_eq!(seen.field("X-Kept"), Some("1"));
    }
}

#[tokio::test]
async fn named_ones_of_a_request() {
    let lines = [
        ("connection", "X-Hop, x-other"),
        ("Connection", "X-Third,, close"),
        ("X-Hop", "1"),
        ("x-hop", "2"),
        ("X-OTHER", "3"),
        ("X-Third", "4"),
        ("X-Kept", "5"),
    ];
    for request in both(&lines) {
        let seen = seen(&request).await;
        for name in ["X-Hop", "X-Other", "X-Third"] {
            assert!(!seen.has(name), "{seen:?}");
        }
        assert_eq!(seen.field("X-Kept"), Some("5"));
        let connection = seen.tokens("Connection");
        for name in ["x-hop", "x-other", "x-third", "close"] {
            assert!(!connection.contains(&name.to_owned()), "{seen:?}");
        }
    }
}

/// CVE-2024-45410 and its kin.
#[tokio::test]
async fn protecting_ones_cannot_be_named_away() {
    let named = "Host, Origin, Cookie, Authorization, X-Forwarded-For, X-Forwarded-Host, \
        X-Forwarded-Proto, X-Forwarded-Port, Forwarded, Sec-WebSocket-Key, \
        Sec-WebSocket-Version, Sec-WebSocket-Protocol, Sec-WebSocket-Extensions, \
        Content-Length, Content-Type";
    let lines = [
        ("Origin", "https://app.example"),
        ("Cookie", "a=1"),
        ("Authorization", "Bearer x"),
        ("Sec-WebSocket-Protocol", "chat"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("Connection", named),
    ];
    for request in both(&lines) {
        let seen = seen(&request).await;
        assert_eq!(seen.field("Host"), Some("test.example"));
        assert_eq!(seen.field("Origin"), Some("https://app.example"));
        assert_eq!(seen.field("Cookie"), Some("a=1"));
        assert_eq!(seen.field("Authorization"), Some("Bearer x"));
        assert_eq!(seen.field("Sec-WebSocket-Protocol"), Some("chat"));
        assert_eq!(seen.field("X-Forwarded-For"), Some("127.0.0.1"));
        assert_eq!(seen.field("X-Forwarded-Host"), Some("test.example"));
        assert_eq!(seen.field("X-Forwarded-Proto"), Some("http"));
        assert!(
            seen.has("Forwarded") && seen.has("X-Forwarded-Port"),
            "{seen:?}"
        );
    }
    let handshake = seen(&both(&lines)[1]).await;
    assert!(handshake.has("Sec-WebSocket-Key"));
    assert_eq!(handshake.field("Sec-WebSocket-Version"), Some("13"));
}

#[tokio::test]
async fn length_cannot_be_named_away() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    let named = "Content-Length, Transfer-Encoding, Content-Type";
    let request = Request::new("POST", "/")
        .with("Connection", named)
        .body("hello");
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let head = peer.read_head().await;
    let (body, _, _) = peer.read_body(&head).await.unwrap();
    assert_eq!(body, b"hello", "{head:?}");
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        .await;
    assert_eq!(client.read_answer().await.text(), "ok");
}

/// `TE: trailers` is of one connection too, so it is made anew (`architecture.md` section 6).
#[tokio::test]
async fn te_trailers_is_made_anew() {
    for value in [
        "trailers",
        "Trailers",
        "deflate;q=0.5, trailers",
        "trailers, gzip",
    ] {
        let request = Request::get("/").with("TE", value).with("Connection", "TE");
        let seen = seen(&request).await;
        assert_eq!(seen.field("TE"), Some("trailers"), "{seen:?}");
        // RFC 9110 section 10.1.4: a sender of TE names it in Connection.
        assert!(
            seen.tokens("Connection").contains(&"te".to_owned()),
            "{seen:?}"
        );
    }
    for value in ["gzip", "deflate;q=0.5", ""] {
        let seen = seen(&Request::get("/").with("TE", value)).await;
        assert!(!seen.has("TE"), "{seen:?}");
    }
}

#[tokio::test]
async fn those_of_an_answer() {
    let text = "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\n\
        Proxy-Connection: x\r\nX-Hop: 1\r\nx-hop: 2\r\nUpgrade: h2c\r\nTE: trailers\r\n\
        X-Kept: 1\r\nProxy-Authenticate: Basic\r\nContent-Length: 2\r\n\r\nok";
    let upstream = ScriptedUpstream::answering(text).await;
    let gateway = TestGateway::before(&upstream);
    for request in both(&[]) {
        let answer = gateway.ask(&request).await;
        for name in ["Keep-Alive", "Proxy-Connection", "X-Hop", "Upgrade"] {
            assert!(!answer.head.has(name), "{:?}", answer.head);
        }
        assert!(
            !answer
                .head
                .tokens("Connection")
                .contains(&"x-hop".to_owned())
        );
        assert_eq!(answer.head.field("X-Kept"), Some("1"));
        assert_eq!(answer.text(), "ok");
    }
}

#[tokio::test]
async fn answer_cannot_name_away_what_protects() {
    let text = "HTTP/1.1 401 No\r\nConnection: Set-Cookie, WWW-Authenticate, Content-Length, \
        Strict-Transport-Security\r\nSet-Cookie: a=1\r\nWWW-Authenticate: Basic\r\n\
        Content-Length: 2\r\n\r\nno";
    let upstream = ScriptedUpstream::answering(text).await;
    let gateway = TestGateway::before(&upstream);
    for request in both(&[]) {
        let answer = gateway.ask(&request).await;
        assert_eq!(answer.text(), "no", "the framing was named away");
    }
}

#[tokio::test]
async fn upgrade_of_a_post_is_not_passed_on() {
    let request = Request::new("POST", "/")
        .with("Upgrade", "websocket")
        .with("Sec-WebSocket-Key", KEY)
        .body("hello");
    let seen = seen(&request).await;
    assert!(!seen.has("Upgrade"), "{seen:?}");
}
