//! A route may let offers of further extensions pass. Under one that the gateway does not know it
//! reads frames as far as every extension leaves them alone, and adds nothing of its own.

use std::time::Duration;

use tidegate_tests::frame::{BINARY, CONTINUATION, PING, TEXT};
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire};

const OFFERS: &str =
    "x-first; level=3, permessage-deflate; client_max_window_bits, X-Second, x-third";

async fn gateway(keys: &str) -> (ScriptedUpstream, TestGateway) {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "", &format!("websocket: {{ {keys} }}"));
    (upstream, gateway)
}

/// Offers [`OFFERS`], of which the upstream accepts `accepted`; the client's end with the status
/// of its answer, the upstream's, and the offers that the upstream saw.
async fn offer(
    upstream: &mut ScriptedUpstream,
    gateway: &TestGateway,
    accepted: &str,
) -> (Wire, u16, Wire, Option<String>) {
    let mut client = gateway.connect().await;
    let request = Request::handshake("/").with("Sec-WebSocket-Extensions", OFFERS);
    client.request(&request).await;
    let mut peer = upstream.accept().await;
    let line = format!("Sec-WebSocket-Extensions: {accepted}");
    let lines: &[&str] = if accepted.is_empty() { &[] } else { &[&line] };
    let asked = peer.accept_handshake_with(lines).await;
    let offered = asked.field("Sec-WebSocket-Extensions").map(str::to_owned);
    let answer = client.read_head().await;
    let status = answer.status();
    if status == 101 && !accepted.is_empty() {
        assert_eq!(answer.field("Sec-WebSocket-Extensions"), Some(accepted));
    }
    (client, status, peer, offered)
}

#[tokio::test]
async fn listed_offers_and_deflate_reach_the_upstream() {
    for (keys, expected) in [
        ("", "permessage-deflate; client_max_window_bits"),
        (
            "extensions: x-second",
            "permessage-deflate; client_max_window_bits, X-Second",
        ),
        (
            "extensions: [x-third, x-first]",
            "x-first; level=3, permessage-deflate; client_max_window_bits, x-third",
        ),
    ] {
        let (mut upstream, gateway) = gateway(keys).await;
        let (_, status, _, offered) = offer(&mut upstream, &gateway, "").await;
        assert_eq!(status, 101);
        assert_eq!(offered.as_deref(), Some(expected), "{keys}");
    }
}

#[tokio::test]
async fn what_was_not_offered_cannot_be_accepted() {
    let (mut upstream, gateway) = gateway("extensions: [x-first, x-other]").await;
    for accepted in [
        "x-other",
        "X-Second",
        "x-first, x-first",
        "x-first, x-third",
    ] {
        let (_, status, _, _) = offer(&mut upstream, &gateway, accepted).await;
        assert_eq!(status, 502, "{accepted}");
    }
    for accepted in ["x-first", "X-FIRST; level=9", "permessage-deflate, x-first"] {
        let (_, status, _, _) = offer(&mut upstream, &gateway, accepted).await;
        assert_eq!(status, 101, "{accepted}");
    }
}

#[tokio::test]
async fn reserved_bits_are_the_extensions() {
    let (mut upstream, gateway) = gateway("extensions: x-first, text: utf8").await;
    let (mut client, _, mut peer, _) = offer(&mut upstream, &gateway, "x-first").await;
    for bits in 0..8 {
        for frame in [
            Frame::new(TEXT, b"\xff").reserved(bits).unfinished(),
            Frame::new(PING, "x").reserved(bits),
            Frame::new(CONTINUATION, b"\xff").reserved(bits),
            Frame::new(BINARY, b"x").reserved(bits),
        ] {
            let up = frame.clone().from_client().bytes();
            client.send(&up).await;
            peer.expect(&up).await;
            peer.send(frame.bytes()).await;
            client.expect(frame.bytes()).await;
        }
    }
    // What such a close frame says is the extension's.
    let close = Frame::close(1, b"\xff").reserved(1).from_client().bytes();
    client.send(&close).await;
    peer.expect(&close).await;
}

/// The same bits where the upstream did not take the extension.
#[tokio::test]
async fn reserved_bits_of_an_extension_that_was_declined_are_1002() {
    for accepted in ["", "permessage-deflate"] {
        let (mut upstream, gateway) = gateway("extensions: x-first").await;
        let (mut client, _, _peer, _) = offer(&mut upstream, &gateway, accepted).await;
        let frame = Frame::new(BINARY, "x").reserved(1).from_client();
        client.send_frame(&frame).await;
        assert_eq!(client.read_close().await, Some(1002));
    }
}

#[tokio::test]
async fn nothing_of_ours_stands_in_such_a_session() {
    let keys = "extensions: x-first, ping: answer, keep_alive: { interval: 1s, timeout: 1s }";
    let (mut upstream, gateway) = gateway(keys).await;
    let (mut client, _, mut peer, _) = offer(&mut upstream, &gateway, "x-first").await;
    let ping = Frame::new(PING, "pass on").from_client().bytes();
    client.send(&ping).await;
    peer.expect(&ping).await;
    let quiet = tokio::time::timeout(Duration::from_secs(4), async {
        tokio::select! {
            () = client.something_came() => {}
            () = peer.something_came() => {}
        }
    });
    assert!(quiet.await.is_err(), "something came");
}
