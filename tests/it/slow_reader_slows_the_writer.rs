//! A side that does not read stops the other from writing; the gateway holds little, loses
//! nothing, and other sessions do not notice.

use std::time::Duration;

use tidegate_tests::Link;
use tidegate_tests::frame::BINARY;
use tidegate_tests::{Frame, Request, ScriptedUpstream, TestGateway, Wire, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const OFFERED: usize = 64 << 20;

/// Writes 64 MiB of frames at `from`, while nobody reads at `to`: it must stall. Then all of it
/// must arrive.
async fn stalls_and_then_arrives(from: Link, to: Link, frame: Vec<u8>) {
    let count = OFFERED / frame.len();
    let length = frame.len();
    let expected = frame.clone();
    let mut from = from;
    let mut writer = tokio::spawn(async move {
        for _ in 0..count {
            from.write_all(&frame).await.unwrap();
        }
        from.flush().await.unwrap();
        from
    });
    let stalled = tokio::time::timeout(Duration::from_millis(700), &mut writer).await;
    assert!(
        stalled.is_err(),
        "64 MiB were taken from a writer whose reader is deaf"
    );

    let mut to = to;
    let mut got = vec![0; length];
    for _ in 0..count {
        within("a frame", to.read_exact(&mut got)).await.unwrap();
        assert!(got == expected, "a frame is garbled");
    }
    writer.await.unwrap();
}

async fn narrow_session() -> (ScriptedUpstream, TestGateway, Wire, Wire) {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let mut client = Wire::connect_narrow(gateway.address()).await;
    client.request(&Request::handshake("/")).await;
    let mut peer = upstream.accept().await;
    peer.accept_handshake().await;
    assert_eq!(client.read_head().await.status(), 101);
    (upstream, gateway, client, peer)
}

#[tokio::test]
async fn slow_client_stops_the_upstream() {
    let (_upstream, _gateway, client, peer) = narrow_session().await;
    let frame = Frame::new(BINARY, vec![7; 1 << 18]).bytes();
    stalls_and_then_arrives(peer.into_stream(), client.into_stream(), frame).await;
}

#[tokio::test]
async fn slow_upstream_stops_the_client() {
    let (_upstream, _gateway, client, peer) = narrow_session().await;
    let frame = Frame::new(BINARY, vec![7; 1 << 18]).from_client().bytes();
    stalls_and_then_arrives(client.into_stream(), peer.into_stream(), frame).await;
}

#[tokio::test]
async fn small_frames_stall_alike() {
    let (_upstream, _gateway, client, peer) = narrow_session().await;
    let frames: Vec<u8> = (0..4096)
        .flat_map(|_| Frame::text("a few bytes").bytes())
        .collect();
    stalls_and_then_arrives(peer.into_stream(), client.into_stream(), frames).await;
}

/// The other direction of the same session, and another session on the same worker.
#[tokio::test]
async fn nobody_else_is_slowed() {
    let (mut upstream, gateway, mut client, peer) = narrow_session().await;
    let (mut reads, mut writes) = peer.into_stream().into_split();
    let frame = Frame::new(BINARY, vec![7; 1 << 20]).bytes();
    let writer = tokio::spawn(async move { while writes.write_all(&frame).await.is_ok() {} });

    let (mut other, mut other_peer) = gateway.open(&mut upstream).await;
    for _ in 0..200 {
        let up = Frame::text("up").from_client().bytes();
        client.send(&up).await;
        let mut got = vec![0; up.len()];
        within("the way up", reads.read_exact(&mut got))
            .await
            .unwrap();
        assert_eq!(got, up);

        other.send(&up).await;
        other_peer.expect(&up).await;
        let down = Frame::text("down").bytes();
        other_peer.send(&down).await;
        other.expect(&down).await;
    }
    assert!(!writer.is_finished(), "the writer did not stall");
    writer.abort();
}
