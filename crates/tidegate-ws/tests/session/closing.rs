//! When a session ends, and with which code (rows D-006 and D-007).

use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use crate::kit::{Peer, close, echo, frame, listen, part};
use tidegate_ws::frame::{OpCode, Violation};
use tidegate_ws::session::{Cause, Initiator};
use tidegate_ws::{
    BoxError, Driver, Ending, HandshakeInfo, Message, SessionConfig, SessionError,
    WebSocketSession, run,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn};
use tokio::time::{Instant, timeout};

fn config() -> Arc<SessionConfig> {
    Arc::new(SessionConfig::default())
}

fn serve<F>(handle: impl FnOnce(WebSocketSession) -> F) -> (Peer, JoinHandle<Ending>)
where
    F: Future<Output = Result<(), BoxError>> + Send + 'static,
{
    let (near, far) = duplex(64 << 10);
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let handler = handle(session);
    (Peer(near), spawn(driver.run(move || handler)))
}

#[tokio::test]
async fn a_handler_that_is_done_closes_with_1000() {
    let (mut peer, ending) = serve(async |mut session| {
        session.send("last words").await?;
        Ok(())
    });
    assert_eq!(
        peer.next().await,
        Some((OpCode::Text, b"last words".to_vec()))
    );
    assert_eq!(peer.next().await, Some((OpCode::Close, close(1000, ""))));
    peer.send(OpCode::Close, &close(1000, "")).await;
    assert_eq!(peer.next().await, None);
    let ending = ending.await.unwrap();
    assert_eq!((ending.code, ending.cause), (1000, Cause::HandlerDone));
    assert_eq!(ending.initiator, Initiator::Handler);
}

#[tokio::test]
async fn a_handler_that_fails_closes_with_1011() {
    let (mut peer, ending) = serve(async |_session| Err("no database".into()));
    assert_eq!(
        peer.next().await,
        Some((OpCode::Close, close(1011, "internal")))
    );
    peer.send(OpCode::Close, &close(1011, "")).await;
    let ending = ending.await.unwrap();
    assert_eq!((ending.code, ending.cause), (1011, Cause::HandlerFailed));
}

#[tokio::test]
async fn a_handler_that_panics_ends_its_own_session_alone() {
    let (mut peer, ending) = serve(async |mut session| {
        session.receive().await;
        panic!("as a test");
    });
    let (mut other, others) = serve(echo);
    peer.send(OpCode::Text, b"now").await;
    assert_eq!(
        peer.next().await,
        Some((OpCode::Close, close(1011, "internal")))
    );
    peer.send(OpCode::Close, &close(1011, "")).await;
    assert_eq!(ending.await.unwrap().cause, Cause::HandlerPanicked);
    other.send(OpCode::Text, b"alive").await;
    assert_eq!(other.next().await, Some((OpCode::Text, b"alive".to_vec())));
    assert!(!others.is_finished());
}

#[tokio::test]
async fn a_close_of_the_peer_is_answered_with_its_code_whatever_the_handler_awaits() {
    for (said, answer, code) in [
        (close(1001, "going"), close(1001, ""), 1001),
        (close(4321, ""), close(4321, ""), 4321),
        (vec![], vec![], 1005),
    ] {
        let (done, waits) = oneshot::channel::<()>();
        let (mut peer, ending) = serve(async |mut session| {
            waits.await?;
            assert!(session.receive().await.is_none());
            assert!(matches!(
                session.send("late").await,
                Err(SessionError::Closed)
            ));
            Ok(())
        });
        peer.send(OpCode::Close, &said).await;
        assert_eq!(peer.next().await, Some((OpCode::Close, answer)));
        assert_eq!(peer.next().await, None, "the server shuts first");
        done.send(()).unwrap();
        let ending = ending.await.unwrap();
        assert_eq!((ending.code, ending.cause), (code, Cause::PeerClosed));
        assert_eq!(ending.initiator, Initiator::Peer);
    }
}

