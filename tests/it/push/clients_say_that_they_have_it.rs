//! A publisher can wait until clients say that they have a push.

use serde_json::json;
use tidegate_tests::Request;
use tokio::task::JoinSet;

use super::Setting;

#[tokio::test]
async fn until_all_have_said_so() {
    let Some(setting) = Setting::new("until_all_have_said_so", "").await else {
        return;
    };
    let (mut one, _) = setting.new_session("u42").await;
    let (mut two, _) = setting.new_session("u42").await;
    let mut old = setting.old("u42").await;
    setting
        .push("/v1/users/u42/push", &json!({"event": "before"}))
        .await;
    let body = json!({"event": "a"});
    let asked = setting.push("/v1/users/u42/push?wait=ack&timeout=25s", &body);
    let acking = async {
        for client in [&mut one, &mut two] {
            assert_eq!(client.receive().await["event"], "before");
            let push = client.receive().await;
            assert_eq!((&push["ack"], &push["seq"]), (&json!(true), &json!(2)));
            // It says so of all up to there.
            client.send(&json!({"op": "ack", "seq": 2})).await;
        }
    };
    // Old clients cannot say so, and are not waited for.
    let (told, ()) = tokio::join!(asked, acking);
    assert_eq!((&told["matched"], &told["acked"]), (&json!(3), &json!(2)));
    assert_eq!(old.receive().await["uri"], "before");
    assert_eq!(old.receive().await["uri"], "a");
}

#[tokio::test]
async fn or_are_gone_or_say_nothing() {
    let Some(setting) = Setting::new("or_are_gone_or_say_nothing", "").await else {
        return;
    };
    let (mut leaves, _) = setting.new_session("u42").await;
    let body = json!({"event": "a", "class": "live"});
    let asked = setting.push("/v1/users/u42/push?wait=ack&timeout=25s", &body);
    let leaving = async {
        leaves.receive().await;
        drop(leaves);
    };
    let (told, ()) = tokio::join!(asked, leaving);
    assert_eq!((&told["matched"], &told["acked"]), (&json!(1), &json!(0)));
    let (mut silent, _) = setting.new_session("u43").await;
    let told = setting
        .push("/v1/users/u43/push?wait=ack&timeout=50ms", &body)
        .await;
    assert_eq!((&told["matched"], &told["acked"]), (&json!(1), &json!(0)));
    silent.receive().await;
    // A word about what was never sent changes nothing, and nonsense is told to be that.
    silent.send(&json!({"op": "ack", "seq": 77})).await;
    let told = silent.ask(&json!({"op": "ack", "seq": "one"})).await;
    assert_eq!(told["error"]["code"], "malformed_frame", "{told}");
    let body = json!({"event": "b"});
    let asked = setting.push("/v1/users/u43/push?wait=ack&timeout=25s", &body);
    let acking = async {
        assert_eq!(silent.receive().await["seq"], 2);
        silent.send(&json!({"op": "ack", "seq": 2})).await;
    };
    let (told, ()) = tokio::join!(asked, acking);
    assert_eq!(told["acked"], 1, "{told}");
}

/// More publishers than the listener has other callers wait at one time, and each is answered.
#[tokio::test]
async fn however_many_wait_for_that() {
    const PUBLISHERS: u64 = 100;
    let Some(setting) = Setting::new("however_many_wait_for_that", "").await else {
        return;
    };
    let (mut one, _) = setting.new_session("u42").await;
    let admin = setting.gateway.admin();
    let mut publishers = JoinSet::new();
    for _ in 0..PUBLISHERS {
        let request = Request::new("POST", "/v1/users/u42/push?wait=ack&timeout=25s");
        let request = request.set("Host", &admin.0.to_string());
        let request = request.body(json!({"event": "a"}).to_string());
        publishers.spawn(async move { admin.ask(&request).await });
    }
    for seq in 1..=PUBLISHERS {
        assert_eq!(one.receive().await["seq"], seq);
    }
    // They are in nobody's way.
    assert_eq!(admin.get("/readyz").await.status(), 200);
    one.send(&json!({"op": "ack", "seq": PUBLISHERS})).await;
    while let Some(answer) = publishers.join_next().await {
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 202, "{}", answer.text());
    }
}
