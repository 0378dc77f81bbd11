//! Users may be called anything, and requests may be as large as is said: what is asked for is done, or
//! refused and done to nobody.

use serde_json::{Value, json};
use tidegate_tests::Request;

use super::Setting;

/// Every byte but letters and digits as `%XX`.
fn encoded(name: &str) -> String {
    let text = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    name.bytes().map(text).collect()
}

#[tokio::test]
async fn in_paths_and_in_bodies() {
    let Some(setting) = Setting::new("in_paths_and_in_bodies", "").await else {
        return;
    };
    let admin = setting.gateway.admin();
    for name in [
        "a/b",
        "a b",
        "ä€\u{1F600}",
        "a%2Fb",
        "..",
        "a?b#c",
        "a+b&c=d",
        "\"quoted\\\"",
    ] {
        let (mut client, _) = setting.new_session(name).await;
        let mut old = setting.old(name).await;
        let path = format!("/v1/users/{}", encoded(name));
        let target = format!("{path}/push");
        let told = setting.push(&target, &json!({"event": "a"})).await;
        assert_eq!(told["matched"], 2, "{name:?}: {told}");
        let body = json!({"user": [name, "somebody else"], "event": "b"});
        assert_eq!(setting.push("/v1/push", &body).await["matched"], 2);
        for event in ["a", "b"] {
            assert_eq!(client.receive().await["event"], event, "{name:?}");
            let push = old.receive().await;
            assert_eq!(
                (&push["username"], &push["uri"]),
                (&json!(name), &json!(event))
            );
        }
        let seen = admin.get(&path).await;
        assert_eq!(seen.status(), 200, "{name:?}: {}", seen.text());
        let seen: Value = serde_json::from_str(&seen.text()).unwrap();
        assert_eq!(
            (&seen["user"], &seen["session_count"]),
            (&json!(name), &json!(2))
        );
    }
    // Nobody is called so, and nothing comes of it.
    for name in ["a\tb\u{1}\u{7f}", "a\r\nX-Other: b", "\0"] {
        let target = format!("/v1/users/{}/push", encoded(name));
        let told = setting.push(&target, &json!({"event": "a"})).await;
        assert_eq!(told["matched"], 0, "{name:?}: {told}");
    }
    // What is no text is nobody's name.
    for path in [
        "/v1/users/%FF/push",
        "/v1/users/a%C3/push",
        "/v1/users//push",
    ] {
        let answer = setting.post(path, &json!({"event": "a"})).await;
        assert_eq!(answer.status(), 400, "{path}: {}", answer.text());
    }
    let answer = setting
        .post("/v1/users/a/b/push", &json!({"event": "a"}))
        .await;
    assert_eq!(answer.status(), 404, "{}", answer.text());
}

#[tokio::test]
async fn as_many_as_may_be() {
    let Some(setting) = Setting::new("as_many_as_may_be", "").await else {
        return;
    };
    let (mut first, _) = setting.new_session("u0").await;
    let (mut last, _) = setting.new_session("u9999").await;
    let names = |count: usize| (0..count).map(|n| format!("u{n}")).collect::<Vec<_>>();
    let body = json!({"user": names(10_000), "event": "a"});
    let told = setting.push("/v1/push?wait=ack&timeout=1ms", &body).await;
    assert_eq!((&told["matched"], &told["acked"]), (&json!(2), &json!(0)));
    let body = json!({"user": names(10_001), "event": "b"});
    assert_eq!(setting.post("/v1/push", &body).await.status(), 400);
    let one = json!({"user": "u0", "event": "c"});
    let batch = |count: usize| json!(vec![&one; count]);
    assert_eq!(setting.post("/v1/push", &batch(1_001)).await.status(), 400);
    let told = setting.push("/v1/push", &batch(1_000)).await;
    let told = told.as_array().unwrap();
    assert!(told.iter().all(|one| one["matched"] == 1), "{told:?}");
    // One of a batch that is too large is nobody's, like the rest.
    let large = json!({"user": "u0", "event": "d", "data": "x".repeat(1 << 20)});
    let answer = setting.post("/v1/push", &json!([one, large])).await;
    assert_eq!(answer.status(), 413, "{}", answer.text());
    assert_eq!(first.receive().await["event"], "a");
    assert_eq!(last.receive().await["event"], "a");
    for seq in 2..=1_001 {
        let push = first.receive().await;
        assert_eq!((&push["seq"], &push["event"]), (&json!(seq), &json!("c")));
    }
    setting
        .push("/v1/push", &json!({"all": true, "event": "e"}))
        .await;
    for client in [&mut first, &mut last] {
        assert_eq!(client.receive().await["event"], "e");
    }
}

/// The key of a batch is that of the whole request, and is as good as used where a client goes away.
#[tokio::test]
async fn a_batch_is_asked_for_once() {
    let Some(setting) = Setting::new("a_batch_is_asked_for_once", "").await else {
        return;
    };
    let (mut client, _) = setting.new_session("u1").await;
    let batch = json!([{"user": "u1", "event": "a"}, {"user": "u1", "event": "b"}]);
    let admin = setting.gateway.admin();
    let request = Request::new("POST", "/v1/push?wait=ack&timeout=25s")
        .set("Host", &admin.0.to_string())
        .with("Idempotency-Key", "k")
        .body(batch.to_string());
    // The publisher goes before it has heard anything.
    let mut publisher = tidegate_tests::Wire::connect(admin.0).await;
    publisher.request(&request).await;
    for event in ["a", "b"] {
        assert_eq!(client.receive().await["event"], event);
    }
    drop(publisher);
    client.send(&json!({"op": "ack", "seq": 2})).await;
    let again = loop {
        let again = admin.ask(&request).await;
        // The first may not be over yet.
        if again.status() != 409 {
            break again;
        }
    };
    assert_eq!(again.status(), 202, "{}", again.text());
    assert_eq!(again.head.field("Idempotent-Replayed"), Some("true"));
    let told: Value = serde_json::from_str(&again.text()).unwrap();
    assert_eq!(told.as_array().map(Vec::len), Some(2), "{told}");
    setting
        .push("/v1/push", &json!({"user": "u1", "event": "c"}))
        .await;
    assert_eq!(client.receive().await["event"], "c");
}
