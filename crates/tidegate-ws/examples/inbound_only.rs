//! A session that only listens: it adds up the numbers that it is told, and says the sum at the end.
//!
//! The session ends when the client closes it, or says `done`; both end the loop, and the handler
//! with it.

use std::sync::Arc;

use tidegate_ws::codec::Role;
use tidegate_ws::{BoxError, Message, Opening, SessionConfig, WebSocketSession, run};

async fn sum(mut session: WebSocketSession) -> Result<(), BoxError> {
    let mut sum = 0;
    while let Some(message) = session.receive().await {
        let message = message?;
        let Some(text) = message.as_text() else {
            continue;
        };
        if text == "done" {
            break;
        }
        sum += text.parse::<i64>()?;
    }
    session.close(4000, &format!("sum={sum}")).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let (near, far) = tokio::io::duplex(4096);
    let config = Arc::new(SessionConfig::default());
    let server = run(far, Opening::new(Role::Server), Arc::clone(&config), sum);

    let client = async {
        let mut client = WebSocketSession::new(near, Opening::new(Role::Client), config);
        for number in ["1", "20", "300", "done"] {
            client.send(number).await?;
        }
        while let Some(message) = client.receive().await {
            let _: Message = message?;
        }
        client.flush().await.ok();
        client
            .ending()
            .ok_or_else(|| BoxError::from("it has not ended"))
    };
    let (ending, client) = tokio::join!(server, client);
    let told = client?;
    assert_eq!((told.code, &*told.reason), (4000, "sum=321"));
    assert_eq!(ending.code, 4000);
    Ok(())
}
