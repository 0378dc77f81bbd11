//! The client's 101 carries what the upstream chose and set: subprotocol, extensions, cookies and
//! headers; and the accept for the client's own key.

use tidegate_tests::request::KEY;
use tidegate_tests::wire::switching;
use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway, accept_for};

/// Shakes hands through a gateway with an upstream whose 101 has these lines more: the client's
/// 101, and the handshake that the upstream saw.
async fn shake(request: Request, lines: &'static [&'static str]) -> (Head, Head) {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let asked = peer.accept_handshake_with(lines).await;
    let answer = client.read_head().await;
    assert_eq!(answer.status(), 101, "{answer:?}");
    assert_eq!(answer.tokens("upgrade"), ["websocket"]);
    assert_eq!(answer.tokens("connection"), ["upgrade"]);
    assert!(!answer.has("Content-Length") && !answer.has("Transfer-Encoding"));
    (answer, asked)
}

#[tokio::test]
async fn accept_answers_the_clients_own_key() {
    for key in [KEY, "AQIDBAUGBwgJCgsMDQ4PEA==", "/////////////////////w=="] {
        let request = Request::handshake("/").set("Sec-WebSocket-Key", key);
        let (answer, _) = shake(request, &[]).await;
        let accept = accept_for(key);
        assert_eq!(answer.field("Sec-WebSocket-Accept"), Some(accept.as_str()));
        assert!(!answer.has("Sec-WebSocket-Protocol"));
        assert!(!answer.has("Sec-WebSocket-Extensions"));
    }
}

#[tokio::test]
async fn cookies_and_headers_arrive_apart_in_order_and_case() {
    let lines = &[
        "Date: now",
        "Server: theirs",
        "Set-Cookie: a=1; Path=/",
        "X-Custom: One",
        "set-cookie: b=2, still b",
        "x-custom: two",
        "X-Empty:",
    ];
    let (answer, _) = shake(Request::handshake("/"), lines).await;
    let handshake = ["upgrade", "connection", "sec-websocket-accept"];
    let rest: Vec<String> = answer
        .fields
        .iter()
        .filter(|(name, _)| !handshake.contains(&name.to_ascii_lowercase().as_str()))
        .map(|(name, value)| format!("{name}: {value}").trim_end().to_owned())
        .collect();
    assert_eq!(rest, lines);
}

#[tokio::test]
async fn nothing_is_added() {
    let (answer, _) = shake(Request::handshake("/"), &["Date: now"]).await;
    assert_eq!(answer.fields.len(), 4, "{answer:?}");
}

#[tokio::test]
async fn hop_by_hop_fields_stay_behind() {
    let lines = &[
        "Keep-Alive: timeout=5",
        "Proxy-Connection: x",
        "X-Kept: 1",
        "TE: trailers",
    ];
    let (answer, _) = shake(Request::handshake("/"), lines).await;
    assert!(answer.has("X-Kept"));
    for name in ["Keep-Alive", "Proxy-Connection", "TE"] {
        assert!(!answer.has(name), "{answer:?}");
    }
}

#[tokio::test]
async fn second_of_two_protocols_may_be_chosen() {
    let offers = [
        Request::handshake("/").with("Sec-WebSocket-Protocol", "v10.stomp, v12.stomp"),
        Request::handshake("/")
            .with("Sec-WebSocket-Protocol", "v10.stomp")
            .with("Sec-WebSocket-Protocol", "v12.stomp"),
        Request::handshake("/").with("sec-websocket-protocol", " v10.stomp ,v12.stomp ,"),
    ];
    for offer in offers {
        let (answer, asked) = shake(offer, &["Sec-WebSocket-Protocol: v12.stomp"]).await;
        assert_eq!(answer.field("Sec-WebSocket-Protocol"), Some("v12.stomp"));
        assert_eq!(
            asked.tokens("Sec-WebSocket-Protocol"),
            ["v10.stomp", "v12.stomp"]
        );
    }
}

#[tokio::test]
async fn no_protocol_may_be_chosen() {
    let offer = Request::handshake("/").with("Sec-WebSocket-Protocol", "chat, superchat");
    let (answer, asked) = shake(offer, &[]).await;
    assert!(!answer.has("Sec-WebSocket-Protocol"), "{answer:?}");
    assert_eq!(
        asked.tokens("Sec-WebSocket-Protocol"),
        ["chat", "superchat"]
    );
}

#[tokio::test]
async fn deflate_is_negotiated_end_to_end() {
    let offer = "permessage-deflate; client_max_window_bits, permessage-deflate";
    let chosen = "permessage-deflate; server_no_context_takeover; client_max_window_bits=12";
    let request = Request::handshake("/").with("Sec-WebSocket-Extensions", offer);
    let line: &'static str = concat!(
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; ",
        "client_max_window_bits=12"
    );
    let lines: &'static [&'static str] = Box::leak(Box::new([line]));
    let (answer, asked) = shake(request, lines).await;
    assert_eq!(answer.field("Sec-WebSocket-Extensions"), Some(chosen));
    assert_eq!(asked.field("Sec-WebSocket-Extensions"), Some(offer));
}

#[tokio::test]
async fn deflate_may_be_declined() {
    let request = Request::handshake("/").with("Sec-WebSocket-Extensions", "permessage-deflate");
    let (answer, _) = shake(request, &[]).await;
    assert!(!answer.has("Sec-WebSocket-Extensions"), "{answer:?}");
}

/// Under an extension that the gateway does not know it could neither look at messages nor
/// put frames of its own between them.
#[tokio::test]
async fn unknown_extensions_are_not_offered() {
    let request = Request::handshake("/")
        .with("Sec-WebSocket-Extensions", "x-private, permessage-deflate")
        .with("Sec-WebSocket-Extensions", "mux; a=1");
    let (answer, asked) = shake(request, &[]).await;
    let offers = asked.tokens("Sec-WebSocket-Extensions");
    assert_eq!(offers, ["permessage-deflate"]);
    assert!(!answer.has("Sec-WebSocket-Extensions"));
}

#[tokio::test]
async fn upstream_sees_the_clients_own_handshake() {
    let request = Request::handshake("/chat/room?id=%2F1&x")
        .host("chat.example:8443")
        .with("Cookie", "a=1; b=2")
        .with("Cookie", "c=3")
        .with("Authorization", "Bearer x")
        .with("Origin", "https://app.example")
        .with("X-A", "1")
        .with("x-a", "2");
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    assert_eq!(asked.start, "GET /chat/room?id=%2F1&x HTTP/1.1");
    assert_eq!(asked.field("Host"), Some("chat.example:8443"));
    assert_eq!(asked.fields("Cookie"), ["a=1; b=2", "c=3"]);
    assert_eq!(asked.field("Authorization"), Some("Bearer x"));
    assert_eq!(asked.field("Origin"), Some("https://app.example"));
    assert_eq!(asked.fields("X-A"), ["1", "2"]);
    let names: Vec<&str> = asked.fields.iter().map(|(name, _)| name.as_str()).collect();
    assert!(
        names.contains(&"X-A") && names.contains(&"x-a"),
        "{names:?}"
    );
    assert!(!asked.has("Content-Length") && !asked.has("Transfer-Encoding"));
    peer.send(switching(&asked, &[])).await;
    assert_eq!(client.read_head().await.status(), 101);
}
