//! A session that answers each message, in order: what comes is read only as fast as the answers go.

use std::sync::Arc;

use tidegate_ws::codec::Role;
use tidegate_ws::{BoxError, Message, Opening, SessionConfig, WebSocketSession, run};

async fn shout(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        let answer = match message? {
            Message::Text(text) => Message::text(text.to_uppercase()),
            other => other,
        };
        session.send(answer).await?;
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let (near, far) = tokio::io::duplex(4096);
    let config = Arc::new(SessionConfig::default());
    let server = run(far, Opening::new(Role::Server), Arc::clone(&config), shout);

    let client = async {
        let mut client = WebSocketSession::new(near, Opening::new(Role::Client), config);
        for (said, answer) in [("hello", "HELLO"), ("straße", "STRASSE")] {
            client.send(said).await?;
            let message = client.receive().await.ok_or("no answer")??;
            assert_eq!(message.as_text(), Some(answer));
        }
        client.close(1000, "").await;
        Ok::<(), BoxError>(())
    };
    let (ending, client) = tokio::join!(server, client);
    client?;
    assert_eq!(ending.code, 1000);
    Ok(())
}
