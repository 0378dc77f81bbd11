//! A push says whom it is for: users, sessions, rooms or everybody, one of them or a batch.

use serde_json::{Value, json};
use tidegate_tests::Request;

use super::super::bridge::Client;
use super::Setting;

#[tokio::test]
async fn to_those_and_no_others() {
    let Some(setting) = Setting::new("to_those_and_no_others", "").await else {
        return;
    };
    let (mut one, id) = setting.new_session("u42").await;
    let (mut two, _) = setting.new_session("u42").await;
    let mut nobody = Client::open(&setting.gateway, &Request::handshake("/open")).await;
    let matched = async |body: Value| {
        let told = setting.push("/v1/push", &body).await;
        assert_eq!(told["queued"], true, "{told}");
        told["matched"].as_u64().unwrap()
    };
    assert_eq!(matched(json!({"session": id, "event": "a"})).await, 1);
    assert_eq!(
        matched(json!({"session": "s_AAAAAAAAAAAAAAAA", "event": "b"})).await,
        0
    );
    assert_eq!(
        matched(json!({"user": ["u41", "u43"], "event": "b"})).await,
        0
    );
    assert_eq!(matched(json!({"room": "orders:77", "event": "b"})).await, 0);
    assert_eq!(matched(json!({"all": true, "event": "c"})).await, 3);
    // A name that stands there twice is told once.
    assert_eq!(
        matched(json!({"user": ["u42", "u42", "x"], "event": "d"})).await,
        2
    );
    for (client, events) in [(&mut one, &["a", "c", "d"][..]), (&mut two, &["c", "d"])] {
        for (place, event) in events.iter().enumerate() {
            let push = client.receive().await;
            assert_eq!(
                (&push["event"], &push["seq"]),
                (&json!(event), &json!(place + 1))
            );
        }
    }
    // Somebody without a name is told everything that is for all, without a name.
    let expected = json!({"type": "GET", "baseUrl": "", "uri": "c", "body": null});
    assert_eq!(nobody.receive().await, expected);
    drop(two);
    loop {
        if matched(json!({"user": "u42", "event": "e"})).await == 1 {
            break;
        }
    }
}

#[tokio::test]
async fn in_the_order_of_the_batch() {
    let Some(setting) = Setting::new("in_the_order_of_the_batch", "").await else {
        return;
    };
    let (mut one, _) = setting.new_session("u42").await;
    let batch: Vec<_> = (0..200)
        .map(|number| json!({"username": "u42", "event": "n", "data": number}))
        .collect();
    let told = setting.push("/v1/push", &json!(batch)).await;
    let told = told.as_array().unwrap();
    assert!(
        told.len() == 200 && told.iter().all(|one| one["matched"] == 1),
        "{told:?}"
    );
    let mut ids: Vec<_> = told
        .iter()
        .map(|one| one["event_id"].as_str().unwrap())
        .collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 200);
    for number in 0..200 {
        let push = one.receive().await;
        assert_eq!(
            (&push["data"], &push["seq"]),
            (&json!(number), &json!(number + 1))
        );
    }
}

