//! Services tell users something through their bridge sessions.

mod by_the_command;
mod clients_are_told_to_go;
mod clients_say_that_they_have_it;
mod cursors_are_good_anywhere;
mod every_session_of_a_user_is_told;
pub(super) mod history;
mod names_are_as_they_are;
mod nothing_is_lost_in_silence;
mod nothing_is_pushed_twice;
mod old_publishers_need_no_change;
mod pushes_are_addressed;
mod sessions_are_resumed;
mod slow_readers_hold_up_nobody;
mod some_may_not_come_back;
mod what_was_told_before_a_drain_arrives;

use std::sync::Arc;

use serde_json::Value;
use tidegate::bus::MemoryBus;
use tidegate_tests::mint::SECRET;
use tidegate_tests::wire::Answer;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::bridge::Client;

/// A gateway with a bridge at `/ws` for users, and one at `/open` for anybody; and who signs tokens.
struct Setting {
    gateway: TestGateway,
    mint: Mint,
    upstream: ScriptedUpstream,
}

impl Setting {
    /// With these keys of `bridge.push`. `None`: nobody can sign here.
    async fn new(test: &str, push: &str) -> Option<Self> {
        Self::with(test, push, "").await
    }

    /// The same, with this beside.
    async fn with(test: &str, push: &str, beside: &str) -> Option<Self> {
        let start = |upstream: &ScriptedUpstream, yaml: &str| TestGateway::start(upstream, yaml);
        Self::begin(test, (push, beside), start).await
    }

    /// The same, one of several gateways that share `bus`.
    async fn on_bus(
        test: &str,
        (push, beside): (&str, &str),
        bus: &Arc<MemoryBus>,
    ) -> Option<Self> {
        let start = |upstream: &ScriptedUpstream, yaml: &str| {
            TestGateway::on_bus(upstream, yaml, Arc::clone(bus) as _)
        };
        Self::begin(test, (push, beside), start).await
    }

    async fn begin(
        test: &str,
        (push, beside): (&str, &str),
        start: impl FnOnce(&ScriptedUpstream, &str) -> TestGateway,
    ) -> Option<Self> {
        let mint = Mint::open(test)?;
        let upstream = ScriptedUpstream::bind().await;
        let yaml = format!(
            "{beside}\n\
             admin: {{ bind: 127.0.0.1:0 }}\n\
             auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
             services: {{ up: {{ endpoints: [http://UP] }} }}\n\
             routes:\n\
             - {{ name: users, match: {{ path: /ws }}, filters: require, \
                 bridge: {{ services: up, push: {{ {push} }} }} }}\n\
             - {{ name: anybody, match: {{ path: /open }}, \
                 bridge: {{ services: up, push: {{ {push} }} }} }}\n"
        );
        Some(Self {
            gateway: start(&upstream, &yaml),
            mint,
            upstream,
        })
    }

    fn token(&self, user: &str) -> String {
        self.mint.sign(&Token::secret().claim("sub", user))
    }

    fn handshake(&self, user: &str) -> Request {
        let bearer = format!("Bearer {}", self.token(user));
        Request::handshake("/ws").with("Authorization", &bearer)
    }

    /// A session of the old protocol.
    async fn old(&self, user: &str) -> Client {
        Client::open(&self.gateway, &self.handshake(user)).await
    }

    /// One of version 1, and what it is called.
    async fn new_session(&self, user: &str) -> (Client, String) {
        let handshake = self.handshake(user);
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(&self.gateway, &handshake).await;
        let welcome = client.receive().await;
        assert_eq!(welcome["user"], user, "{welcome}");
        let features = welcome["features"].as_array().unwrap();
        assert!(features.contains(&"push".into()), "{welcome}");
        (client, welcome["session"].as_str().unwrap().to_owned())
    }

    /// What is answered to a push.
    async fn post(&self, target: &str, body: &Value) -> Answer {
        let admin = self.gateway.admin();
        let host = admin.0.to_string();
        let request = Request::new("POST", target).set("Host", &host);
        admin.ask(&request.body(body.to_string())).await
    }

    /// What became of a push.
    async fn push(&self, target: &str, body: &Value) -> Value {
        let answer = self.post(target, body).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        serde_json::from_str(&answer.text()).unwrap()
    }
}
