//! A session over an in-memory connection, from both sides.

use std::sync::Arc;

use tidegate_ws::codec::Role;
use tidegate_ws::session::{Cause, Initiator};
use tidegate_ws::{
    BoxError, HandshakeInfo, Message, Opening, SessionConfig, WebSocketSession, run,
};
use tokio::io::{DuplexStream, duplex};

async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

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
