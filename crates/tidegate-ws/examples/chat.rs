//! A chat: who is in a room hears what is said there. `ADDRESS` may be given as the first argument.
//!
//! Rooms are paths: `ws://127.0.0.1:9001/rooms/lobby?name=ada`. A guest who hears slower than the
//! others speak misses what he could not take in, and is told how much; the others do not wait.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own"
)]

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryFutureExt as _;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_ws::mapping::{HandlerMapping, MappedHandler};
use tidegate_ws::path::Captures;
use tidegate_ws::service::HandshakeService;
use tidegate_ws::{BoxError, Limits, Message, SessionConfig, WebSocketHandler, WebSocketSession};
use tokio::net::TcpListener;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// How many words a slow guest may be behind.
const BEHIND: usize = 64;

#[derive(Default)]
struct Chat {
    rooms: Mutex<HashMap<String, broadcast::Sender<String>>>,
}

impl Chat {
    /// The way to speak in a room and to hear in it; it is there from the first guest on. One who
    /// hears is counted under the lock, so that no room is cleared away before its guest is in.
    fn enter(&self, name: &str) -> (broadcast::Sender<String>, broadcast::Receiver<String>) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        // Rooms that everybody has left are cleared away.
        rooms.retain(|_, room| room.receiver_count() > 0);
        let room = rooms
            .entry(name.to_owned())
            .or_insert_with(|| broadcast::Sender::new(BEHIND));
        (room.clone(), room.subscribe())
    }
}

impl WebSocketHandler for Chat {
    async fn handle(&self, mut session: WebSocketSession) -> Result<(), BoxError> {
        let (room, name) = introduction(&mut session);
        let (room, mut heard) = self.enter(&room);
        // Nobody listening is no error, here and below.
        let _ = room.send(format!("{name} is here"));
        let ended = loop {
            tokio::select! {
                said = session.receive() => match said {
                    Some(Ok(Message::Text(words))) => {
                        let _ = room.send(format!("{name}: {}", words.as_str()));
                    }
                    Some(Ok(_not_text)) => {
                        session.close(1003, "text only").await;
                        break Ok(());
                    }
                    Some(Err(error)) => break Err(error.into()),
                    None => break Ok(()),
                },
                words = heard.recv() => {
                    let words = match words {
                        Ok(words) => words,
                        Err(RecvError::Lagged(missed)) => format!("({missed} lines missed)"),
                        Err(RecvError::Closed) => break Ok(()),
                    };
                    if let Err(error) = session.send(words).await {
                        break Err(error.into());
                    }
                }
            }
        };
        let _ = room.send(format!("{name} has left"));
        ended
    }

    fn subprotocols(&self) -> Vec<&str> {
        vec!["chat"]
    }
}

/// The room and the guest's name, from the handshake, which is not kept any longer.
fn introduction(session: &mut WebSocketSession) -> (String, String) {
    let Some(info) = session.take_handshake() else {
        return ("lobby".to_owned(), "somebody".to_owned());
    };
    let room = info
        .attributes
        .get::<Captures>()
        .and_then(|path| path.get("room"));
    let query = info.uri.query().unwrap_or_default();
    let name = query.split('&').find_map(|pair| pair.strip_prefix("name="));
    (
        room.unwrap_or("lobby").to_owned(),
        name.unwrap_or("somebody").to_owned(),
    )
}

fn mapping() -> Result<HandlerMapping, BoxError> {
    let mut config = SessionConfig::default();
    config.limits = Limits::new().with_max_message(4 << 10);
    config.idle_timeout = Some(Duration::from_secs(30 * 60));
    let chat = Chat::default();
    let service = HandshakeService::new().session(config);
    let mapping = HandlerMapping::builder()
        .handler("/rooms/{room}", MappedHandler::with_service(chat, service))
        .build()?;
    Ok(mapping)
}

async fn answer(
    mapping: Arc<HandlerMapping>,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (response, pending) = mapping.handle(&request).into_parts();
    if let Some(pending) = pending {
        let connection = hyper::upgrade::on(&mut request).map_ok(TokioIo::new);
        tokio::spawn(pending.run_when(connection));
    }
    Ok(response.map(Full::new))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mapping = Arc::new(mapping()?);
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (connection, _peer) = listener.accept().await?;
        let mapping = Arc::clone(&mapping);
        let serve = service_fn(move |request| answer(Arc::clone(&mapping), request));
        let served = http1::Builder::new().serve_connection(TokioIo::new(connection), serve);
        tokio::spawn(served.with_upgrades());
    }
}
