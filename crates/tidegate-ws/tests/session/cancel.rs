//! Futures that are dropped wherever they wait lose nothing and double nothing.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tidegate_ws::codec::Role;
use tidegate_ws::frame::OpCode;
use tidegate_ws::{
    Driver, Ending, HandshakeInfo, Message, Opening, SessionConfig, WebSocketSession,
};
use tokio::io::{AsyncWriteExt as _, duplex};
use tokio::task::{JoinHandle, spawn, yield_now};

use crate::kit::{Peer, close, frame};

/// Polls `future` once, and drops it.
fn once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn start(is_driven: bool, capacity: usize) -> (WebSocketSession, Peer, Option<JoinHandle<Ending>>) {
    let (near, far) = duplex(capacity);
    let mut config = SessionConfig::default();
    config.outbox = 100;
    let config = Arc::new(config);
    if !is_driven {
        let session = WebSocketSession::new(far, Opening::new(Role::Server), config);
        return (session, Peer(near), None);
    }
    let (session, driver) = Driver::start(far, HandshakeInfo::default(), config);
    let never = std::future::pending();
    (session, Peer(near), Some(spawn(driver.run(|| never))))
}

#[tokio::test]
async fn a_receive_that_is_dropped_loses_nothing() {
    for is_driven in [false, true] {
        let (mut session, mut peer, _driver) = start(is_driven, 100);
        let mut bytes = Vec::new();
        for count in 0..200_usize {
            bytes.extend(frame(
                OpCode::Text,
                count.to_string().repeat(count).as_bytes(),
            ));
            bytes.extend(frame(OpCode::Ping, b"between"));
        }
        let writer = spawn(async move {
            for piece in bytes.chunks(7) {
                peer.0.write_all(piece).await.unwrap();
            }
            peer
        });
        // The pongs are not read, nor are there so many that it matters.
        for count in 0..90_usize {
            let message = loop {
                if let Some(message) = once(session.receive()) {
                    break message;
                }
                yield_now().await;
            };
            let expected = Message::text(count.to_string().repeat(count));
            assert_eq!(message.unwrap().unwrap(), expected);
        }
        writer.abort();
    }
}

#[tokio::test]
async fn a_send_that_is_dropped_has_sent_the_whole_or_nothing() {
    for is_driven in [false, true] {
        let (mut session, mut peer, _driver) = start(is_driven, 64);
        let reader = spawn(async move {
            let mut texts = Vec::new();
            while let Some((OpCode::Text, text)) = peer.next().await {
                texts.push(String::from_utf8(text).unwrap());
            }
            texts
        });
        let (mut sent, mut refused) = (Vec::new(), 0);
        for count in 0..500 {
            let text = format!("{count} {}", "x".repeat(count % 90));
            match once(session.send(text.clone())) {
                Some(result) => {
                    result.unwrap();
                    sent.push(text);
                }
                None => refused += 1,
            }
            if count % 3 == 0 {
                yield_now().await;
            }
        }
        assert!(refused > 0, "the outbox was never full");
        while once(session.flush()).is_none() {
            yield_now().await;
        }
        drop(once(session.close(1000, "")));
        for _ in 0..100 {
            yield_now().await;
            // A session without a driver goes on while it is polled.
            drop(once(session.flush()));
        }
        assert_eq!(reader.await.unwrap(), sent);
    }
}

#[tokio::test]
async fn a_close_that_is_dropped_goes_on() {
    let (mut session, mut peer, driver) = start(true, 64);
    assert!(once(session.close(4000, "bye")).is_none());
    drop(session);
    assert_eq!(peer.next().await, Some((OpCode::Close, close(4000, "bye"))));
    peer.send(OpCode::Close, &close(4000, "")).await;
    assert_eq!(peer.next().await, None);
    drop(driver);
}
