//! Halves in other tasks, on other threads, and as streams and sinks.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _, TryStreamExt as _};
use tidegate_ws::codec::Role;
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::Cause;
use tidegate_ws::{
    BoxError, Driver, HandshakeInfo, Message, Opening, SessionConfig, WebSocketSession, run,
};
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::sync::oneshot;
use tokio::task::{spawn, yield_now};
use tokio::time::timeout;

use crate::kit::{Peer, close, echo, frame};

/// Without pings, which would wake who was forgotten.
fn config() -> Arc<SessionConfig> {
    let mut config = SessionConfig::default();
    config.keep_alive = None;
    Arc::new(config)
}

/// Each of `rounds` messages comes back, while others are under way.
async fn storm(session: WebSocketSession, rounds: usize) {
    let (mut receiver, sender) = session.split();
    let sends = spawn(async move {
        for round in 0..rounds {
            let text = format!("{round} {}", "x".repeat(round % 5000));
            sender.send(text).await.unwrap();
        }
        sender
    });
    for round in 0..rounds {
        let message = receiver.receive().await.unwrap().unwrap();
        let text = message.as_text().unwrap();
        assert!(text.starts_with(&format!("{round} ")), "{text}");
        assert_eq!(text.len(), format!("{round} ").len() + round % 5000);
    }
    let sender = sends.await.unwrap();
    sender.close(1000, "").await;
    assert!(receiver.receive().await.is_none());
    assert_eq!(receiver.unsplit().ending().unwrap().cause, Cause::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn halves_on_other_threads() {
    for _ in 0..20 {
        let (near, far) = duplex(2000);
        // The server's halves are in other tasks than its driver.
        let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
        let (mut receiver, sender) = session.split();
        let (messages, mut queue) = tokio::sync::mpsc::channel(10);
        spawn(async move {
            while let Some(Ok(message)) = receiver.receive().await {
                messages.send(message).await.unwrap();
            }
        });
        spawn(async move {
            while let Some(message) = queue.recv().await {
                let message: Message = message;
                sender.send(message).await.unwrap();
            }
        });
        let server = spawn(driver.run(std::future::pending));
        let client = WebSocketSession::new(near, Opening::new(Role::Client), config());
        storm(client, 1000).await;
        // The handler waits forever, and has its grace.
        server.abort();
    }
}

#[tokio::test]
async fn an_echo_in_the_handlers_own_task() {
    let (near, far) = duplex(2000);
    let server = spawn(run(far, HandshakeInfo::default(), config(), echo));
    let client = WebSocketSession::new(near, Opening::new(Role::Client), config());
    storm(client, 2000).await;
    assert_eq!(server.await.unwrap().cause, Cause::PeerClosed);
}

#[tokio::test]
async fn streams_and_sinks() {
    let (near, far) = duplex(2000);
    let handler = async |session: WebSocketSession| {
        let (receiver, sender) = session.split();
        receiver.map_ok(|message| message).forward(sender).await?;
        Ok::<(), BoxError>(())
    };
    let server = spawn(run(far, HandshakeInfo::default(), config(), handler));
    let client = WebSocketSession::new(near, Opening::new(Role::Client), config());
    // Its two parts wait in one task, with wakers of their own.
    let (mut sink, mut stream) = futures_util::StreamExt::split(client);
    let sends = spawn(async move {
        for round in 0..500_usize {
            sink.send(Message::text("x".repeat(round))).await.unwrap();
        }
        sink
    });
    for round in 0..500_usize {
        let message = stream.next().await.unwrap().unwrap();
        assert_eq!(message.payload().len(), round);
    }
    let sink = sends.await.unwrap();
    let mut client = stream.reunite(sink).unwrap();
    futures_util::SinkExt::<Message>::close(&mut client)
        .await
        .unwrap();
    assert_eq!(server.await.unwrap().cause, Cause::PeerClosed);
}

#[tokio::test]
async fn a_sender_reaches_a_session_whose_handler_waits() {
    let (near, far) = duplex(2000);
    let (mut session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let control = driver.control();
    let server = spawn(driver.run(async move || {
        session.receive().await;
        Ok(())
    }));
    let mut peer = Peer(near);
    for round in 0..10_u8 {
        let sender = control.sender().unwrap();
        if round % 2 == 0 {
            sender.send(vec![round]).await.unwrap();
        } else {
            assert!(sender.try_send(vec![round]).unwrap().is_none());
        }
        assert_eq!(peer.next().await, Some((OpCode::Binary, vec![round])));
    }
    peer.send(OpCode::Text, b"done").await;
    assert_eq!(peer.next().await, Some((OpCode::Close, close(1000, ""))));
    drop(peer);
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_gave_up_receiving_in_another_task_leaves_it_to_the_driver() {
    let (near, far) = duplex(2000);
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
    let (mut receiver, _sender) = session.split();
    let server = spawn(driver.run(std::future::pending));
    let (gave_up, has_given_up) = oneshot::channel();
    let other = spawn(async move {
        let received = timeout(Duration::from_millis(50), receiver.receive()).await;
        assert!(received.is_err());
        gave_up.send(()).unwrap();
        std::future::pending::<()>().await;
        drop(receiver);
    });
    has_given_up.await.unwrap();
    let mut peer = Peer(near);
    peer.send(OpCode::Ping, b"?").await;
    let pong = timeout(Duration::from_secs(3), peer.next()).await;
    assert_eq!(pong.unwrap(), Some((OpCode::Pong, b"?".to_vec())));
    peer.send(OpCode::Close, &close(1000, "")).await;
    let answer = timeout(Duration::from_secs(3), peer.next()).await;
    assert_eq!(answer.unwrap(), Some((OpCode::Close, close(1000, ""))));
    other.abort();
    server.abort();
}

/// Text, text, a ping, text: whoever decodes the ping answers it.
#[tokio::test(start_paused = true)]
async fn a_ping_in_front_of_what_another_task_receives_is_answered() {
    let text = frame(OpCode::Text, b"x");
    let bytes = [&text[..], &text, &frame(OpCode::Ping, b"?"), &text].concat();
    for is_driven in [true, false] {
        let (near, far) = duplex(2000);
        let (mut session, driver) = if is_driven {
            let (session, driver) = Driver::start(far, HandshakeInfo::default(), config());
            (session, Some(spawn(driver.run(std::future::pending))))
        } else {
            let opening = Opening::new(Role::Server);
            (WebSocketSession::new(far, opening, config()), None)
        };
        let mut peer = Peer(near);
        peer.0.write_all(&bytes).await.unwrap();
        // The driver reads all of it, and decodes the first alone.
        for _ in 0..10 {
            yield_now().await;
        }
        for _ in 0..3 {
            let message = session.receive().await.unwrap().unwrap();
            assert_eq!(message, Message::text("x"));
        }
        let pong = timeout(Duration::from_secs(3), peer.next()).await;
        assert_eq!(pong.unwrap(), Some((OpCode::Pong, b"?".to_vec())));
        if let Some(driver) = driver {
            driver.abort();
        }
    }
}
