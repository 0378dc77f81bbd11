//! A push reaches its user on whatever node that is, and each session once.

use std::time::Duration;

use serde_json::json;
use tidegate_tests::time::{GRACE, within_limit};

use super::super::bridge::Client;
use super::{Setting, is_matched};

#[tokio::test]
async fn each_session_is_told_once_on_whatever_node_it_is() {
    let test = "each_session_is_told_once_on_whatever_node_it_is";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let (one, two) = tokio::join!(setting.node("n1"), setting.node("n2"));
    let mut here = setting.old(&one, "bro").await;
    let mut there = setting.old(&two, "bro").await;
    for number in 0..20 {
        let body = number.to_string();
        setting.publish("bro", "k", &body).await;
        // There is no order between what is in different partitions.
        is_told(&mut [&mut here, &mut there], "k", number).await;
        let posted = json!({"event": "p", "data": number});
        let node = if number % 2 == 0 { &one } else { &two };
        let told = node.push("/v1/users/bro/push", &posted).await;
        is_matched(&told, 1);
        is_told(&mut [&mut here, &mut there], "p", number).await;
    }
    for client in [&mut here, &mut there] {
        let more = tokio::time::timeout(GRACE, client.receive()).await;
        assert!(more.is_err(), "{more:?}");
    }
}

async fn is_told(clients: &mut [&mut Client], uri: &str, number: usize) {
    for client in clients {
        let push = client.receive().await;
        assert_eq!((&push["uri"], &push["body"]), (&json!(uri), &json!(number)));
    }
}

#[tokio::test]
async fn whom_a_push_is_for_and_what_it_is_goes_with_it() {
    let test = "whom_a_push_is_for_and_what_it_is_goes_with_it";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let (one, two) = tokio::join!(setting.node("n1"), setting.node("n2"));
    let (mut new, welcome) = setting.new_session(&two, "bro").await;
    let session = &welcome["session"];
    let pushes = [
        json!({"user": ["bro", "sis"], "event": "many", "data": {"n": 1.50}, "ack": true}),
        json!({"session": session, "event": "session", "source": "s", "data": "\u{e9}\"", "key": "k"}),
        json!({"all": true, "event": "all", "class": "live"}),
        json!({"user": "bro", "baseUrl": "lb://a/b", "uri": "x?y", "type": "PUT", "body": []}),
    ];
    for push in pushes {
        let told = one.push("/v1/push", &push).await;
        let heard = new.receive().await;
        let name = push["event"].as_str().unwrap_or("x?y");
        assert_eq!(heard["event"], name, "{heard}");
        let data = push.get("data").or(push.get("body"));
        assert_eq!(Some(&heard["data"]), data.or(Some(&json!(null))), "{heard}");
        assert_eq!(heard["ack"].as_bool(), push["ack"].as_bool(), "{heard}");
        // Nobody is on the node that was asked.
        is_matched(&told, 0);
    }
}

#[tokio::test]
async fn partitions_that_are_added_are_read_from_their_beginning() {
    let test = "partitions_that_are_added_are_read_from_their_beginning";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    let topic = &setting.topics.push;
    setting.party.grow(topic, 6).await;
    let value = json!({"username": "bro", "baseUrl": "", "uri": "u", "body": "1"});
    for partition in 0..6 {
        let request = json!({"topic": topic, "record": "WebSocketEvent", "key": "k", "value": value,
            "partition": partition});
        // Whoever publishes may not know of it yet.
        while setting
            .party
            .tries("publish", request.clone())
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for _ in 0..6 {
        assert_eq!(client.receive().await["uri"], "u");
    }
}

#[tokio::test]
async fn a_topic_that_is_made_later_is_read_from_its_beginning() {
    let test = "a_topic_that_is_made_later_is_read_from_its_beginning";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    setting.party.remove(&setting.topics.push).await;
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    setting.party.create(&setting.topics.push, 2).await;
    setting.publish("bro", "first", "1").await;
    // All that has to be found out takes a while on a busy machine.
    let told = within_limit(Duration::from_secs(60), "it is read", client.receive()).await;
    assert_eq!(told["uri"], "first");
}

#[tokio::test]
async fn what_was_published_before_a_node_started_is_not_told() {
    let test = "what_was_published_before_a_node_started_is_not_told";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    for _ in 0..10 {
        setting.publish("bro", "before", "1").await;
    }
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    setting.publish("bro", "after", "1").await;
    assert_eq!(client.receive().await["uri"], "after");
}

#[tokio::test]
async fn a_topic_that_is_made_anew_is_read_on() {
    let test = "a_topic_that_is_made_anew_is_read_on";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    for _ in 0..3 {
        setting.publish("bro", "before", "1").await;
        assert_eq!(client.receive().await["uri"], "before");
    }
    setting.party.make_anew(&setting.topics.push, 3).await;
    // Whoever publishes may know the old one still.
    let told = async {
        loop {
            setting.publish("bro", "after", "1").await;
            let told = tokio::time::timeout(Duration::from_secs(1), client.receive()).await;
            if let Ok(told) = told {
                return told;
            }
        }
    };
    let told = within_limit(Duration::from_secs(60), "the new one is read", told).await;
    assert_eq!(told["uri"], "after");
}
