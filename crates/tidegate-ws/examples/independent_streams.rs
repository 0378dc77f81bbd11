//! A session whose input and output have nothing to do with each other: it sends ticks at its own
//! pace, forever, while it listens. The session ends when either side does: `select!` drops the
//! other.

use std::sync::Arc;
use std::time::Duration;

use tidegate_ws::codec::Role;
use tidegate_ws::{BoxError, Opening, ReceiveHalf, SendHalf, SessionConfig, WebSocketSession, run};
use tokio::time::interval;

async fn listen(mut receiver: ReceiveHalf) -> Result<(), BoxError> {
    while let Some(message) = receiver.receive().await {
        if message?.as_text() == Some("enough") {
            break;
        }
    }
    Ok(())
}

async fn tick(sender: SendHalf) -> Result<(), BoxError> {
    let mut ticks = interval(Duration::from_millis(5));
    for count in 0_u64.. {
        ticks.tick().await;
        sender.send(format!("tick {count}")).await?;
    }
    Ok(())
}

async fn handle(session: WebSocketSession) -> Result<(), BoxError> {
    let (receiver, sender) = session.split();
    tokio::select! {
        done = listen(receiver) => done,
        done = tick(sender) => done,
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), BoxError> {
    let (near, far) = tokio::io::duplex(4096);
    let config = Arc::new(SessionConfig::default());
    let server = run(far, Opening::new(Role::Server), Arc::clone(&config), handle);

    let client = async {
        let mut client = WebSocketSession::new(near, Opening::new(Role::Client), config);
        for count in 0..5 {
            let message = client.receive().await.ok_or("no tick")??;
            assert_eq!(message.as_text(), Some(&*format!("tick {count}")));
        }
        client.send("enough").await?;
        while let Some(message) = client.receive().await {
            message?;
        }
        client.flush().await.ok();
        client
            .ending()
            .ok_or_else(|| BoxError::from("it has not ended"))
    };
    let (ending, client) = tokio::join!(server, client);
    assert_eq!((client?.code, ending.code), (1000, 1000));
    Ok(())
}
