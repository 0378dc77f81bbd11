//! The same calls over the bridge.

use std::net::SocketAddr;

use tidegate_ws::client::WebSocketClient;
use tidegate_ws::deflate;
use tidegate_ws::{Message, SessionConfig, WebSocketSession};
use tokio::time::{Duration, timeout};

use super::socket::Counted;
use super::words;
use crate::measure::bridge;

/// What browsers say when they open a WebSocket, the token beside it.
const FIELDS: [(&str, &str); 6] = [
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    ),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
    ("cache-control", "no-cache"),
    ("cookie", "theme=dark; sid=5f1d7a84db00d2fce00b31a7fc73224f"),
    ("pragma", "no-cache"),
];
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Client(WebSocketSession);

impl Client {
    /// One that has its welcome.
    pub(super) async fn open(
        stream: Counted,
        gateway: SocketAddr,
        with_deflate: bool,
    ) -> Result<Self, String> {
        let mut config = SessionConfig::default();
        config.deflate = with_deflate.then(deflate::Config::default);
        let mut client = WebSocketClient::new()
            .subprotocol("tidegate.v1.json")
            .session(config);
        let token = format!("Bearer {}", super::token());
        for (name, value) in FIELDS.into_iter().chain([("authorization", &*token)]) {
            let name = name.parse().map_err(words)?;
            client = client.header(name, value.parse().map_err(words)?);
        }
        let url = format!("ws://{gateway}/known");
        let connected = client.connect_over(stream, &url).await;
        let connected = connected.map_err(words)?;
        let has_deflate = connected
            .response
            .headers()
            .contains_key("sec-websocket-extensions");
        if has_deflate != with_deflate {
            return Err("permessage-deflate is not as it was wanted".to_owned());
        }
        let mut client = Self(connected.session);
        let welcome = client.receive().await?;
        if !welcome.contains("\"op\":\"welcome\"") {
            return Err(format!("no welcome: {welcome}"));
        }
        Ok(client)
    }

    /// The answer's body.
    pub(super) async fn call(&mut self, id: usize, path: &str) -> Result<Vec<u8>, String> {
        let envelope = format!("{{\"id\":{id},\"baseUrl\":\"upstream\",\"uri\":\"{path}\"}}");
        self.0.send(Message::text(envelope)).await.map_err(words)?;
        let told = self.receive().await?;
        match bridge::answered(told.as_bytes()) {
            Some((told_of, body)) if told_of == id => Ok(body.to_vec()),
            _ => Err(format!("a wrong answer: {told}")),
        }
    }

    async fn receive(&mut self) -> Result<String, String> {
        loop {
            let received = timeout(PATIENCE, self.0.receive()).await.map_err(words)?;
            match received {
                Some(Ok(Message::Text(text))) if text.as_str().starts_with("{\"op\":\"ping\"") => {}
                Some(Ok(Message::Text(text))) => return Ok(text.as_str().to_owned()),
                other => return Err(format!("no text: {other:?}")),
            }
        }
    }
}
