//! Without Redis pushes go on, and without Kafka orders do.

use serde_json::{Value, json};
use tidegate_tests::backing::Kafka;
use tidegate_tests::eventually_does;
use tidegate_tests::wire::Wire;

use super::{Setting, closed, handshake, told_until};

#[tokio::test]
async fn pushes_go_on_without_redis() {
    let test = "pushes_go_on_without_redis";
    let Some(setting) = Setting::new(test, 1).await else {
        return;
    };
    let [a, b] = setting.two().await;
    let (mut here, _) = setting.session(&a, "bro").await;
    let (mut there, _) = setting.session(&b, "bro").await;
    let redis = setting.redis.node();
    redis.daemon().kill().await;
    for node in [&a, &b] {
        node.is("degraded").await;
    }
    let told = a.push(&json!({"user": "bro", "event": "one"})).await;
    assert_eq!(
        told["matched"], 1,
        "those of the other are not known: {told}"
    );
    b.push(&json!({"user": "bro", "event": "two"})).await;
    setting.record("bro", "three", None).await;
    // Sessions come meanwhile, and nobody can be asked who is online on all nodes.
    let (mut comes, _) = setting.session(&b, "sis").await;
    let refused = a.ask("GET", "/v1/users?scope=cluster", &Value::Null).await;
    refused.expect_problem(503);
    redis.start_again().await;
    for node in [&a, &b] {
        node.is("ok").await;
        node.sees(2).await;
        node.counts(2).await;
    }
    b.push(&json!({"all": true, "event": "last"})).await;
    for client in [&mut here, &mut there] {
        let told = told_until(client, "last").await;
        assert_eq!(told, ["one", "two", "three", "last"]);
    }
    assert_eq!(told_until(&mut comes, "last").await, ["last"]);
    let told = a
        .done("DELETE", "/v1/users/bro/sessions", &Value::Null)
        .await;
    assert_eq!(told["sessions"], 2, "{told}");
    assert_eq!(closed(&mut there).await, Some(4440));
}

#[tokio::test]
async fn orders_go_on_without_kafka() {
    let test = "orders_go_on_without_kafka";
    let Some(kafka) = Kafka::start(test, 0).await else {
        return;
    };
    let Some(mut setting) = Setting::at(test, &kafka).await else {
        return;
    };
    setting.publish = "2s";
    let [a, b] = setting.two().await;
    let (mut kicked, _) = setting.session(&b, "kicked").await;
    let token = setting.token("revoked");
    let (mut revoked, _) = setting.session_by(&b, &token).await;
    let (mut stays, _) = setting.session(&b, "stays").await;
    kafka.daemon().kill().await;
    let push = json!({"user": "stays", "event": "lost"});
    a.ask("POST", "/v1/push", &push).await.expect_problem(503);
    let told = a
        .done(
            "DELETE",
            "/v1/users/kicked/sessions",
            &json!({"code": 4001}),
        )
        .await;
    assert_eq!(told["sessions"], 1, "{told}");
    assert_eq!(closed(&mut kicked).await, Some(4001));
    a.done("POST", "/v1/tokens/revoke", &json!({"token": token}))
        .await;
    assert_eq!(closed(&mut revoked).await, Some(4440));
    let handshake = handshake(&token);
    eventually_does("it opens nothing anywhere", async || {
        let mut wire = Wire::connect(b.address).await;
        wire.request(&handshake).await;
        wire.read_head().await.status() == 401
    })
    .await;
    // Who is online is known all the while, and new ones are let in.
    let (_comes, _) = setting.session(&a, "comes").await;
    for node in [&a, &b] {
        node.counts(2).await;
    }
    kafka.start_again().await;
    let push = json!({"user": "stays", "event": "told"});
    eventually_does("pushes are taken again", async || {
        let answer = a.ask_by("POST", "/v1/push", Some("k"), &push).await;
        assert!(
            [202, 409, 503].contains(&answer.status()),
            "{}",
            answer.text()
        );
        answer.status() == 202
    })
    .await;
    b.push(&json!({"user": "stays", "event": "last"})).await;
    let mut told = told_until(&mut stays, "last").await;
    // Nobody knows whether the brokers had it: that is what 503 says.
    told.retain(|event| event != "lost");
    assert_eq!(told, ["told", "last"]);
}
