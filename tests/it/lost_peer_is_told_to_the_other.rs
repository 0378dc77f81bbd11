//! When one side is lost without a close, the other is told, by the code of `docs/statuses.md` and
//! soon; and a cut message never looks whole.

use std::time::{Duration, Instant};

use tidegate_tests::frame::{BINARY, CLOSE, TEXT};
use tidegate_tests::sockets;
use tidegate_tests::time::SLACK;
use tidegate_tests::{End, Frame, ScriptedUpstream, TestGateway, Wire, eventually};

/// How a side is lost.
#[derive(Debug, Clone, Copy)]
enum Loss {
    Fin,
    Reset,
}

const LOSSES: [Loss; 2] = [Loss::Fin, Loss::Reset];

fn lose(wire: Wire, loss: Loss) {
    match loss {
        Loss::Fin => drop(wire),
        Loss::Reset => wire.reset(),
    }
}

fn expect_close(frame: &Frame, code: u16, cause: &str) {
    assert_eq!(frame.close_code(), Some(code));
    let reason = String::from_utf8(frame.payload[2..].to_vec()).unwrap();
    let (said, _) = reason.split_once(';').unwrap_or((&reason, ""));
    assert_eq!(said, cause);
    assert!(
        !reason.contains("127.0.0.1"),
        "an address is told: {reason}"
    );
}

#[tokio::test]
async fn lost_upstream_is_1011() {
    for loss in LOSSES {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        let last = Frame::text("last words").bytes();
        peer.send(&last).await;
        client.expect(&last).await;
        let begun = Instant::now();
        lose(peer, loss);
        let told = client.read_frame().await;
        assert!(begun.elapsed() < SLACK, "told after {:?}", begun.elapsed());
        expect_close(&told, 1011, "upstream_lost");
        assert_eq!(told.mask, None, "a server does not mask");
        client
            .send_frame(&Frame::close(1011, "").from_client())
            .await;
        assert_eq!(client.expect_end().await, End::Fin);
        assert!(begun.elapsed() < SLACK, "ended after {:?}", begun.elapsed());
        drop(client);
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn lost_client_is_1001() {
    for loss in LOSSES {
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let (client, mut peer) = gateway.open(&mut upstream).await;
        let begun = Instant::now();
        lose(client, loss);
        let told = peer.read_frame().await;
        assert!(begun.elapsed() < SLACK, "told after {:?}", begun.elapsed());
        expect_close(&told, 1001, "client_lost");
        assert!(
            told.mask.is_some(),
            "a client masks, and here it is the gateway"
        );
        peer.send_frame(&Frame::close(1001, "")).await;
        peer.finish().await;
        peer.expect_end().await;
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn upstream_lost_between_fragments_is_1011() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let part = Frame::text("part one").unfinished().bytes();
    peer.send(&part).await;
    client.expect(&part).await;
    drop(peer);
    assert_eq!(client.read_close().await, Some(1011));
}

/// The frame cannot be ended honestly, so the client's TCP is reset: no 1011 (it would be payload),
/// and no FIN.
#[tokio::test]
async fn upstream_lost_within_a_frame_resets_the_client() {
    for loss in LOSSES {
        let frame = Frame::new(BINARY, vec![7; 100_000]).bytes();
        for cut in [1, 5, 10, 20, 50_000, frame.len() - 1] {
            let mut upstream = ScriptedUpstream::bind().await;
            let gateway = TestGateway::before(&upstream);
            let (mut client, mut peer) = gateway.open(&mut upstream).await;
            // What has come so far is seen before the loss: a reset may overtake bytes.
            peer.send(&frame[..cut]).await;
            let shown = if cut < 10 { 0 } else { cut };
            client.expect(&frame[..shown]).await;
            let begun = Instant::now();
            lose(peer, loss);
            let (rest, end) = client.read_to_end().await;
            if cut < 10 && rest.len() > cut {
                // Nothing of a header that never came whole need be passed on: then the client is
                // at a boundary, and is told.
                let (told, _) = Frame::parse(&rest).unwrap();
                assert_eq!(told.close_code(), Some(1011));
            } else {
                assert!(begun.elapsed() < SLACK, "told after {:?}", begun.elapsed());
                assert_eq!(end, End::Reset, "{loss:?} after {cut} bytes, {rest:?}");
                assert!(rest.len() <= cut - shown, "added {rest:?}");
            }
        }
    }
}

#[tokio::test]
async fn client_lost_within_a_frame_cuts_the_upstream() {
    for loss in LOSSES {
        let frame = Frame::new(BINARY, vec![7; 1000])
            .masked([1, 2, 3, 4])
            .bytes();
        let mut upstream = ScriptedUpstream::bind().await;
        let gateway = TestGateway::before(&upstream);
        let (mut client, mut peer) = gateway.open(&mut upstream).await;
        client.send(&frame[..500]).await;
        peer.expect(&frame[..500]).await;
        lose(client, loss);
        let (rest, _) = peer.read_to_end().await;
        assert!(rest.is_empty(), "put into the frame: {rest:?}");
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn deaf_client_of_a_lost_upstream_is_let_go() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, peer) = gateway.open(&mut upstream).await;
    drop(peer);
    let begun = Instant::now();
    assert_eq!(client.read_close().await, Some(1011));
    // It does not answer.
    client.read_to_end().await;
    let limit = Duration::from_secs(5) + SLACK;
    assert!(begun.elapsed() < limit, "it took {:?}", begun.elapsed());
    gateway.is_empty().await;
}

#[tokio::test]
async fn sockets_and_sessions_return_to_the_baseline() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let tasks = gateway.tasks();
    let mut sessions = Vec::new();
    for _ in 0..100 {
        sessions.push(gateway.open(&mut upstream).await);
    }
    eventually("all are known", || gateway.sessions() == 100).await;
    for (number, (client, peer)) in sessions.into_iter().enumerate() {
        match number % 4 {
            0 => client.reset(),
            1 => peer.reset(),
            2 => drop(client),
            _ => drop(peer),
        }
    }
    gateway.is_empty().await;
    eventually("no task is left", || gateway.tasks() <= tasks).await;
    for port in [gateway.address().port(), upstream.address().port()] {
        eventually("no socket is left", || sockets::open_on(port) == 0).await;
    }
}

/// Until the upstream's close has come, a client that only ends its sending is lost; but what the
/// upstream said before is not taken from it.
#[tokio::test]
async fn last_words_of_a_lost_upstream_arrive() {
    let mut upstream = ScriptedUpstream::bind().await;
    let gateway = TestGateway::before(&upstream);
    let (mut client, mut peer) = gateway.open(&mut upstream).await;
    let words: Vec<u8> = (0..50)
        .flat_map(|number| Frame::new(TEXT, vec![b'a' + number % 26; 10_000]).bytes())
        .collect();
    peer.send(&words).await;
    peer.finish().await;
    client.expect(&words).await;
    let told = client.read_frame().await;
    assert_eq!(told.opcode, CLOSE);
    expect_close(&told, 1011, "upstream_lost");
}
