//! Calls over HTTP that come as envelopes through one WebSocket.

mod addresses_are_not_chosen;
mod answers_are_one_each;
mod calls_are_counted_and_logged;
mod calls_are_like_requests;
mod demo_shows_it;
mod foreign_clients;
mod foreign_pages_are_refused;
mod frames_have_a_bound;
mod history;
mod old_clients_need_no_change;
mod plain_requests_tell_why;
mod services_know_who_calls;
mod streams_go_as_far_as_granted;
mod users_have_their_share;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tidegate_tests::frame::{Frame, PING, PONG, TEXT};
use tidegate_tests::wire::Wire;
use tidegate_tests::{Head, Request, ScriptedUpstream, TestGateway};

/// A gateway with a bridge at `/ws` to `account-service`, and an ordinary route to it below `/api`.
fn bridged(upstream: &ScriptedUpstream, options: &str) -> TestGateway {
    let yaml = format!(
        "services: {{ account-service: {{ endpoints: http://UP }} }}\n\
         routes:\n\
         - name: bridge\n  \
           match: {{ path: [/ws, /wsf] }}\n  \
           bridge: {{ services: account-service, {options} }}\n\
         - name: api\n  \
           match: {{ path: /api/** }}\n  \
           filters: [ {{ strip_prefix: 1 }} ]\n  \
           proxy: {{ service: account-service }}\n"
    );
    TestGateway::start(upstream, &yaml)
}

/// A client of the bridge.
pub(super) struct Client(pub(super) Wire);

impl Client {
    /// One without a subprotocol.
    pub(super) async fn old(gateway: &TestGateway) -> Self {
        Self::open(gateway, &Request::handshake("/ws")).await
    }

    /// One of version 1, behind its welcome.
    pub(super) async fn new(gateway: &TestGateway) -> Self {
        let handshake =
            Request::handshake("/ws").with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Self::open(gateway, &handshake).await;
        assert_eq!(client.receive().await["op"], "welcome");
        client
    }

    pub(super) async fn open(gateway: &TestGateway, handshake: &Request) -> Self {
        let mut wire = gateway.connect().await;
        wire.request(handshake).await;
        let head = wire.read_head().await;
        assert_eq!(head.status(), 101, "{head:?}");
        Self(wire)
    }

    pub(super) async fn send(&mut self, envelope: &Value) {
        self.send_text(&envelope.to_string()).await;
    }

    pub(super) async fn send_text(&mut self, text: &str) {
        self.0.send_frame(&Frame::text(text).from_client()).await;
    }

    pub(super) async fn receive(&mut self) -> Value {
        let mut text = Vec::new();
        loop {
            let frame = self.0.read_frame().await;
            if frame.opcode == PING {
                let pong = Frame::new(PONG, &frame.payload);
                self.0.send_frame(&pong.from_client()).await;
                continue;
            }
            text.extend_from_slice(&frame.payload);
            assert!(frame.opcode == TEXT || frame.opcode == 0, "{frame:?}");
            if frame.fin {
                break;
            }
        }
        serde_json::from_slice(&text).unwrap()
    }

    pub(super) async fn ask(&mut self, envelope: &Value) -> Value {
        self.send(envelope).await;
        self.receive().await
    }
}

/// An answer over HTTP.
fn http_answer(reply: &Value) -> Vec<u8> {
    let mut body = reply["body"]
        .as_str()
        .unwrap_or_default()
        .as_bytes()
        .to_vec();
    if let Some(encoded) = reply["body_base64"].as_str() {
        body = STANDARD.decode(encoded).unwrap();
    }
    let status = reply["status"].as_u64().unwrap();
    let mut head = format!("HTTP/1.1 {status} Any\r\nConnection: close\r\n");
    if status != 204 {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    if let Some(media_type) = reply["content_type"].as_str() {
        head.push_str(&format!("Content-Type: {media_type}\r\n"));
    }
    for (name, value) in reply["headers"].as_object().into_iter().flatten() {
        head.push_str(&format!("{name}: {}\r\n", value.as_str().unwrap()));
    }
    [head.as_bytes(), b"\r\n", &body].concat()
}

/// The request that a connection of the service was sent, with its body.
async fn asked(wire: &mut Wire) -> (Head, String) {
    let head = wire.read_head().await;
    let body = wire.read_body(&head).await.unwrap().0;
    (head, String::from_utf8(body).unwrap())
}

/// Whether `told` is `expected`, where `*` stands for anything.
fn is_like(told: &Value, expected: &Value) -> bool {
    match (told, expected) {
        (_, Value::String(any)) if any == "*" => true,
        (Value::Object(told), Value::Object(expected)) => {
            told.len() == expected.len()
                && expected
                    .iter()
                    .all(|(name, value)| told.get(name).is_some_and(|told| is_like(told, value)))
        }
        (told, expected) => told == expected,
    }
}
