//! When its client is gone a handler is told, and one that does not listen is dropped soon.

use std::time::{Duration, Instant};

use tidegate::handler::{BoxError, SessionError, WebSocketSession};
use tidegate_tests::time::SLACK;
use tidegate_tests::{Frame, TestGateway, eventually};
use tokio::sync::mpsc;

use super::{Alive, gateway, open, yaml};

#[tokio::test]
async fn a_handler_that_listens_hears_of_it() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let listening = move |mut session: WebSocketSession| {
        let tell = tell.clone();
        async move {
            let mut last = "closed";
            while let Some(message) = session.receive().await {
                match message {
                    Ok(message) => session.send(message).await?,
                    Err(SessionError::Lost | SessionError::Io(_)) => last = "lost",
                    Err(_) => last = "something else",
                }
            }
            tell.send(last)?;
            Ok::<(), BoxError>(())
        }
    };
    let gateway = gateway(&yaml("", "", ""), listening);
    drop(open(&gateway).await);
    assert_eq!(told.recv().await, Some("lost"));
    open(&gateway).await.reset();
    assert_eq!(told.recv().await, Some("lost"));
    open(&gateway).await.close_session().await;
    assert_eq!(told.recv().await, Some("closed"));
    gateway.is_empty().await;
    for (code, cause, count) in [("1006", "client_lost", 2.0), ("1000", "client_close", 1.0)] {
        let series = format!(
            "tidegate_ws_connections_closed_total{{route=\"chat\",code=\"{code}\",\
             cause=\"{cause}\",initiator=\"client\"}}"
        );
        gateway.admin().counts(&series, count).await;
    }
}

/// Holds its session and waits for something that never comes.
fn deaf(alive: &Alive) -> impl tidegate::handler::WebSocketHandler + use<> {
    let alive = alive.clone();
    move |session: WebSocketSession| {
        let living = alive.one();
        async move {
            let _held = (living, session);
            std::future::pending::<Result<(), BoxError>>().await
        }
    }
}

#[tokio::test]
async fn one_that_does_not_is_dropped() {
    let alive = Alive::default();
    let gateway = gateway(&yaml("", "", ""), deaf(&alive));
    for ends in ["dropped", "reset", "closed"] {
        let mut client = open(&gateway).await;
        eventually("its handler runs", || alive.count() == 1).await;
        let begun = Instant::now();
        match ends {
            "dropped" => drop(client),
            "reset" => client.reset(),
            _ => {
                client
                    .send_frame(&Frame::close(1000, "").from_client())
                    .await;
                assert_eq!(client.read_close().await, Some(1000));
                client.expect_end().await;
            }
        }
        eventually("its future is dropped", || alive.count() == 0).await;
        // `close_timeout`, and a second for the clock.
        let limit = Duration::from_secs(3) + SLACK;
        assert!(
            begun.elapsed() < limit,
            "{ends}: after {:?}",
            begun.elapsed()
        );
        gateway.is_empty().await;
    }
}

#[tokio::test]
async fn a_gateway_that_is_cut_drops_them_all() {
    let alive = Alive::default();
    let gateway = gateway(&yaml("", "", ""), deaf(&alive));
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(open(&gateway).await);
    }
    eventually("their handlers run", || alive.count() == 5).await;
    TestGateway::cut(gateway).await;
    assert_eq!(alive.count(), 0);
}
