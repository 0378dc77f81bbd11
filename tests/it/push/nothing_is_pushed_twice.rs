//! A publisher that does not know whether it was heard asks again with the same key.

use serde_json::{Value, json};
use tidegate_tests::Request;
use tidegate_tests::wire::Answer;

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
        assert_eq!(again.status(), 202, "{}", again.text());
        let again: Value = serde_json::from_str(&again.text()).unwrap();
        one.send(&json!({"op": "ack", "seq": 1})).await;
        again
    };
    let (first, again) = tokio::join!(asked, meanwhile);
    let first: Value = serde_json::from_str(&first.text()).unwrap();
    assert_eq!(
        (&first["event_id"], &first["acked"]),
        (&again["event_id"], &json!(1))
    );
    setting
        .push("/v1/users/u42/push", &json!({"event": "b"}))
        .await;
    assert_eq!(one.receive().await["event"], "b");
}
