//! Who comes back on another node is told what it missed, or that it may have missed something.

use serde_json::{Value, json};

use super::super::bridge::Client;
use super::{Node, Setting};

impl Setting {
    /// Comes back with a cursor; what `welcome` says of it.
    async fn resume(&self, node: &Node, user: &str, cursor: &Value) -> (Client, Value) {
        let (mut client, _) = self.new_session(node, user).await;
        let hello = json!({"op": "hello", "v": 1, "resume": {"cursor": cursor}});
        let welcome = client.ask(&hello).await;
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        (client, welcome["resume"].clone())
    }
}

fn push(number: usize) -> Value {
    json!({"event": "e", "data": number})
}

#[tokio::test]
async fn on_a_node_that_was_there_and_on_one_that_was_not() {
    let test = "on_a_node_that_was_there_and_on_one_that_was_not";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let (one, two) = tokio::join!(setting.node("n1"), setting.node("n2"));
    let (mut client, _) = setting.new_session(&one, "bro").await;
    one.push("/v1/users/bro/push", &push(0)).await;
    let cursor = client.receive().await["cursor"].clone();
    assert!(cursor.is_string(), "{cursor}");
    drop(client);
    for number in 1..6 {
        two.push("/v1/users/bro/push", &push(number)).await;
        two.push("/v1/users/sis/push", &push(number)).await;
    }
    // To several at once is told to each of them.
    one.push(
        "/v1/push",
        &json!({"user": ["sis", "bro"], "event": "e", "data": 6}),
    )
    .await;
    let late = setting.node("n3").await;
    drop(one);
    for node in [&two, &late] {
        let (mut client, resume) = setting.resume(node, "bro", &cursor).await;
        assert_eq!(resume["recovered"], true, "{resume}");
        for number in 1..7 {
            assert_eq!(client.receive().await["data"], number);
        }
        node.push("/v1/users/bro/push", &push(7)).await;
        assert_eq!(client.receive().await["data"], 7);
        drop(client);
        // The next one is told it as well.
        let (mut client, _) = setting.resume(node, "bro", &cursor).await;
        for number in 1..8 {
            assert_eq!(client.receive().await["data"], number);
        }
        break_even(node, &setting).await;
    }
}

/// Whoever else looks on is told nothing twice.
async fn break_even(node: &Node, setting: &Setting) {
    let (mut client, _) = setting.new_session(node, "other").await;
    node.push("/v1/users/other/push", &push(1)).await;
    assert_eq!(client.receive().await["data"], 1);
}

#[tokio::test]
async fn what_is_not_there_any_more_is_told() {
    let test = "what_is_not_there_any_more_is_told";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let (mut client, _) = setting.new_session(&node, "bro").await;
    node.push("/v1/users/bro/push", &push(0)).await;
    let cursor = client.receive().await["cursor"].clone();
    drop(client);
    for number in 1..4 {
        node.push("/v1/users/bro/push", &push(number)).await;
    }
    let topic = &setting.topics.push;
    for (partition, (_, end)) in (0..).zip(setting.party.ends(topic).await) {
        if end > 0 {
            setting.party.trim(topic, partition, end).await;
        }
    }
    let late = setting.node("n2").await;
    let (_client, resume) = setting.resume(&late, "bro", &cursor).await;
    assert_eq!(resume["recovered"], false, "{resume}");
    // The topic is made anew, and its offsets begin anew.
    drop((node, late));
    setting.party.remove(topic).await;
    setting.party.create(topic, 3).await;
    let node = setting.node("n3").await;
    for number in 0..5 {
        node.push("/v1/users/bro/push", &push(number)).await;
    }
    let (_client, resume) = setting.resume(&node, "bro", &cursor).await;
    assert_eq!(resume["recovered"], false, "{resume}");
}