#[tokio::test]
async fn what_is_malformed_reaches_nobody() {
    let Some(setting) = Setting::new("what_is_malformed_reaches_nobody", "").await else {
        return;
    };
    let (mut one, id) = setting.new_session("u42").await;
    for (target, body) in [
        ("/v1/push", json!({"event": "a"})),
        ("/v1/push", json!({"user": "u42"})),
        ("/v1/push", json!({"user": "u42", "event": ""})),
        ("/v1/push", json!({"user": "u42", "event": 7})),
        (
            "/v1/push",
            json!({"user": "u42", "all": true, "event": "a"}),
        ),
        ("/v1/push", json!({"user": [], "event": "a"})),
        ("/v1/push", json!({"user": [""], "event": "a"})),
        (
            "/v1/push",
            json!({"user": "u42", "username": "u42", "event": "a"}),
        ),
        ("/v1/push", json!({"user": "u42", "event": "a", "uri": "b"})),
        (
            "/v1/push",
            json!({"user": "u42", "event": "a", "data": 1, "body": 2}),
        ),
        ("/v1/push", json!({"user": "u42", "event": "a", "dta": 1})),
        (
            "/v1/push",
            json!({"user": "u42", "event": "a", "class": "best"}),
        ),
        ("/v1/push", json!({"user": "u42", "event": "x".repeat(257)})),
        (
            "/v1/push",
            json!([{"user": "u42", "event": "a"}, {"user": "u42"}]),
        ),
        ("/v1/push", json!([])),
        ("/v1/push", json!("a")),
        ("/v1/push", json!({"session": [&id, "nope"], "event": "a"})),
        ("/v1/push", json!({"room": "", "event": "a"})),
        ("/v1/push", json!({"room": "a\nb", "event": "a"})),
        ("/v1/push", json!({"room": "r".repeat(129), "event": "a"})),
        ("/v1/push?wait=yes", json!({"user": "u42", "event": "a"})),
        (
            "/v1/push?wait=ack&timeout=26s",
            json!({"user": "u42", "event": "a"}),
        ),
        ("/v1/users/u42/push", json!({"user": "u43", "event": "a"})),
        ("/v1/users/u42/push", json!({"all": true, "event": "a"})),
        ("/v1/users/u42/push", json!([{"event": "a"}])),
    ] {
        let answer = setting.post(target, &body).await;
        assert_eq!(answer.status(), 400, "{target} {body}: {}", answer.text());
        let told: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(told["code"], "bad_request", "{told}");
    }
    let long = json!({"event": "a", "data": "x".repeat(1 << 20)});
    assert_eq!(
        setting.post("/v1/users/u42/push", &long).await.status(),
        413
    );
    let long = json!({"event": "a", "data": "x".repeat(5 << 20)});
    assert_eq!(
        setting.post("/v1/users/u42/push", &long).await.status(),
        413
    );
    setting
        .push("/v1/users/u42/push", &json!({"event": "only"}))
        .await;
    let push = one.receive().await;
    assert_eq!((&push["event"], &push["seq"]), (&json!("only"), &json!(1)));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let Some(setting) = Setting::new("what_is_wrong_is_named", "").await else {
        return;
    };
    let names = "a name, or a list of names";
    for (body, member, kind) in [
        (json!({"user": 1, "event": "a"}), "user", names),
        (json!({"session": {}, "event": "a"}), "session", names),
        (json!({"room": ["a", 1], "event": "a"}), "room", names),
        (json!({"user": "u42", "event": 7}), "event", "a text"),
        (
            json!({"user": "u42", "event": "a", "key": []}),
            "key",
            "a text",
        ),
        (json!({"all": "yes", "event": "a"}), "all", "true or false"),
        (
            json!({"user": "u42", "event": "a", "class": "best"}),
            "class",
            "`live` or `resumable`",
        ),
        (json!({"session": "nope", "event": "a"}), "session", "an id"),
        (
            json!({"room": "a\u{7f}", "event": "a"}),
            "room",
            "a name of 1 to 128 bytes",
        ),
        (
            json!({"user": "u42", "event": "a", "dta": 1}),
            "dta",
            "unknown field",
        ),
    ] {
        for (body, before) in [(body.clone(), ""), (json!([body]), "push 0: ")] {
            let answer = setting.post("/v1/push", &body).await;
            let told: Value = serde_json::from_str(&answer.text()).unwrap();
            let detail = told["detail"].as_str().unwrap();
            assert!(
                answer.status() == 400
                    && detail.starts_with(before)
                    && detail.contains(&format!("`{member}`"))
                    && detail.contains(kind),
                "{body}: {told}"
            );
        }
    }
    // The longest name that a client can join.
    let body = json!({"room": "r".repeat(128), "event": "a"});
    assert_eq!(setting.post("/v1/push", &body).await.status(), 202);
}
