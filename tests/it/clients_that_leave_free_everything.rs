//! A client that leaves is noticed within two seconds, even where nobody reads it: nothing of its
//! request is left in the gateway, nor with the upstream.

use std::time::{Duration, Instant};

use tidegate_tests::sockets;
use tidegate_tests::{Request, ScriptedUpstream, TestGateway, Wire, eventually};

const NOTICED: Duration = Duration::from_secs(2);

fn leave(client: Wire, by_reset: bool) {
    if by_reset {
        client.reset();
    } else {
        drop(client);
    }
}

/// The gateway has let go of everything soon after `left`.
async fn let_go(gateway: &TestGateway, left: Instant) {
    gateway.is_empty().await;
    let took = left.elapsed();
    assert!(took < NOTICED, "noticed after {took:?}");
    assert_eq!(
        gateway.upstream_idle(),
        0,
        "half a call's connection is kept"
    );
}

/// Half an upload, and an answer that never ends: neither is waited for.
#[tokio::test]
async fn half_an_upload_under_an_endless_answer() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let tasks = gateway.tasks();
    let mut streams = Vec::new();
    for _ in 0..50 {
        let request = Request::new("POST", "/events")
            .with("Content-Length", "10")
            .then("abc");
        let mut client = gateway.connect().await;
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        peer.expect("abc").await;
        peer.send(
            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\
             Transfer-Encoding: chunked\r\n\r\nb\r\ndata: one\n\n\r\n",
        )
        .await;
        let head = client.read_head().await;
        assert_eq!(head.status(), 200);
        assert_eq!(client.read_chunk().await.unwrap(), b"data: one\n\n");
        streams.push((client, peer));
    }

    let left = Instant::now();
    let mut peers = Vec::new();
    for (number, (client, peer)) in streams.into_iter().enumerate() {
        leave(client, number % 2 == 0);
        peers.push(peer);
    }
    for mut peer in peers {
        peer.expect_end().await;
    }
    let_go(&gateway, left).await;
    eventually("no task is left", || gateway.tasks() <= tasks).await;
    for port in [gateway.address().port(), upstream.address().port()] {
        eventually("no socket is left", || sockets::open_on(port) == 0).await;
    }
}

/// More than the buffers on the way hold: what is left of it stands unread in front of the gateway.
#[tokio::test]
async fn upload_that_nobody_reads() {
    let framings = [
        ("Content-Length", "67108864"),
        ("Transfer-Encoding", "chunked"),
    ];
    for (name, value) in framings {
        for by_reset in [true, false] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before(&upstream);
            let mut client = gateway.connect().await;
            client
                .request(&Request::new("POST", "/").with(name, value))
                .await;
            let mut peer = upstream.accept().await;
            peer.something_came().await;
            let mut body = vec![b'x'; 64 << 20];
            body[..9].copy_from_slice(b"4000000\r\n");
            let stalled = tokio::time::timeout(Duration::from_millis(500), client.send(&body));
            assert!(
                stalled.await.is_err(),
                "nobody reads, and 64 MiB were taken"
            );
            let left = Instant::now();
            leave(client, by_reset);
            if by_reset {
                let_go(&gateway, left).await;
                peer.read_to_end().await;
            } else {
                // What it sent may still be wanted, until its end shows that it is not all.
                peer.read_to_end().await;
                gateway.is_empty().await;
            }
        }
    }
}

/// Words sent on ahead of a 101 that does not come, more of them than are read before it: room is
/// made, so that an end behind them is seen.
#[tokio::test]
async fn handshake_with_much_behind_it() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    for (length, by_reset) in [
        (200_000, true),
        (100_000, false),
        (200_000, false),
        (1000, true),
        (1000, false),
    ] {
        let mut client = gateway.connect().await;
        let request = Request::handshake("/").then(vec![0x82; length]);
        client.request(&request).await;
        let mut peer = upstream.accept().await;
        peer.read_head().await;
        peer.stays_silent().await;
        let left = Instant::now();
        leave(client, by_reset);
        peer.expect_end().await;
        let_go(&gateway, left).await;
    }
}