#[tokio::test]
async fn what_came_before_a_close_is_received() {
    let (mut peer, ending) = serve(async |mut session| {
        let mut count = 0;
        while let Some(message) = session.receive().await {
            assert_eq!(message?, Message::text("x"));
            count += 1;
        }
        assert_eq!(count, 5);
        Ok(())
    });
    let mut bytes = frame(OpCode::Text, b"x").repeat(5);
    bytes.extend(frame(OpCode::Close, &close(1000, "")));
    peer.0.write_all(&bytes).await.unwrap();
    assert_eq!(peer.next().await, Some((OpCode::Close, close(1000, ""))));
    assert_eq!(ending.await.unwrap().cause, Cause::PeerClosed);
}

#[tokio::test]
async fn a_broken_rule_is_told_to_both() {
    for (bytes, code, reason, violation) in [
        (
            vec![0x83, 0x80, 0, 0, 0, 0],
            1002,
            "protocol_error",
            Violation::OpCode(3),
        ),
        (
            frame(OpCode::Text, b"\xff"),
            1007,
            "protocol_error",
            Violation::Text,
        ),
        (
            frame(OpCode::Continuation, b""),
            1002,
            "protocol_error",
            Violation::StrayContinuation,
        ),
        (
            vec![0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
            1009,
            "message_too_big",
            Violation::FrameTooBig {
                length: 1 << 24,
                limit: 1 << 20,
            },
        ),
    ] {
        let (mut peer, ending) = serve(async move |mut session| {
            let Some(Err(SessionError::Violation(told))) = session.receive().await else {
                panic!("no violation");
            };
            assert_eq!(told, violation);
            assert!(session.receive().await.is_none());
            Ok(())
        });
        peer.0.write_all(&bytes).await.unwrap();
        // More of it follows, which must not keep the peer from reading.
        peer.0.write_all(&[0; 4096]).await.unwrap();
        assert_eq!(
            peer.next().await,
            Some((OpCode::Close, close(code, reason)))
        );
        assert_eq!(peer.next().await, None);
        drop(peer);
        let ending = ending.await.unwrap();
        assert_eq!(
            (ending.code, ending.cause),
            (code, Cause::Violation(violation))
        );
        assert_eq!(ending.initiator, Initiator::Session);
    }
}

#[tokio::test]
async fn a_connection_that_ends_without_a_close_is_an_error() {
    for cut in [false, true] {
        let (mut peer, ending) = serve(async |mut session| {
            let lost = session.receive().await;
            assert!(matches!(lost, Some(Err(SessionError::Lost))), "{lost:?}");
            assert!(session.receive().await.is_none());
            Ok(())
        });
        if cut {
            let half = part(OpCode::Binary, true, &[1; 100]);
            peer.0.write_all(&half[..50]).await.unwrap();
        }
        drop(peer);
        let ending = ending.await.unwrap();
        assert_eq!((ending.code, ending.cause), (1006, Cause::PeerLost));
    }
}

#[tokio::test]
async fn the_embedder_ends_a_session() {
    let (near, far) = duplex(4096);
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let control = driver.control();
    let ending = spawn(driver.run(|| listen(session)));
    let mut peer = Peer(near);
    assert!(control.end(1012, "drain"));
    assert!(!control.end(1001, "too late"));
    assert_eq!(
        peer.next().await,
        Some((OpCode::Close, close(1012, "drain")))
    );
    peer.send(OpCode::Text, b"thrown away").await;
    peer.send(OpCode::Close, &close(1012, "")).await;
    let ending = ending.await.unwrap();
    assert_eq!((ending.code, ending.cause), (1012, Cause::Ended));
    assert_eq!(ending.initiator, Initiator::Embedder);
    assert!(!control.end(1000, ""), "it is over");
    assert!(control.sender().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_close_is_given_five_seconds() {
    let begin = Instant::now();
    let (mut peer, ending) = serve(async |mut session| {
        let ending = session.close(4000, "enough").await;
        assert_eq!(ending.code, 4000);
        Ok(())
    });
    assert_eq!(
        peer.next().await,
        Some((OpCode::Close, close(4000, "enough")))
    );
    let ending = ending.await.unwrap();
    assert_eq!((ending.code, ending.cause), (4000, Cause::Closed));
    let took = begin.elapsed();
    assert!((5..6).contains(&took.as_secs()), "{took:?}");
    assert_eq!(peer.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_its_session_is_dropped() {
    let (dropped, is_dropped) = oneshot::channel::<()>();
    let (mut peer, ending) = serve(async |_session| {
        let _guard = dropped;
        pending::<()>().await;
        Ok(())
    });
    let begin = Instant::now();
    peer.send(OpCode::Close, &close(1000, "")).await;
    assert!(is_dropped.await.is_err());
    let took = begin.elapsed();
    assert!((30..32).contains(&took.as_secs()), "{took:?}");
    assert_eq!(ending.await.unwrap().cause, Cause::PeerClosed);
}

#[tokio::test]
async fn a_driver_that_is_dropped_drops_the_connection() {
    let (near, far) = duplex(4096);
    let (halves, keep) = oneshot::channel();
    let handler = move |session: WebSocketSession| {
        let _ = halves.send(session.split());
        pending()
    };
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let task = spawn(driver.run(move || handler(session)));
    let (mut receiver, sender) = keep.await.unwrap();
    task.abort();
    let mut peer = Peer(near);
    assert_eq!(peer.next().await, None);
    assert!(receiver.receive().await.is_none());
    assert!(matches!(sender.send("x").await, Err(SessionError::Closed)));
    assert_eq!(receiver.ending().unwrap().cause, Cause::Dropped);
}

#[tokio::test]
async fn a_close_stands_behind_what_was_sent() {
    // More than the connection takes at once.
    let (near, far) = duplex(64);
    let handler = async |mut session: WebSocketSession| {
        for _ in 0..100 {
            session.send("0123456789").await?;
        }
        Ok(())
    };
    let ending = spawn(run(far, HandshakeInfo::default(), config(), handler));
    let mut peer = Peer(near);
    for _ in 0..100 {
        assert_eq!(
            peer.next().await,
            Some((OpCode::Text, b"0123456789".to_vec()))
        );
    }
    assert_eq!(peer.next().await, Some((OpCode::Close, close(1000, ""))));
    peer.send(OpCode::Close, &close(1000, "")).await;
    assert_eq!(ending.await.unwrap().cause, Cause::HandlerDone);
}

#[tokio::test(start_paused = true)]
async fn a_client_waits_for_the_server_to_go_first() {
    let (near, far) = duplex(4096);
    let mut opening = tidegate_ws::Opening::new(tidegate_ws::codec::Role::Client);
    opening.id = Some("mine".into());
    let (mut session, driver) = Driver::start(near, opening, config());
    assert_eq!(session.id(), "mine");
    let client = spawn(driver.run(async move || {
        session.close(1000, "").await;
        Ok(())
    }));
    let (mut reads, mut writes) = tokio::io::split(far);
    let mut bytes = [0; 8];
    reads.read_exact(&mut bytes).await.unwrap();
    writes.write_all(&[0x88, 2, 3, 232]).await.unwrap();
    let waits = timeout(Duration::from_secs(2), async { client.is_finished() }).await;
    assert!(!waits.unwrap());
    writes.shutdown().await.unwrap();
    assert_eq!(client.await.unwrap().code, 1000);
}

#[tokio::test]
async fn what_must_not_stand_on_the_wire_is_not_sent() {
    for (code, said, told) in [
        (1005, vec![], 1005),
        (0, close(1011, "bye"), 1011),
        (999, close(1011, "bye"), 1011),
        (1004, close(1011, "bye"), 1011),
        (1006, close(1011, "bye"), 1011),
        (1015, close(1011, "bye"), 1011),
        (2999, close(1011, "bye"), 1011),
        (5000, close(1011, "bye"), 1011),
        (4999, close(4999, "bye"), 4999),
    ] {
        for is_handler in [true, false] {
            let (near, far) = duplex(4096);
            let (mut session, driver) = Driver::start(far, HandshakeInfo::default(), config());
            let control = driver.control();
            let ending = spawn(driver.run(async move || {
                if is_handler {
                    session.close(code, "bye").await;
                }
                session.receive().await;
                Ok(())
            }));
            let mut peer = Peer(near);
            if !is_handler {
                assert!(control.end(code, "bye"));
            }
            assert_eq!(peer.next().await, Some((OpCode::Close, said.clone())));
            peer.send(OpCode::Close, &said).await;
            assert_eq!(peer.next().await, None);
            let ending = ending.await.unwrap();
            let reason = if told == 1005 { "" } else { "bye" };
            assert_eq!((ending.code, &*ending.reason), (told, reason), "{code}");
        }
    }
}
