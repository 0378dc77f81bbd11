//! Users are online while they have a session open: counted, told of, limited, and ended.

mod commands;
mod counts_are_exact;
mod events_are_told;
mod nobody_goes_for_another;
mod one_too_many;
mod those_who_say_it_late_count;
mod users_are_seen_and_kicked;

use std::collections::HashMap;

use serde_json::Value;
use tidegate::bus::{Event, Payload, Received, Subscription};
use tidegate_tests::mint::SECRET;
use tidegate_tests::time::within;
use tidegate_tests::wire::Wire;
use tidegate_tests::{Admin, Mint, Request, ScriptedUpstream, TestGateway, Token};

/// Routes for users: a bridge at `/ws`, a service that mirrors at `/talk`, and whoever likes at `/open`.
fn house(upstream: &ScriptedUpstream, limits: &str, of_bridge: &str) -> TestGateway {
    TestGateway::start(upstream, &house_yaml(limits, of_bridge))
}

fn house_yaml(limits: &str, of_bridge: &str) -> String {
    format!(
        "admin: {{ bind: '127.0.0.1:0' }}\n\
         {limits}\n\
         auth: {{ jwt: {{ secret: '{SECRET}', token_from: header }} }}\n\
         services: {{ up: {{ endpoints: [http://UP] }} }}\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, filters: require, {of_bridge} bridge: {{ services: up }} }}\n\
         - {{ name: talk, match: {{ path: /talk }}, filters: require, proxy: {{ service: up }} }}\n\
         - {{ name: open, match: {{ path: /open }}, proxy: {{ service: up }} }}\n"
    )
}

/// Tokens of users, each signed once.
struct Users {
    mint: Mint,
    tokens: HashMap<String, String>,
}

impl Users {
    fn open(test: &str) -> Option<Self> {
        Some(Self {
            mint: Mint::open(test)?,
            tokens: HashMap::new(),
        })
    }

    /// A handshake of a user.
    fn handshake(&mut self, user: &str, target: &str) -> Request {
        let mint = &self.mint;
        let token = self
            .tokens
            .entry(user.to_owned())
            .or_insert_with(|| mint.sign(&Token::secret().claim("sub", user)));
        Request::handshake(target).with("Authorization", &format!("Bearer {token}"))
    }

    /// A session of a user.
    async fn enter(&mut self, gateway: &TestGateway, user: &str, target: &str) -> Wire {
        let handshake = self.handshake(user, target);
        entered(gateway, &handshake).await
    }
}

async fn entered(gateway: &TestGateway, handshake: &Request) -> Wire {
    let mut wire = gateway.connect().await;
    wire.request(handshake).await;
    let head = wire.read_head().await;
    assert_eq!(head.status(), 101, "{head:?}");
    wire
}

async fn json(admin: Admin, target: &str) -> Value {
    let answer = admin.get(target).await;
    assert_eq!(answer.status(), 200, "{target}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

async fn kick(admin: Admin, user: &str, body: &str) -> Value {
    let target = format!("/v1/users/{user}/sessions");
    let request = Request::new("DELETE", &target).set("Host", &admin.0.to_string());
    let request = match body {
        "" => request,
        body => request.body(body),
    };
    let answer = admin.ask(&request).await;
    assert_eq!(answer.status(), 202, "{}", answer.text());
    serde_json::from_slice(&answer.body).unwrap()
}

/// The next event, in short words.
async fn next(events: &mut Subscription) -> String {
    match within("an event", events.receive()).await {
        Some(Received::Event(event)) => told(&event),
        other => panic!("{other:?}"),
    }
}

fn told(event: &Event) -> String {
    match &event.payload {
        Payload::SessionOpened(one) => {
            format!(
                "opened {} {}",
                one.user.as_deref().unwrap_or("-"),
                one.route
            )
        }
        Payload::SessionClosed(one) => format!(
            "closed {} {} {} {}",
            one.user.as_deref().unwrap_or("-"),
            one.route,
            one.code,
            one.cause.label(),
        ),
        Payload::UserConnected(one) => format!("online {} {:?}", one.user, one.roles),
        Payload::UserDisconnected(one) => format!("offline {} {}", one.user, one.is_timeout),
        other => panic!("{other:?}"),
    }
}
