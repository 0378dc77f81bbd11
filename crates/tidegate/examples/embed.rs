//! A gateway inside a program of your own, with a chat for a handler.
//!
//! ```console
//! cargo run -p tidegate --example embed
//! ```
//!
//! It prints where it listens. Connect several clients to one room, with any WebSocket client
//! (`npx wscat -c ws://...`): what one says, all hear.

#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tidegate::Gateway;
use tidegate::config::Config;
use tidegate::handler::{
    BoxError, Message, ReceiveHalf, RouteFacts, SendHalf, Text, WebSocketHandler, WebSocketSession,
};
use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

/// What may also stand in a file (`Config::from_file`). `handler: chat` is the line that matters.
const CONFIG: &str = r#"
version: 1
listeners: [{ name: public, bind: "127.0.0.1:0" }]
admin: { bind: "127.0.0.1:0" }
drain: { delay: none, spread: 1s }
access_log: none
routes:
  - name: chat
    match: { path: "/chat/{room}" }
    filters: [{ set_response_header: { X-Room: "{room}" } }]
    limits: { max_sessions: 1000 }
    handler: { name: chat, websocket: { max_message: 4KiB, idle_timeout: 10m } }
"#;

/// The rooms that there are. One handler serves all sessions, on all threads of the gateway.
#[derive(Default)]
struct Chat {
    rooms: Mutex<HashMap<String, Sender<Text>>>,
}

impl WebSocketHandler for Chat {
    /// Lives through one session. Whatever ends first, hearing or saying, ends it; returning closes
    /// with 1000, an error with 1011.
    async fn handle(&self, mut session: WebSocketSession) -> Result<(), BoxError> {
        // What is known of the request is needed no more afterwards, and its memory is given back.
        let handshake = session.take_handshake().ok_or("no handshake")?;
        let facts = handshake.attributes.get::<RouteFacts>();
        let room = facts.and_then(|facts| facts.captures.get("room"));
        let (room, heard) = self.enter(room.unwrap_or("lobby"));
        let (receiver, sender) = session.split();
        tokio::select! {
            said = listen(receiver, &room) => said,
            told = tell(sender, heard) => told,
        }
    }

    fn subprotocols(&self) -> Vec<&str> {
        vec!["v1.chat.example"]
    }
}

impl Chat {
    /// The way to speak in a room and to hear in it. One who hears is counted under the lock, so that no
    /// room is cleared away before its guest is in.
    fn enter(&self, name: &str) -> (Sender<Text>, Receiver<Text>) {
        // Held for a moment only: a handler must never block its thread.
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        rooms.retain(|_, room| room.receiver_count() > 0);
        let room = rooms.entry(name.to_owned());
        let room = room.or_insert_with(|| broadcast::channel(64).0);
        (room.clone(), room.subscribe())
    }
}

/// From the client to the room, until the client leaves.
async fn listen(mut receiver: ReceiveHalf, room: &Sender<Text>) -> Result<(), BoxError> {
    while let Some(message) = receiver.receive().await {
        if let Message::Text(text) = message? {
            room.send(text).ok();
        }
    }
    Ok(())
}

/// From the room to the client. One that is too slow for the room misses something.
async fn tell(sender: SendHalf, mut heard: Receiver<Text>) -> Result<(), BoxError> {
    loop {
        match heard.recv().await {
            Ok(text) => sender.send(text).await?,
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

fn main() -> Result<(), BoxError> {
    let plan = Config::from_yaml("embed.yaml", CONFIG)?.resolve()?;
    let gateway = Gateway::builder(plan)
        .handler("chat", Chat::default())
        .start()?;
    for (_, address) in gateway.addresses() {
        println!("listening: ws://{address}/chat/lobby");
    }
    if let Some(admin) = gateway.admin_address() {
        println!("admin: http://{admin}");
        println!("to end it: curl -X POST http://{admin}/v1/drain");
    }
    // Blocks until a drain is over: all sessions are told goodbye (1012) first.
    gateway.wait();
    Ok(())
}
