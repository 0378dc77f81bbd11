//! Sessions are members of rooms, and are told what is pushed there.

mod members_are_told;
mod newer_tokens_are_asked_anew;
mod nothing_is_lost_in_silence;
mod patterns_cannot_be_widened;
mod presence_is_told;
mod stalled_members_hold_up_nobody;
mod what_was_missed_comes_again;

use serde_json::{Value, json};
use tidegate_tests::frame::Frame;
use tidegate_tests::mint::SECRET;
use tidegate_tests::wire::Answer;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::bridge::Client;

/// A gateway with a bridge at `/ws` for users, and one at `/open` for anybody.
struct Setting {
    gateway: TestGateway,
    mint: Mint,
    _upstream: ScriptedUpstream,
}

impl Setting {
    /// With these rules of `bridge.rooms`. `None`: nobody can sign here.
    async fn new(test: &str, rules: &str) -> Option<Self> {
        Self::with(test, rules, "", "").await
    }

    /// The same, with this beside, and these keys of the bridges.
    async fn with(test: &str, rules: &str, beside: &str, keys: &str) -> Option<Self> {
        let mint = Mint::open(test)?;
        let upstream = ScriptedUpstream::bind().await;
        let bridge = format!("bridge: {{ services: up, rooms: [{rules}], {keys} }}");
        let yaml = format!(
            "{beside}\n\
             admin: {{ bind: 127.0.0.1:0 }}\n\
             auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
             services: {{ up: {{ endpoints: [http://UP] }} }}\n\
             routes:\n\
             - {{ name: users, match: {{ path: /ws }}, filters: require, {bridge} }}\n\
             - {{ name: anybody, match: {{ path: /open }}, {bridge} }}\n"
        );
        Some(Self {
            gateway: TestGateway::start(&upstream, &yaml),
            mint,
            _upstream: upstream,
        })
    }

    fn handshake(&self, token: &Token) -> Request {
        let bearer = format!("Bearer {}", self.mint.sign(token));
        Request::handshake("/ws").with("Authorization", &bearer)
    }

    /// A session of a user with these claims beside, and its welcome.
    async fn welcomed(&self, user: &str, claims: &Value) -> (Client, Value) {
        let mut token = Token::secret().claim("sub", user);
        for (name, value) in claims.as_object().unwrap() {
            token = token.claim(name, value.clone());
        }
        let handshake = self.handshake(&token);
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(&self.gateway, &handshake).await;
        let welcome = client.receive().await;
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        (client, welcome)
    }

    async fn session(&self, user: &str) -> Client {
        self.welcomed(user, &json!({})).await.0
    }

    /// A session in which a user comes back to that of `welcome`, and what it is told.
    async fn resumed(&self, user: &str, welcome: &Value) -> (Client, Value) {
        let mut back = self.session(user).await;
        let token = &welcome["resume"]["token"];
        let resume = json!({"session": welcome["session"], "token": token, "seq": 0});
        let hello = json!({"op": "hello", "v": 1, "resume": resume});
        let welcome = back.ask(&hello).await;
        (back, welcome)
    }

    /// One of nobody in particular.
    async fn anybody(&self) -> Client {
        let handshake = Request::handshake("/open");
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(&self.gateway, &handshake).await;
        assert_eq!(client.receive().await["op"], "welcome");
        client
    }

    async fn admin(&self, method: &str, target: &str, body: &str) -> Answer {
        let admin = self.gateway.admin();
        let host = admin.0.to_string();
        let request = Request::new(method, target).set("Host", &host);
        admin.ask(&request.body(body)).await
    }

    /// What became of a push to a room.
    async fn push(&self, room: &str, data: &Value) -> Value {
        let body = json!({"room": room, "event": "told", "data": data});
        let answer = self.admin("POST", "/v1/push", &body.to_string()).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        serde_json::from_str(&answer.text()).unwrap()
    }

    /// What the admin listener tells of something, with its status.
    async fn look(&self, target: &str) -> (u16, Value) {
        let answer = self.admin("GET", target, "").await;
        (
            answer.status(),
            serde_json::from_str(&answer.text()).unwrap(),
        )
    }
}

/// Goes for good.
async fn go(mut client: Client) {
    let close = Frame::close(1000, "").from_client();
    client.0.send_frame(&close).await;
}

/// What is answered to `op` in a room.
async fn ask(client: &mut Client, op: &str, room: &str) -> Value {
    client.ask(&json!({"op": op, "id": 9, "room": room})).await
}

/// Becomes a member, and returns what is told of the room.
async fn join(client: &mut Client, room: &str) -> Value {
    let mut answer = ask(client, "sub", room).await;
    assert_eq!(
        (&answer["id"], &answer["status"]),
        (&json!(9), &json!(200)),
        "{answer}"
    );
    answer["body"].take()
}
