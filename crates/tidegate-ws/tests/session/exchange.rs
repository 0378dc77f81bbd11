//! Messages there and back.

use std::sync::{Arc, Mutex};

use tidegate_ws::codec::Role;
use tidegate_ws::deflate::Agreed;
use tidegate_ws::frame::OpCode;
use tidegate_ws::session::{Cause, Initiator, Observer};
use tidegate_ws::{
    HandshakeInfo, Message, Opening, SessionConfig, SessionError, WebSocketSession, run,
};
use tokio::io::{DuplexStream, duplex};

use crate::kit::{Peer, close, echo, frame};

fn client(io: DuplexStream) -> WebSocketSession {
    WebSocketSession::new(
        io,
        Opening::new(Role::Client),
        Arc::new(SessionConfig::default()),
    )
}

#[tokio::test]
async fn messages_come_back_and_the_client_closes() {
    let (near, far) = duplex(4096);
    let config = Arc::new(SessionConfig::default());
    let server = tokio::task::spawn(run(far, HandshakeInfo::default(), config, echo));
    let mut client = client(near);
    for length in [0, 1, 125, 126, 4096, 65535, 65536, 1 << 20] {
        for message in [
            Message::text("x".repeat(length)),
            Message::binary(vec![7; length]),
        ] {
            client.send(message.clone()).await.unwrap();
            let answer = client.receive().await;
            assert_eq!(answer.unwrap().unwrap(), message);
        }
    }
    let ending = client.close(1000, "bye").await;
    assert_eq!((ending.code, ending.initiator), (1000, Initiator::Handler));
    let ending = server.await.unwrap();
    assert_eq!((ending.code, ending.cause), (1000, Cause::PeerClosed));
    assert_eq!(ending.reason, "bye");
}

/// Deflate in both directions, with the context kept or not.
#[tokio::test]
async fn compressed_messages_come_back() {
    for takeover in [false, true] {
        let agreed = Agreed {
            own_takeover: takeover,
            own_bits: 15,
            peer_takeover: takeover,
            peer_bits: 15,
        };
        let (near, far) = duplex(4096);
        let opening = |role| {
            let mut opening = Opening::new(role);
            opening.deflate = Some(agreed);
            opening
        };
        let config = Arc::new(SessionConfig::default());
        let server = run(far, opening(Role::Server), Arc::clone(&config), echo);
        let server = tokio::task::spawn(server);
        let mut client = WebSocketSession::new(near, opening(Role::Client), config);
        for length in [0, 255, 256, 10_000, 1 << 20] {
            let message = Message::text("lorem ipsum ".repeat(length / 12));
            client.send(message.clone()).await.unwrap();
            assert_eq!(client.receive().await.unwrap().unwrap(), message);
        }
        client.close(1000, "").await;
        assert_eq!(server.await.unwrap().cause, Cause::PeerClosed);
    }
}

#[tokio::test]
async fn what_was_read_with_the_handshake_is_received_first() {
    let (near, far) = duplex(4096);
    let mut opening = Opening::new(Role::Server);
    opening.leftover = [frame(OpCode::Text, b"one"), frame(OpCode::Text, b"two")]
        .concat()
        .into();
    let server = run(far, opening, Arc::new(SessionConfig::default()), echo);
    let server = tokio::task::spawn(server);
    let mut peer = Peer(near);
    peer.send(OpCode::Text, b"three").await;
    for text in ["one", "two", "three"] {
        assert_eq!(
            peer.next().await,
            Some((OpCode::Text, text.as_bytes().to_vec()))
        );
    }
    drop(peer);
    assert_eq!(server.await.unwrap().cause, Cause::PeerLost);
}

#[tokio::test]
async fn pings_and_pongs_are_received_where_they_are_asked_for() {
    let (near, far) = duplex(4096);
    let mut config = SessionConfig::default();
    config.deliver_control = true;
    let handler = async |mut session: WebSocketSession| {
        for expected in [
            Message::Ping("a".into()),
            Message::text("b"),
            Message::Pong("c".into()),
        ] {
            assert_eq!(session.receive().await.unwrap()?, expected);
        }
        session.send(Message::Ping("d".into())).await?;
        let long = session.send(Message::Ping(vec![0; 126].into())).await;
        assert!(matches!(long, Err(SessionError::ControlTooLong)));
        Ok(())
    };
    let server = run(far, Opening::new(Role::Server), Arc::new(config), handler);
    let server = tokio::task::spawn(server);
    let mut peer = Peer(near);
    peer.send(OpCode::Ping, b"a").await;
    assert_eq!(peer.next().await, Some((OpCode::Pong, b"a".to_vec())));
    peer.send(OpCode::Text, b"b").await;
    peer.send(OpCode::Pong, b"c").await;
    assert_eq!(peer.next().await, Some((OpCode::Ping, b"d".to_vec())));
    assert_eq!(peer.next().await, Some((OpCode::Close, close(1000, ""))));
    drop(peer);
    assert_eq!(server.await.unwrap().cause, Cause::HandlerDone);
}

#[derive(Default)]
struct Counts(Mutex<Vec<(bool, OpCode, usize)>>);

impl Observer for Counts {
    fn received(&self, opcode: OpCode, bytes: usize) {
        self.0.lock().unwrap().push((true, opcode, bytes));
    }
    fn sent(&self, opcode: OpCode, bytes: usize) {
        self.0.lock().unwrap().push((false, opcode, bytes));
    }
}

#[tokio::test]
async fn an_observer_is_told_of_what_passes() {
    let (near, far) = duplex(4096);
    let counts = Arc::new(Counts::default());
    let mut opening = Opening::new(Role::Server);
    opening.observer = Some(Arc::<Counts>::clone(&counts));
    let server = run(far, opening, Arc::new(SessionConfig::default()), echo);
    let server = tokio::task::spawn(server);
    let mut peer = Peer(near);
    peer.send(OpCode::Binary, &[7; 300]).await;
    peer.next().await.unwrap();
    peer.send(OpCode::Close, &close(1000, "bye")).await;
    peer.next().await.unwrap();
    server.await.unwrap();
    let told = counts.0.lock().unwrap().clone();
    let expected = [
        (true, OpCode::Binary, 300),
        (false, OpCode::Binary, 300),
        (true, OpCode::Close, 5),
        (false, OpCode::Close, 2),
    ];
    assert_eq!(told, expected);
}
