//! A message, a frame and a silence may be so long and no longer; by default there is no
//! limit on sizes.

use std::time::{Duration, Instant};

use tidegate_tests::frame::{BINARY, CONTINUATION, PING};
use tidegate_tests::time::SLACK;
use tidegate_tests::{Frame, ScriptedUpstream, TestGateway};

async fn limited(keys: &str) -> (ScriptedUpstream, TestGateway) {
    let upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "", &format!("websocket: {{ {keys} }}"));
    (upstream, gateway)
}

/// Frames that a limit of 1000 bytes lets pass, and the first byte too many: a header whose
/// declared length is enough, no payload behind it.
fn message_cases() -> Vec<(Vec<Frame>, Frame)> {
    let data = |length: usize| Frame::new(BINARY, vec![7; length]);
    let part = |length: usize| Frame::new(CONTINUATION, vec![7; length]);
    vec![
        (vec![], data(1001)),
        (vec![data(1000), data(1000)], data(1001)),
        (vec![data(1000).unfinished()], part(1)),
        (
            vec![data(1).unfinished(), Frame::new(PING, [1; 125]), part(999)],
            data(100_000),
        ),
        (
            vec![data(500).unfinished(), part(500).unfinished(), part(0)],
            data(1 << 20),
        ),
        (
            vec![data(400).unfinished(), part(400).unfinished()],
            part(201),
        ),
    ]
}

#[tokio::test]
async fn message_over_the_limit_is_1009_to_its_sender() {
    let (mut upstream, gateway) = limited("max_message: 1000").await;
    for (good, bad) in message_cases() {
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        for frame in &good {
            let sent = frame.clone().from_client().bytes();
            client.send(&sent).await;
            peer.expect(&sent).await;
        }
        client.send(bad.clone().from_client().header()).await;
        assert_eq!(
            client.read_close().await,
            Some(1009),
            "{} bytes",
            bad.payload.len()
        );
        assert_eq!(peer.read_close().await, Some(1001));

        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        for frame in &good {
            peer.send_frame(frame).await;
            client.expect(frame.bytes()).await;
        }
        peer.send(bad.header()).await;
        assert_eq!(
            peer.read_close().await,
            Some(1009),
            "{} bytes",
            bad.payload.len()
        );
        assert_eq!(client.read_close().await, Some(1001));
    }
}

#[tokio::test]
async fn frame_over_the_limit_is_1009_to_its_sender() {
    let (mut upstream, gateway) = limited("max_frame: 1KiB").await;
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    for frame in [
        Frame::new(BINARY, vec![1; 1024]).unfinished(),
        Frame::new(CONTINUATION, vec![2; 1024]).unfinished(),
        Frame::new(CONTINUATION, vec![3; 1024]),
    ] {
        let sent = frame.from_client().bytes();
        client.send(&sent).await;
        peer.expect(&sent).await;
    }
    client
        .send(Frame::new(BINARY, vec![1; 1025]).from_client().header())
        .await;
    assert_eq!(client.read_close().await, Some(1009));
    assert_eq!(peer.read_close().await, Some(1001));

    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    peer.send(Frame::new(BINARY, vec![1; 1025]).header()).await;
    assert_eq!(peer.read_close().await, Some(1009));
    assert_eq!(client.read_close().await, Some(1001));
}

/// A limit for one direction is none for the other.
#[tokio::test]
async fn each_direction_has_limits_of_its_own() {
    for (keys, is_client) in [
        ("max_message: { from_client: 1000 }", true),
        ("max_message: { from_upstream: 1000 }", false),
        (
            "max_frame: { from_client: 1000, from_upstream: none }",
            true,
        ),
        (
            "max_frame: { from_client: none, from_upstream: 1000 }",
            false,
        ),
        (
            "max_message: { from_client: 1000, from_upstream: 2000 }",
            true,
        ),
        (
            "max_frame: { from_client: 2000, from_upstream: 1000 }",
            false,
        ),
    ] {
        let (mut upstream, gateway) = limited(keys).await;
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        let frame = |length: usize, is_client: bool| {
            let frame = Frame::new(BINARY, vec![7; length]);
            if is_client {
                frame.from_client()
            } else {
                frame
            }
        };
        let (from, to) = if is_client {
            (&mut client, &mut peer)
        } else {
            (&mut peer, &mut client)
        };
        let fits = frame(1000, is_client);
        from.send_frame(&fits).await;
        to.expect(fits.bytes()).await;
        let other = frame(1001, !is_client);
        to.send_frame(&other).await;
        from.expect(other.bytes()).await;
        from.send(frame(1001, is_client).header()).await;
        assert_eq!(from.read_close().await, Some(1009), "{keys}");
        assert_eq!(to.read_close().await, Some(1001), "{keys}");
    }
}

