//! A publisher that does not know whether it was heard asks again with the same key.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::{BoxFuture, ready};
use serde_json::{Value, json};
use tidegate::bus::{BusError, Event, EventBus, MemoryBus, Payload, Subscription};
use tidegate_tests::wire::Answer;
use tidegate_tests::{Request, TestGateway};

use super::Setting;

async fn ask(setting: &Setting, target: &str, key: &str, body: &Value) -> Answer {
    let admin = setting.gateway.admin();
    let request = Request::new("POST", target)
        .set("Host", &admin.0.to_string())
        .with("Idempotency-Key", key);
    admin.ask(&request.body(body.to_string())).await
}

#[tokio::test]
async fn under_one_key() {
    let Some(setting) = Setting::new("under_one_key", "").await else {
        return;
    };
    let (mut one, _) = setting.new_session("u42").await;
    let target = "/v1/users/u42/push";
    let (a, b) = (json!({"event": "a"}), json!({"event": "b"}));
    let first = ask(&setting, target, "k1", &a).await;
    let again = ask(&setting, target, "k1", &a).await;
    assert_eq!((first.status(), again.status()), (202, 202));
    assert_eq!(first.text(), again.text());
    assert_eq!(first.head.field("Idempotent-Replayed"), None);
    assert_eq!(again.head.field("Idempotent-Replayed"), Some("true"));
    let other = ask(&setting, target, "k1", &b).await;
    let told: Value = serde_json::from_str(&other.text()).unwrap();
    assert_eq!((other.status(), &told["code"]), (422, &json!("key_reused")));
    // A key is one of its path, and one that was wrong is free again.
    assert_eq!(ask(&setting, target, "k2", &json!({})).await.status(), 400);
    assert_eq!(ask(&setting, target, "k2", &b).await.status(), 202);
    assert_eq!(
        ask(&setting, "/v1/users/u43/push", "k1", &a).await.status(),
        202
    );
    for bad in ["", &"k".repeat(256)] {
        assert_eq!(ask(&setting, target, bad, &a).await.status(), 400, "{bad}");
    }
    assert_eq!(one.receive().await["event"], "a");
    assert_eq!(one.receive().await["event"], "b");
}

#[tokio::test]
async fn while_the_first_is_under_way() {
    let Some(setting) = Setting::new("while_the_first_is_under_way", "").await else {
        return;
    };
    let (mut one, _) = setting.new_session("u42").await;
    let target = "/v1/users/u42/push?wait=ack&timeout=25s";
    let body = json!({"event": "a"});
    let asked = ask(&setting, target, "k", &body);
    let meanwhile = async {
        assert_eq!(one.receive().await["seq"], 1);
        // It is on its way already, and is not sent a second time.
        let again = ask(&setting, target, "k", &body).await;
        assert_eq!(again.status(), 409, "{}", again.text());
        assert_eq!(again.head.field("Retry-After"), Some("1"));
        let again: Value = serde_json::from_str(&again.text()).unwrap();
        assert_eq!(again["code"], "key_in_use");
        one.send(&json!({"op": "ack", "seq": 1})).await;
    };
    let (first, ()) = tokio::join!(asked, meanwhile);
    // Nor is half of the answer given for all of it.
    let again = ask(&setting, target, "k", &body).await;
    assert_eq!(again.head.field("Idempotent-Replayed"), Some("true"));
    assert_eq!(again.text(), first.text());
    let first: Value = serde_json::from_str(&first.text()).unwrap();
    assert_eq!((&first["matched"], &first["acked"]), (&json!(1), &json!(1)));
    setting
        .push("/v1/users/u42/push", &json!({"event": "b"}))
        .await;
    assert_eq!(one.receive().await["event"], "b");
}

/// Carries so many pushes, and then no more until it may.
#[derive(Debug, Default)]
struct Failing {
    bus: MemoryBus,
    room: AtomicUsize,
}

impl EventBus for Failing {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        let less = |room: usize| room.checked_sub(1);
        let is_push = matches!(event.payload, Payload::Push(_));
        if is_push
            && self
                .room
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_err()
        {
            return Box::pin(ready(Err(BusError::Full)));
        }
        self.bus.publish(event)
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        self.bus.subscribe_to(topics)
    }
}

/// Each `event_id` of a batch, and whether it was queued.
fn parts(answer: &Answer) -> Vec<(Value, bool)> {
    let told: Vec<Value> = serde_json::from_str(&answer.text()).unwrap();
    let parts = told.iter();
    parts
        .map(|told| (told["event_id"].clone(), told["queued"] == true))
        .collect()
}

/// What was not done is done when it is asked for again, and what was is not.
#[tokio::test]
async fn nor_is_half_of_a_batch_lost() {
    let bus = Arc::<Failing>::default();
    let started =
        |upstream: &_, yaml: &str| TestGateway::on_bus(upstream, yaml, Arc::clone(&bus) as _);
    let setting = Setting::begin("nor_is_half_of_a_batch_lost", ("", ""), started).await;
    let Some(setting) = setting else { return };
    let (mut one, _) = setting.new_session("u42").await;
    let events = ["a", "b", "c", "d"];
    let batch: Value = events
        .iter()
        .map(|event| json!({"user": "u42", "event": event}))
        .collect();
    let again = async || ask(&setting, "/v1/push", "k", &batch).await;
    assert_eq!(again().await.status(), 503);
    let mut ids = None;
    for (room, expected) in [
        (2, [true, true, false, false]),
        (0, [true, true, false, false]),
        (1, [true, true, true, false]),
        (9, [true; 4]),
        (9, [true; 4]),
    ] {
        bus.room.store(room, Ordering::SeqCst);
        let answer = again().await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
        let (told, queued): (Vec<_>, Vec<_>) = parts(&answer).into_iter().unzip();
        assert_eq!(queued, expected);
        // Each has its name from the first time on.
        assert_eq!(*ids.get_or_insert(told.clone()), told);
    }
    assert_eq!(bus.room.load(Ordering::SeqCst), 9, "all was done before");
    for event in events {
        assert_eq!(one.receive().await["event"], event);
    }
    bus.room.store(1, Ordering::SeqCst);
    setting
        .push("/v1/push", &json!({"user": "u42", "event": "e"}))
        .await;
    assert_eq!(one.receive().await["event"], "e");
}
