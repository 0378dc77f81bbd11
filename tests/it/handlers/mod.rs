//! A route may end at a handler, code of a program that embeds the gateway; whatever holds for a route
//! holds for such a one. One file per promise.

mod before_the_101;
mod clients_are_let_go;
mod crowds_are_freed;
mod ends_have_their_codes;
mod filters_watch_frames;
mod names_find_handlers;
mod they_are_seen;
mod they_know_the_request;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tidegate::handler::{BoxError, WebSocketHandler, WebSocketSession};
use tidegate_tests::{Frame, TestGateway, Wire};

/// One route, with these top-level keys, keys of the route and of `handler.websocket`.
fn yaml(top: &str, route: &str, websocket: &str) -> String {
    format!(
        "admin: {{ bind: '127.0.0.1:0' }}\n{top}\n\
         routes:\n  - name: chat\n    match: {{ path: '/chat/{{room}}' }}\n    \
         handler: {{ name: code, websocket: {{ close_timeout: 2s, {websocket} }} }}\n    {route}\n"
    )
}

/// A gateway whose route ends at `code`.
fn gateway(yaml: &str, code: impl WebSocketHandler) -> TestGateway {
    TestGateway::handling(yaml, |builder| builder.handler("code", code))
}

/// Sends back what comes.
async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

/// Opens a session.
async fn open(gateway: &TestGateway) -> Wire {
    let mut client = gateway.connect().await;
    client.upgrade("/chat/1").await;
    client
}

/// Says `text` and hears it back.
async fn echoes(client: &mut Wire, text: &str) {
    client.send_frame(&Frame::text(text).from_client()).await;
    assert_eq!(client.read_frame().await, Frame::text(text));
}

/// The close frame that comes next: its code and its reason. It is answered.
async fn farewell(client: &mut Wire) -> (Option<u16>, String) {
    let told = client.read_frame().await;
    let code = told.close_code();
    let reason = String::from_utf8(told.payload.get(2..).unwrap_or_default().to_vec()).unwrap();
    let answer = code.map_or_else(|| Frame::new(8, ""), |code| Frame::close(code, ""));
    client.try_send(answer.from_client().bytes()).await.ok();
    (code, reason)
}

/// How many futures of handlers are alive.
#[derive(Debug, Clone, Default)]
struct Alive(Arc<AtomicUsize>);

/// One of them.
struct Living(Arc<AtomicUsize>);

impl Alive {
    fn one(&self) -> Living {
        self.0.fetch_add(1, Ordering::SeqCst);
        Living(Arc::clone(&self.0))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Drop for Living {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