#[tokio::test]
async fn silence_over_the_limit_is_1001_to_both() {
    let limit = Duration::from_secs(1);
    let (mut upstream, gateway) = limited("idle_timeout: 1s").await;
    let begun = Instant::now();
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let told = client.read_frame().await;
    assert!(
        begun.elapsed() >= limit,
        "ended after {:?}",
        begun.elapsed()
    );
    // Timers are looked at once a second (`architecture.md` section 6).
    let latest = limit + Duration::from_secs(1) + SLACK;
    assert!(
        begun.elapsed() < latest,
        "ended after {:?}",
        begun.elapsed()
    );
    assert_eq!(told.close_code(), Some(1001));
    assert!(told.payload[2..].starts_with(b"idle_timeout"), "{told:?}");
    let told = peer.read_frame().await;
    assert_eq!(told.close_code(), Some(1001));
    assert!(told.mask.is_some());
    client.read_to_end().await;
    peer.read_to_end().await;
    gateway.is_empty().await;
}

#[tokio::test]
async fn frames_of_either_side_break_the_silence() {
    let (mut upstream, gateway) = limited("idle_timeout: 2s").await;
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let (mut other, mut other_peer) = gateway.open(&mut upstream).await;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    while begun.elapsed() < Duration::from_millis(4500) {
        ticks.tick().await;
        let up = Frame::text("up").from_client().bytes();
        client.send(&up).await;
        peer.expect(&up).await;
        let down = Frame::new(PING, "down").bytes();
        other_peer.send(&down).await;
        other.expect(&down).await;
    }
}

/// A frame that takes its time is no silence.
#[tokio::test]
async fn long_frame_under_way_is_no_silence() {
    let (mut upstream, gateway) = limited("idle_timeout: 2s").await;
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let up = Frame::new(BINARY, vec![7; 1000]).from_client().bytes();
    client.send(&up[..500]).await;
    peer.expect(&up[..500]).await;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    for byte in &up[500..520] {
        ticks.tick().await;
        client.send([*byte]).await;
        peer.expect([*byte]).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(4500));
    client.send(&up[520..]).await;
    peer.expect(&up[520..]).await;
    let down = Frame::text("still here").bytes();
    peer.send(&down).await;
    client.expect(&down).await;
}

/// Likewise on the way down, in bytes that hold no frame's beginning for 3.5 s.
#[tokio::test]
async fn long_frame_on_its_way_to_the_client_is_no_silence() {
    let (mut upstream, gateway) = limited("idle_timeout: 1s").await;
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let down = Frame::new(BINARY, vec![7; 100_000]).bytes();
    let (start, rest) = down.split_at(1000);
    peer.send(start).await;
    client.expect(start).await;
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(250));
    for part in rest[..15_000].chunks(1000) {
        ticks.tick().await;
        peer.send(part).await;
        client.expect(part).await;
    }
    assert!(begun.elapsed() > Duration::from_millis(3400));
    peer.send(&rest[15_000..]).await;
    client.expect(&rest[15_000..]).await;
}

#[tokio::test]
async fn response_and_handshake_timeouts_end_with_the_101() {
    let mut upstream = ScriptedUpstream::bind().await;
    let short = "connect_timeout: 100ms, handshake_timeout: 1s, response_timeout: 100ms";
    let gateway = TestGateway::before_with(&upstream, short, "");
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let quiet = tokio::time::timeout(Duration::from_millis(1800), client.read_frame_or_end());
    assert!(
        quiet.await.is_err(),
        "a session was ended by a timeout of the handshake"
    );
    let up = Frame::text("still here").from_client().bytes();
    client.send(&up).await;
    peer.expect(&up).await;
}
