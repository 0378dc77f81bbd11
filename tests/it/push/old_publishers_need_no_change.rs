//! `POST /kafka` as the predecessor has it, for those who may (rows B-037 and B-038).

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate::bus::{EventBus as _, MemoryBus, Payload, PushTarget, Received};
use tidegate_tests::mint::SECRET;
use tidegate_tests::wire::Answer;
use tidegate_tests::{Mint, Request, ScriptedUpstream, TestGateway, Token};

use super::super::bridge::Client;
use super::Setting;

/// A gateway where publishers have the role `ROLE_SERVICE`.
async fn setting(test: &str, options: &str, bus: &Arc<MemoryBus>) -> Option<Setting> {
    let mint = Mint::open(test)?;
    let upstream = ScriptedUpstream::bind().await;
    let up = upstream.address();
    let yaml = format!(
        "admin: {{ bind: 127.0.0.1:0, {options} }}\n\
         auth: {{ jwt: {{ secret: '{SECRET}' }} }}\n\
         services: {{ up: {{ endpoints: ['http://{up}'] }} }}\n\
         routes: {{ name: users, match: {{ path: /ws }}, filters: require, \
             bridge: {{ services: up }} }}\n"
    );
    let bus = Arc::clone(bus);
    Some(Setting {
        gateway: TestGateway::handling(&yaml, |builder| builder.bus(bus)),
        mint,
        _upstream: upstream,
    })
}

const KAFKA: &str = "kafka: { roles: ROLE_SERVICE, topics: [websocket-transport, other] }";

impl Setting {
    async fn publish(&self, token: Option<&str>, body: &Value) -> Answer {
        let admin = self.gateway.admin();
        let mut request = Request::new("POST", "/kafka").set("Host", &admin.0.to_string());
        if let Some(token) = token {
            request = request.with("Authorization", &format!("Bearer {token}"));
        }
        admin.ask(&request.body(body.to_string())).await
    }

    fn publisher(&self) -> String {
        self.mint.sign(
            &Token::secret()
                .claim("sub", "s1")
                .claim("roles", json!(["ROLE_SERVICE"])),
        )
    }
}

#[tokio::test]
async fn to_users_in_the_shape_of_old() {
    let bus = Arc::new(MemoryBus::default());
    let test = "to_users_in_the_shape_of_old";
    let Some(setting) = setting(test, KAFKA, &bus).await else {
        return;
    };
    let mut old: Client = setting.old("bro").await;
    let (mut new, _) = setting.new_session("bro").await;
    let publisher = setting.publisher();
    for (told, body) in [
        (json!({"value": -100}), json!("{\"value\": -100}")),
        (json!({"value": 1}), json!({"value": 1})),
        (json!("no JSON {"), json!("no JSON {")),
        (json!(null), json!(null)),
    ] {
        let event = json!({"topic": "websocket-transport", "body": {"username": "bro",
            "baseUrl": "http://account-service", "uri": "cash-out", "body": body}});
        let answer = setting.publish(Some(&publisher), &event).await;
        assert_eq!((answer.status(), &*answer.text()), (200, ""));
        let expected = json!({"username": "bro", "type": "GET", "uri": "cash-out",
            "baseUrl": "http://account-service", "body": told});
        assert_eq!(old.receive().await, expected);
        let push = new.receive().await;
        assert_eq!((&push["event"], &push["data"]), (&json!("cash-out"), &told));
        assert_eq!(push["source"], "account-service");
    }
    // The README of the predecessor calls the user by another name.
    let event = json!({"topic": "websocket-transport", "body": {"name": "bro", "uri": "x"}});
    assert_eq!(
        setting.publish(Some(&publisher), &event).await.status(),
        200
    );
    assert_eq!(old.receive().await["uri"], "x");
    let series = "tidegate_push_messages_total{source=\"kafka\",result=\"queued\"}";
    setting.gateway.admin().counts(series, 10.0).await;
}

#[tokio::test]
async fn to_topics_that_are_listed() {
    let bus = Arc::new(MemoryBus::default());
    let Some(setting) = setting("to_topics_that_are_listed", KAFKA, &bus).await else {
        return;
    };
    let mut other = bus.subscribe("other");
    let publisher = setting.publisher();
    let event = |topic: &str| json!({"topic": topic, "body": {"username": "u", "uri": "x"}});
    assert_eq!(
        setting
            .publish(Some(&publisher), &event("other"))
            .await
            .status(),
        200
    );
    let Some(Received::Event(event_told)) = other.receive().await else {
        panic!("nothing came");
    };
    assert_eq!(event_told.key.as_deref(), Some("u"));
    let Payload::Push(push) = &event_told.payload else {
        panic!("{event_told:?}");
    };
    assert_eq!(*push.targets, [PushTarget::User("u".into())]);
    for topic in ["user-connect-event", "", "Other"] {
        let answer = setting.publish(Some(&publisher), &event(topic)).await;
        let told: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(
            (answer.status(), &told["code"]),
            (403, &json!("topic_not_allowed"))
        );
    }
    for wrong in [
        json!({"topic": "other"}),
        json!({"topic": "other", "body": {"uri": "x"}}),
    ] {
        assert_eq!(
            setting.publish(Some(&publisher), &wrong).await.status(),
            400
        );
    }
}

#[tokio::test]
async fn by_those_who_may() {
    let bus = Arc::new(MemoryBus::default());
    let options = format!("token: the-token-of-the-listener, {KAFKA}");
    let Some(setting) = setting("by_those_who_may", &options, &bus).await else {
        return;
    };
    let event = json!({"topic": "other", "body": {"username": "u", "uri": "x"}});
    let publisher = setting.publisher();
    let expired = Token::secret()
        .claim("roles", json!(["ROLE_SERVICE"]))
        .claim("exp", 1);
    let expired = setting.mint.sign(&expired);
    let user = setting.token("u42");
    for (token, status) in [
        (Some(&*publisher), 200),
        (None, 401),
        (Some("nonsense"), 401),
        (Some("the-token-of-the-listener"), 401),
        (Some(&*expired), 401),
        (Some(&*user), 403),
    ] {
        let answer = setting.publish(token, &event).await;
        assert_eq!(answer.status(), status, "{token:?}: {}", answer.text());
    }
    // Nothing else is open to a user's token.
    let admin = setting.gateway.admin();
    let request = admin.request("/v1/sessions");
    let request = request.with("Authorization", &format!("Bearer {publisher}"));
    assert_eq!(admin.ask(&request).await.status(), 401);
}

#[tokio::test]
async fn where_it_is_switched_on() {
    let bus = Arc::new(MemoryBus::default());
    let Some(setting) = setting("where_it_is_switched_on", "", &bus).await else {
        return;
    };
    let event = json!({"topic": "websocket-transport", "body": {"username": "u", "uri": "x"}});
    let admin = setting.gateway.admin();
    let request = Request::new("POST", "/kafka").set("Host", &admin.0.to_string());
    let request = request.body(event.to_string());
    let answer = tidegate_tests::wire::Wire::connect(admin.0)
        .await
        .ask(&request)
        .await;
    assert_eq!(answer.status(), 404, "{}", answer.text());
}
