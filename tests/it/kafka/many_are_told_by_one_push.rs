//! A push to thousands of users is one push: whoever asks something else is answered meanwhile, and one that
//! is too big is refused before anybody is told.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::time::within_limit;

use super::super::bridge::Client;
use super::{Node, Setting};

/// As many as one push may name.
const MOST: usize = 10_000;
/// How long that many records may take where everything is slow.
const ALL: Duration = Duration::from_secs(120);

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("user-{number}")).collect()
}

/// Sessions of some of them, each told something before.
async fn some(setting: &Setting, node: &Node, names: &[String]) -> Vec<(String, Client)> {
    let mut some = Vec::new();
    for name in names.iter().step_by(names.len().div_ceil(4)) {
        let (mut client, _) = setting.new_session(node, name).await;
        tell(node, name, "before").await;
        assert_eq!(client.receive().await["event"], "before");
        some.push((name.clone(), client));
    }
    some
}

async fn tell(node: &Node, name: &str, event: &str) {
    let target = format!("/v1/users/{name}/push");
    node.push(&target, &json!({ "event": event })).await;
}

/// Asks whether it is alive until dropped; the longest that it has taken to say so.
async fn asks(node: &Node, longest: &mut Duration) {
    loop {
        let begun = Instant::now();
        let answer = within_limit(ALL, "it is alive", node.admin.get("/livez")).await;
        assert_eq!(answer.status(), 200);
        *longest = begun.elapsed().max(*longest);
    }
}

#[tokio::test]
async fn everything_else_is_answered_meanwhile() {
    let test = "everything_else_is_answered_meanwhile";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let names = names(MOST);
    let mut some = some(&setting, &node, &names).await;
    let push = json!({"user": names, "event": "to all of them", "data": "x".repeat(1000)});
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    let answer = tokio::select! {
        () = asks(&node, &mut longest) => unreachable!("it asks on and on"),
        answer = within_limit(ALL, "it is answered", node.post("/v1/push", &push)) => answer,
    };
    let all = begun.elapsed();
    assert_eq!(answer.status(), 202, "{}", answer.text());
    assert!(
        longest < Duration::from_secs(2).max(all / 4),
        "it said nothing for {longest:?} of {all:?}"
    );
    for (name, client) in &mut some {
        tell(&node, name, "after").await;
        let told = within_limit(ALL, "it is told", client.receive()).await;
        assert_eq!(told["event"], "to all of them", "{name}: {told}");
        assert!(told["cursor"].is_string(), "{name}: {told}");
        let told = client.receive().await;
        assert_eq!(told["event"], "after", "{name}: {told}");
    }
}

#[tokio::test]
async fn one_that_is_too_big_tells_nobody() {
    let test = "one_that_is_too_big_tells_nobody";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node_with("n1", "max_message_size: 20KB").await;
    let names = names(1_000);
    let mut some = some(&setting, &node, &names).await;
    // It is where the copies are that has no room; whom it is for; what it says.
    let long = names.iter().map(|name| format!("{name}{}", "x".repeat(20)));
    let both = [&names[0], &names[250]];
    let pushes = [
        json!({"user": names, "event": "too big"}),
        json!({"user": names.iter().cloned().chain(long).collect::<Vec<_>>(), "event": "too big"}),
        json!({"user": both, "event": "too big", "data": "x".repeat(20_000)}),
    ];
    for push in &pushes {
        let answer = node.post("/v1/push", push).await;
        assert_eq!(answer.status(), 413, "{}", answer.text());
        let problem: Value = serde_json::from_str(&answer.text()).unwrap();
        assert_eq!(problem["code"], "message_too_big", "{problem}");
    }
    node.push(
        "/v1/push",
        &json!({"user": names[..500], "event": "not too big"}),
    )
    .await;
    for (number, (name, client)) in some.iter_mut().enumerate() {
        if number < 2 {
            assert_eq!(client.receive().await["event"], "not too big", "{name}");
        }
        tell(&node, name, "after").await;
        assert_eq!(client.receive().await["event"], "after", "{name}");
    }
}
