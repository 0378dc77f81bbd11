//! Pings and pongs cost their receivers more than their sender, so a side may send so many in a
//! second and no more.

use std::time::Duration;

use tidegate_tests::frame::{PING, PONG};
use tidegate_tests::{Frame, ScriptedUpstream, TestGateway, Wire};
use tokio::time::MissedTickBehavior;

async fn session(keys: &str) -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let proxy = format!("websocket: {{ {keys} }}");
    let gateway = TestGateway::before_with(&upstream, "", &proxy);
    let (client, peer) = gateway.open(&mut upstream).await;
    (upstream, gateway, client, peer)
}

fn flood(opcode: u8, count: usize, is_client: bool) -> Vec<u8> {
    (0..count)
        .flat_map(|number| {
            let frame = Frame::new(opcode, (number as u32).to_be_bytes());
            if is_client {
                frame.from_client()
            } else {
                frame
            }
            .bytes()
        })
        .collect()
}

/// Reads control frames until a close; how many, and the close.
async fn count(wire: &mut Wire) -> (usize, Frame) {
    let mut count = 0;
    loop {
        let frame = wire.read_frame().await;
        if frame.opcode == 8 {
            return (count, frame);
        }
        count += 1;
    }
}

#[tokio::test]
async fn of_a_client_is_1008() {
    for opcode in [PING, PONG] {
        let (_upstream, gateway, mut client, mut peer) = session("").await;
        client.send(flood(opcode, 500, true)).await;
        let (passed, told) = count(&mut peer).await;
        // A bucket of 100 that gains 100 in a second.
        assert!((100..300).contains(&passed), "{passed} passed");
        assert_eq!(told.close_code(), Some(1001));
        assert_eq!(told.payload[2..], *b"rate_limited");
        let told = client.read_frame().await;
        assert_eq!(told.close_code(), Some(1008));
        assert_eq!(told.payload[2..], *b"rate_limited");
        drop((client, peer));
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn of_an_upstream_is_1008() {
    let (_upstream, _gateway, mut client, mut peer) = session("max_control_frames: 5").await;
    peer.send(flood(PING, 50, false)).await;
    let (passed, told) = count(&mut client).await;
    assert!((5..20).contains(&passed), "{passed} passed");
    assert_eq!(told.close_code(), Some(1001));
    assert_eq!(told.payload[2..], *b"rate_limited");
    let (_, told) = count(&mut peer).await;
    assert_eq!(told.close_code(), Some(1008));
}

#[tokio::test]
async fn pings_that_are_answered_count_too() {
    let (_upstream, _gateway, mut client, mut peer) =
        session("ping: answer, max_control_frames: 5").await;
    client.send(flood(PING, 50, true)).await;
    assert_eq!(peer.read_close().await, Some(1001));
    let (_, told) = count(&mut client).await;
    assert_eq!(told.close_code(), Some(1008));
}

#[tokio::test]
async fn as_many_as_are_allowed_pass_for_ever() {
    let (_upstream, _gateway, mut client, mut peer) = session("max_control_frames: 10").await;
    let mut ticks = tokio::time::interval(Duration::from_millis(110));
    // Ticks that were missed are not made good: that would be a flood.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..30 {
        ticks.tick().await;
        let up = flood(PING, 1, true);
        client.send(&up).await;
        peer.expect(&up).await;
    }
}

/// Neither messages nor the close frame are counted.
#[tokio::test]
async fn messages_and_closes_are_not_counted() {
    let (_upstream, _gateway, mut client, mut peer) = session("max_control_frames: 1").await;
    let mut words = flood(PING, 1, true);
    for _ in 0..500 {
        words.extend(Frame::text("word").from_client().bytes());
    }
    words.extend(Frame::close(1000, "bye").from_client().bytes());
    client.send(&words).await;
    peer.expect(&words).await;
}

#[tokio::test]
async fn none_is_none() {
    let (_upstream, _gateway, mut client, mut peer) = session("max_control_frames: none").await;
    let up = flood(PING, 2000, true);
    client.send(&up).await;
    peer.expect(&up).await;
}
