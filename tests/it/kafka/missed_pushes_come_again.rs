//! Who comes back on another node is told what it missed, or that it may have missed something.

use serde_json::{Value, json};

use super::super::bridge::Client;
use super::{Node, Setting};

impl Setting {
    /// Comes back with a cursor; what `welcome` says of it.
    pub(super) async fn resume(&self, node: &Node, user: &str, cursor: &Value) -> (Client, Value) {
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
    setting.party.make_anew(topic, 3).await;
    let node = setting.node("n3").await;
    for number in 0..5 {
        node.push("/v1/users/bro/push", &push(number)).await;
    }
    let (_client, resume) = setting.resume(&node, "bro", &cursor).await;
    assert_eq!(resume["recovered"], false, "{resume}");
}

/// A push that a producer with another partitioner has left where nobody looks for it.
async fn publish_astray(setting: &Setting, user: &str) {
    let topic = &setting.topics.push;
    let home = setting.publish_keyed(user, user, "home", "1").await.0;
    let value = json!({"username": user, "baseUrl": "", "uri": "astray", "body": "1"});
    let request = json!({"topic": topic, "record": "WebSocketEvent", "key": user, "value": value,
        "partition": (home + 1) % 3});
    setting.publish_record(&request).await;
}

#[tokio::test]
async fn a_record_in_the_wrong_partition_is_missed_aloud() {
    let test = "a_record_in_the_wrong_partition_is_missed_aloud";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut cursors = Vec::new();
    for user in ["bro", "sis"] {
        let (mut client, _) = setting.new_session(&node, user).await;
        for number in 0..2 {
            node.push(&format!("/v1/users/{user}/push"), &push(number))
                .await;
            cursors.push((user, client.receive().await["cursor"].clone()));
        }
    }
    // Nobody reads it when it comes.
    drop(node);
    publish_astray(&setting, "bro").await;
    setting.publish_keyed("sis", "sis", "home", "1").await;
    let late = setting.node("n2").await;
    for (user, cursor) in &cursors {
        let (_client, resume) = setting.resume(&late, user, cursor).await;
        assert_eq!(resume["recovered"], *user == "sis", "{user}: {resume}");
    }
    // Of this cursor it is not known on which side of the record it was given, and the clocks of who
    // writes may differ.
    let (mut client, _) = setting.new_session(&late, "bro").await;
    late.push("/v1/users/bro/push", &push(1)).await;
    let cursor = client.receive().await["cursor"].clone();
    let later = setting.node("n3").await;
    let (_client, resume) = setting.resume(&later, "bro", &cursor).await;
    assert_eq!(resume["recovered"], false, "{resume}");
}
