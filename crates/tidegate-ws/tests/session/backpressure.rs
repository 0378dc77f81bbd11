//! What a session takes from its peer while nobody receives, and what it holds for one that does
//! not read.

use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tidegate_ws::codec::Role;
use tidegate_ws::frame::{OpCode, Violation};
use tidegate_ws::session::Cause;
use tidegate_ws::{Driver, HandshakeInfo, Message, Opening, SessionConfig, WebSocketSession, run};
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::sync::oneshot;
use tokio::task::spawn;
use tokio::time::timeout;

use crate::kit::{Peer, close, frame, listen};

/// A session that no time ends.
fn config() -> SessionConfig {
    let mut config = SessionConfig::default();
    config.keep_alive = None;
    config.write_timeout = Duration::from_secs(1 << 30);
    config
}

/// How many of `bytes` are taken before nothing moves any more. The clock stands still as long as
/// anything does.
async fn taken(peer: &mut Peer, bytes: &[u8]) -> usize {
    let mut count = 0;
    for piece in bytes.chunks(1000) {
        if timeout(Duration::from_secs(1), peer.0.write_all(piece))
            .await
            .is_err()
        {
            return count;
        }
        count += piece.len();
    }
    count
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_past_one_message_and_one_read() {
    for length in [10, 1000, 100_000] {
        let (go, waits) = oneshot::channel::<()>();
        let (near, far) = duplex(1000);
        let config = Arc::new(config());
        let (mut session, driver) = Driver::start(far, HandshakeInfo::default(), config);
        let bytes = frame(OpCode::Binary, &vec![1; length]).repeat(3_000_000 / length);
        let server = spawn(driver.run(async move || {
            waits.await?;
            while let Some(message) = session.receive().await {
                assert_eq!(message?.payload().len(), length);
            }
            Ok(())
        }));
        let mut peer = Peer(near);
        let count = taken(&mut peer, &bytes).await;
        let most = length + 14 + (32 << 10) + 2 * 1000;
        assert!(count >= length, "a message is read ahead");
        assert!(
            count <= most,
            "{count} bytes of messages of {length} are taken"
        );
        go.send(()).unwrap();
        peer.0.write_all(&bytes[count..]).await.unwrap_or_default();
        drop(peer);
        server.await.unwrap();
    }
}

#[tokio::test]
async fn pings_are_answered_while_nobody_receives() {
    let (go, waits) = oneshot::channel::<()>();
    let (near, far) = duplex(4096);
    let server = Driver::start(far, HandshakeInfo::default(), Arc::new(config()));
    let (mut session, driver) = server;
    let server = spawn(driver.run(async move || {
        waits.await?;
        assert_eq!(session.receive().await.unwrap()?, Message::text("waits"));
        assert_eq!(session.receive().await.unwrap()?, Message::text("too"));
        Ok(())
    }));
    let mut peer = Peer(near);
    peer.send(OpCode::Ping, b"before").await;
    assert_eq!(peer.next().await, Some((OpCode::Pong, b"before".to_vec())));
    peer.send(OpCode::Text, b"waits").await;
    for payload in [&b"one"[..], b"two"] {
        peer.send(OpCode::Ping, payload).await;
        assert_eq!(peer.next().await, Some((OpCode::Pong, payload.to_vec())));
    }
    peer.send(OpCode::Text, b"too").await;
    go.send(()).unwrap();
    assert_eq!(peer.next().await, Some((OpCode::Close, close(1000, ""))));
    drop(peer);
    server.await.unwrap();
}

/// A receive that found nothing, and is dropped just when something comes, leaves nothing unread.
#[tokio::test]
async fn pings_are_answered_when_a_receive_was_given_up() {
    let (go, waits) = oneshot::channel::<()>();
    let (near, far) = duplex(4096);
    let opening = Opening::new(Role::Server);
    let (mut session, driver) = Driver::start(far, opening, Arc::new(config()));
    let server = spawn(driver.run(async move || {
        session.receive().await.unwrap()?;
        session.send("here").await?;
        tokio::select! {
            biased;
            gone = waits => gone?,
            message = session.receive() => unreachable!("{message:?}"),
        }
        std::future::pending::<()>().await;
        drop(session);
        Ok(())
    }));
    tokio::task::yield_now().await;
    let mut peer = Peer(near);
    peer.send(OpCode::Text, b"first").await;
    assert_eq!(peer.next().await, Some((OpCode::Text, b"here".to_vec())));
    // Both come before the server runs again.
    peer.send(OpCode::Ping, b"there?").await;
    go.send(()).unwrap();
    assert_eq!(peer.next().await, Some((OpCode::Pong, b"there?".to_vec())));
    server.abort();
}

#[tokio::test(start_paused = true)]
async fn the_outbox_is_bounded() {
    const BOUND: usize = 10_000;
    let (near, far) = duplex(500);
    let mut config = config();
    config.outbox = BOUND;
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), Arc::new(config));
    let sender = session.sender();
    let server = spawn(driver.run(|| listen(session)));
    let mut sent = 0_usize;
    while timeout(Duration::from_secs(1), sender.send(vec![7; 300]))
        .await
        .is_ok()
    {
        sent += 1;
    }
    assert!(
        (BOUND..=BOUND + 300 + 500 + 304).contains(&(sent * 304)),
        "{sent}"
    );
    assert!(
        matches!(sender.try_send(vec![7; 300]), Ok(Some(_))),
        "there is no room"
    );
    // What was not sent is not there, and there is room again.
    let mut peer = Peer(near);
    for _ in 0..sent {
        assert_eq!(peer.next().await, Some((OpCode::Binary, vec![7; 300])));
    }
    sender.send("more").await.unwrap();
    assert_eq!(peer.next().await, Some((OpCode::Text, b"more".to_vec())));
    assert!(matches!(sender.try_send("and more"), Ok(None)));
    assert_eq!(
        peer.next().await,
        Some((OpCode::Text, b"and more".to_vec()))
    );
    drop(peer);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn pongs_for_a_peer_that_does_not_read_are_coalesced() {
    let (near, far) = duplex(600);
    let (mut session, driver) = Driver::start(far, HandshakeInfo::default(), Arc::new(config()));
    let server = spawn(driver.run(async move || {
        session.send(vec![1; 2000]).await?;
        listen(session).await
    }));
    let mut peer = Peer(near);
    for count in 0..90_u8 {
        peer.send(OpCode::Ping, &[count; 100]).await;
    }
    let mut pongs = Vec::new();
    assert_eq!(peer.next().await.unwrap().0, OpCode::Binary);
    while let Ok(Some((opcode, payload))) = timeout(Duration::from_secs(1), peer.next()).await {
        assert_eq!(opcode, OpCode::Pong);
        pongs.push(payload[0]);
    }
    assert!(pongs.len() < 10, "{pongs:?}");
    assert_eq!(pongs.last(), Some(&89), "the latest is answered");
    drop(peer);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_control_frames_ends_the_session() {
    for (count, ends) in [(100, false), (101, true)] {
        let (near, far) = duplex(64 << 10);
        let opening = Opening::new(Role::Server);
        let server = spawn(run(far, opening, Arc::new(config()), listen));
        let mut peer = Peer(near);
        for round in 0..2 {
            let pings = frame(OpCode::Ping, b"x").repeat(if round == 0 { 100 } else { count });
            peer.0.write_all(&pings).await.unwrap();
            // So much later, they count anew.
            tokio::time::sleep(Duration::from_millis(1001)).await;
        }
        let last = loop {
            match timeout(Duration::from_secs(1), peer.next()).await {
                Ok(Some((OpCode::Pong, _))) => {}
                Ok(other) => break other,
                Err(_nothing) => break None,
            }
        };
        let expected = ends.then(|| (OpCode::Close, close(1008, "rate_limited")));
        assert_eq!(last, expected);
        drop(peer);
        let cause = server.await.unwrap().cause;
        assert_eq!(
            cause == Cause::Violation(Violation::ControlFlood(100)),
            ends
        );
    }
}

/// A session that stands alone reads only while it is polled.
#[tokio::test(start_paused = true)]
async fn without_a_driver_nothing_is_read_unless_polled() {
    let (near, far) = duplex(1000);
    let opening = Opening::new(Role::Server);
    let mut session = WebSocketSession::new(far, opening, Arc::new(config()));
    let mut peer = Peer(near);
    let bytes = frame(OpCode::Text, b"0123456789").repeat(1000);
    assert!(taken(&mut peer, &bytes).await <= 1000);
    let first = session.receive().await.unwrap().unwrap();
    assert_eq!(first, Message::text("0123456789"));
    peer.send(OpCode::Ping, b"x").await;
    let waits = std::future::poll_fn(|cx| {
        let receive = std::pin::pin!(session.receive());
        Poll::Ready(receive.poll(cx).is_ready())
    });
    assert!(waits.await);
}
