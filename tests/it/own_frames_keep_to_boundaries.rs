//! What the gateway has to say itself it says between frames; where no boundary comes within five
//! seconds, the connection is cut rather than garbled (`SECURITY.md`, promise 2).

use std::time::{Duration, Instant};

use tidegate_tests::frame::{BINARY, TEXT};
use tidegate_tests::time::SLACK;
use tidegate_tests::wire::switching;
use tidegate_tests::{End, Frame, Request, ScriptedUpstream, TestGateway};

#[tokio::test]
async fn close_waits_for_the_end_of_a_frame() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let frame = Frame::new(BINARY, vec![7; 1000]).bytes();
    peer.send(&frame[..500]).await;
    client.expect(&frame[..500]).await;
    // An unmasked frame: the client is to be told 1002, but stands within a frame.
    client.send_frame(&Frame::text("bad")).await;
    assert_eq!(peer.read_close().await, Some(1001));
    client.stays_silent().await;
    peer.send(&frame[500..]).await;
    client.expect(&frame[500..]).await;
    assert_eq!(client.read_close().await, Some(1002));
}

#[tokio::test]
async fn boundary_that_never_comes_is_a_reset() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before_with(&upstream, "", "websocket: { idle_timeout: 1s }");
    let frame = Frame::new(BINARY, vec![7; 1000]);

    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let down = frame.bytes();
    peer.send(&down[..500]).await;
    client.expect(&down[..500]).await;
    let (mut other, mut other_peer) = gateway.open(&mut upstream).await;
    let up = frame.from_client().bytes();
    other.send(&up[..500]).await;
    other_peer.expect(&up[..500]).await;

    let begun = Instant::now();
    let (added, end) = client.read_to_end().await;
    assert!(added.is_empty(), "put into a frame: {added:?}");
    assert_eq!(end, End::Reset);
    let (added, _) = other_peer.read_to_end().await;
    assert!(added.is_empty(), "put into a frame: {added:?}");
    // The silence, the next look at the clock, and the time for the boundary.
    let limit = Duration::from_secs(1 + 1 + 5) + SLACK;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
}

/// The upstream says all that it has, closes and leaves in one segment with its 101.
#[tokio::test]
async fn whole_session_in_one_segment() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    let asked = peer.read_head().await;
    let words = [
        Frame::text("hello").bytes(),
        Frame::close(1000, "bye").bytes(),
    ]
    .concat();
    peer.send([switching(&asked, &[]), words.clone()].concat())
        .await;
    peer.finish().await;
    assert_eq!(client.read_head().await.status(), 101);
    client.expect(&words).await;
    client
        .send_frame(&Frame::close(1000, "").from_client())
        .await;
    assert_eq!(client.expect_end().await, End::Fin);
}

#[tokio::test]
async fn upstream_that_agrees_and_dies_is_1011() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = gateway.connect().await;
    client.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    drop(peer);
    assert_eq!(client.read_head().await.status(), 101);
    assert_eq!(client.read_close().await, Some(1011));
}

/// A bad frame behind good ones: what came before it arrives.
#[tokio::test]
async fn good_frames_before_a_bad_one_arrive() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let good: Vec<u8> = (0..50)
        .flat_map(|number| {
            Frame::new(TEXT, vec![b'a'; number * 100])
                .from_client()
                .bytes()
        })
        .collect();
    let bad = Frame::new(3, "bad").from_client().bytes();
    client.send([good.clone(), bad].concat()).await;
    peer.expect(&good).await;
    assert_eq!(peer.read_close().await, Some(1001));
    assert_eq!(client.read_close().await, Some(1002));
}
