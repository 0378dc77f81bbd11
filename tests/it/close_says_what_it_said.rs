//! A close frame arrives as it was sent, nothing before it is lost, and after it both connections
//! end.

use std::time::{Duration, Instant};

use tidegate_tests::frame::CLOSE;
use tidegate_tests::sockets;
use tidegate_tests::time::SLACK;
use tidegate_tests::{End, Frame, ScriptedUpstream, TestGateway, eventually};

/// The longest that the closing handshake may take, both connections' ends included
/// (`docs/statuses.md`).
const CLOSING: Duration = Duration::from_secs(5);

fn close_frames() -> Vec<Frame> {
    let mut frames = vec![Frame::new(CLOSE, "")];
    let codes = (1000..=1003)
        .chain(1007..=1014)
        .chain([3000, 3999, 4000, 4400, 4999]);
    for code in codes {
        frames.push(Frame::close(code, ""));
        frames.push(Frame::close(code, "because"));
    }
    frames.push(Frame::close(1000, "x".repeat(123)));
    frames.push(Frame::close(4000, "\u{20ac}".repeat(41)));
    frames
}

#[tokio::test]
async fn clients_code_and_reason_reach_the_upstream() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    for frame in close_frames() {
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        let sent = frame.clone().from_client().bytes();
        client.send(&sent).await;
        peer.expect(&sent).await;
        peer.send_frame(&frame).await;
        client.expect(frame.bytes()).await;
        // Toward the client the gateway is the server, which ends TCP at once (RFC 6455 section
        // 5.5.1), whatever the upstream does.
        let begun = Instant::now();
        assert_eq!(client.expect_end().await, End::Fin);
        assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
        peer.finish().await;
        peer.expect_end().await;
    }
    gateway.is_empty().await;
}

#[tokio::test]
async fn upstreams_code_and_reason_reach_the_client() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    for frame in close_frames() {
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        peer.send_frame(&frame).await;
        client.expect(frame.bytes()).await;
        let answer = frame.from_client().bytes();
        client.send(&answer).await;
        peer.expect(&answer).await;
        peer.finish().await;
        assert_eq!(client.expect_end().await, End::Fin);
        peer.expect_end().await;
    }
    gateway.is_empty().await;
}

/// The upstream's last words come after the client's close (RFC 6455 section 5.5.1 lets it finish).
#[tokio::test]
async fn words_before_the_answering_close_arrive() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    client
        .send_frame(&Frame::close(1000, "").from_client())
        .await;
    assert_eq!(peer.read_close().await, Some(1000));
    let mut last = Vec::new();
    for number in 0..100 {
        last.extend_from_slice(&Frame::new(2, vec![number; 10_000]).bytes());
    }
    last.extend_from_slice(&Frame::close(1000, "").bytes());
    peer.send(&last).await;
    client.expect(&last).await;
    assert_eq!(client.expect_end().await, End::Fin);
}

/// The upstream sends much, closes, and ends TCP in one go; so does the client.
#[tokio::test]
async fn words_before_a_close_arrive_whole() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let close = Frame::close(1001, "going");

    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let words = [Frame::new(2, vec![1; 300_000]).bytes(), close.bytes()].concat();
    peer.send(&words).await;
    peer.finish().await;
    client.expect(&words).await;
    client.send_frame(&close.clone().from_client()).await;
    let begun = Instant::now();
    assert_eq!(client.expect_end().await, End::Fin);
    assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());

    drop((client, peer));

    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let words = [
        Frame::new(2, vec![1; 300_000]).from_client().bytes(),
        close.clone().from_client().bytes(),
    ]
    .concat();
    client.send(&words).await;
    client.finish().await;
    peer.expect(&words).await;
    peer.send_frame(&close).await;
    peer.finish().await;
    let begun = Instant::now();
    client.expect(close.bytes()).await;
    assert_eq!(client.expect_end().await, End::Fin);
    assert!(
        begun.elapsed() < SLACK,
        "the client's took {:?}",
        begun.elapsed()
    );
    peer.read_to_end().await;
    assert!(
        begun.elapsed() < SLACK,
        "the upstream's took {:?}",
        begun.elapsed()
    );
    gateway.is_empty().await;
    assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
}

#[tokio::test]
async fn close_within_a_message_is_a_close() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let words = [
        Frame::text("unfinished").unfinished().bytes(),
        Frame::close(1001, "").bytes(),
    ]
    .concat();
    peer.send(&words).await;
    client.expect(&words).await;
}

#[tokio::test]
async fn closes_that_cross_arrive_both() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let (up, down) = (
        Frame::close(4001, "c").from_client(),
        Frame::close(4002, "u"),
    );
    client.send_frame(&up).await;
    peer.send_frame(&down).await;
    client.expect(down.bytes()).await;
    peer.expect(up.bytes()).await;
    let begun = Instant::now();
    assert_eq!(client.expect_end().await, End::Fin);
    assert!(begun.elapsed() < SLACK, "it took {:?}", begun.elapsed());
    peer.finish().await;
    peer.expect_end().await;
    drop(client);
    gateway.is_empty().await;
}

/// nginx and HAProxy wait for ever here.
#[tokio::test]
async fn connections_end_though_a_peer_never_ends_tcp() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let close = Frame::close(1000, "bye");

    // The closing handshake is done, and neither peer ends its TCP.
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    client.send_frame(&close.clone().from_client()).await;
    peer.read_close().await;
    peer.send_frame(&close).await;
    client.read_close().await;
    let handshake_done = (client, peer);

    // The upstream never answers the close.
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    client.send_frame(&close.clone().from_client()).await;
    peer.read_close().await;
    let upstream_mute = (client, peer);

    // The client never answers the close.
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    peer.send_frame(&close).await;
    client.read_close().await;
    let client_mute = (client, peer);

    let begun = Instant::now();
    for (mut client, mut peer) in [handshake_done, upstream_mute, client_mute] {
        client.read_to_end().await;
        peer.read_to_end().await;
        let limit = CLOSING + SLACK;
        assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
    }
    gateway.is_empty().await;
}

/// A peer that neither ends TCP nor reads is let go of all the same.
#[tokio::test]
async fn sockets_are_gone_though_a_peer_is_deaf() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    peer.send_frame(&Frame::close(1000, "")).await;
    client.read_close().await;
    let begun = Instant::now();
    gateway.is_empty().await;
    assert!(
        begun.elapsed() < CLOSING + SLACK,
        "it took {:?}",
        begun.elapsed()
    );
    drop((client, peer));
    let port = upstream.address().port();
    eventually("no socket is left", || sockets::open_on(port) == 0).await;
}
