//! A push reaches each session of its user, in the shape that the session speaks, and nobody else.

use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;
use tidegate::bus::{Event as BusEvent, Payload, PushEvent, PushTarget, Received};

use super::Setting;

#[tokio::test]
async fn in_the_shape_that_each_speaks() {
    let Some(setting) = Setting::new("in_the_shape_that_each_speaks", "").await else {
        return;
    };
    let mut old = setting.old("u42").await;
    let (mut one, _) = setting.new_session("u42").await;
    let (mut two, _) = setting.new_session("u42").await;
    let mut other = setting.old("u43").await;
    let body = json!({"event": "cash-out", "source": "account-service", "data": {"value": -100}});
    let told = setting.push("/v1/users/u42/push", &body).await;
    assert_eq!(
        (&told["queued"], &told["matched"]),
        (&json!(true), &json!(3))
    );
    for client in [&mut one, &mut two] {
        let mut push = client.receive().await;
        let time = push["ts"].take();
        let cursor = push["cursor"].take();
        assert!(cursor.is_string(), "{cursor}");
        assert!(time.as_u64().unwrap() > 1_700_000_000_000, "{time}");
        let expected = json!({"op": "push", "seq": 1, "event": "cash-out", "ts": null,
            "cursor": null, "source": "account-service", "data": {"value": -100}});
        assert_eq!(push, expected);
    }
    let expected = json!({"username": "u42", "type": "GET", "baseUrl": "http://account-service",
        "uri": "cash-out", "body": {"value": -100}});
    assert_eq!(old.receive().await, expected);
    // The next that anybody gets is the next push: nothing came twice, and nothing to others.
    let body = json!({"user": ["u42", "u43"], "type": "POST", "baseUrl": "http://a-service:80/x",
        "uri": "done", "body": [1.50]});
    let told = setting.push("/v1/push", &body).await;
    assert_eq!(told["matched"], 4, "{told}");
    for client in [&mut one, &mut two] {
        let push = client.receive().await;
        assert_eq!((&push["seq"], &push["event"]), (&json!(2), &json!("done")));
        assert_eq!(
            (&push["source"], &push["data"]),
            (&json!("a-service"), &json!([1.5]))
        );
    }
    for (client, user) in [(&mut old, "u42"), (&mut other, "u43")] {
        let expected = json!({"username": user, "type": "POST", "baseUrl": "http://a-service:80/x",
            "uri": "done", "body": [1.50]});
        assert_eq!(client.receive().await, expected);
    }
}

/// What nobody can make anything of does not stop what comes behind it, wherever it comes from.
#[tokio::test]
async fn once_and_whatever_came_between() {
    let beside = "drain: { delay: none }";
    let Some(setting) = Setting::with("once_and_whatever_came_between", "", beside).await else {
        return;
    };
    let (mut one, _) = setting.new_session("u42").await;
    let (mut two, _) = setting.new_session("u42").await;
    let gateway = &setting.gateway;
    let topic = Arc::<str>::from("websocket-transport");
    let data = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
    let strange = [
        Payload::Push(Box::new(PushEvent::new([], "", data("null")))),
        Payload::Push(Box::new(PushEvent::new(
            [
                PushTarget::User("".into()),
                PushTarget::Session("s_nonsense".into()),
                PushTarget::Room("\n".into()),
            ],
            "\u{0}",
            data("[[[[]]]]"),
        ))),
    ];
    for number in 0..20 {
        for payload in &strange {
            let event = BusEvent::now(Arc::clone(&topic), None, payload.clone());
            gateway.bus().publish(event).await.unwrap();
        }
        // What tells of something else, under the same name.
        let mut events = gateway.events();
        let other = setting.old("passes by").await;
        let opened = events.receive().await.unwrap();
        let Received::Event(opened) = opened else {
            panic!("{opened:?}");
        };
        let wrong = BusEvent::now(Arc::clone(&topic), None, opened.payload.clone());
        gateway.bus().publish(wrong).await.unwrap();
        drop(other);
        for body in [json!("{"), json!([{"user": "u42"}]), json!({"user": 1})] {
            assert_eq!(setting.post("/v1/push", &body).await.status(), 400);
        }
        let body = json!({"user": "u42", "event": "n", "data": number});
        assert_eq!(setting.push("/v1/push", &body).await["matched"], 2);
        for client in [&mut one, &mut two] {
            let push = client.receive().await;
            let told = (&push["seq"], &push["data"]);
            assert_eq!(told, (&json!(number + 1), &json!(number)));
        }
    }
    // Somebody who is not there is told to be that, and nothing is left of it.
    let body = json!({"user": "nobody", "event": "n"});
    assert_eq!(setting.push("/v1/push", &body).await["matched"], 0);
    let series = "tidegate_push_messages_total{source=\"api\",result=\"unmatched\"}";
    gateway.admin().counts(series, 1.0).await;
    assert_eq!(gateway.panics(), 0);
}
