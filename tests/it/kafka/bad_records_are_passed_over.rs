//! A record that is no event stops nothing: it is counted, told, and left where somebody may look at it.

use std::collections::{HashMap, HashSet};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::Setting;

#[tokio::test]
async fn what_follows_a_bad_record_comes_all_the_same() {
    let test = "what_follows_a_bad_record_comes_all_the_same";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut dead = setting.party.watch(&setting.topics.dead).await;
    let mut client = setting.old(&node, "bro").await;
    let topic = &setting.topics.push;
    let bad: [&[u8]; 7] = [
        b"",
        b"no record",
        b"{\"user\":\"bro\"}",
        &[0, 0, 0],
        // A schema that nobody knows.
        &[0, 0x7f, 0xff, 0xff, 0xff, 2, b'a'],
        // The key's schema, which is no record's.
        &[0, 0, 0, 0, 1, 2, b'a'],
        &[
            0, 0, 0, 0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
        ],
    ];
    setting.publish("bro", "u", "0").await;
    assert_eq!(client.receive().await["body"], 0);
    for (number, value) in bad.iter().enumerate() {
        let encoded = BASE64_STANDARD.encode(value);
        let request = json!({"topic": topic, "key": BASE64_STANDARD.encode("k"), "value": encoded,
            "headers": {"mine": "1"}, "partition": 1});
        let (partition, offset) = setting.party.publish_bytes(request).await;
        let value =
            json!({"username": "bro", "baseUrl": "", "uri": "u", "body": number.to_string()});
        let request =
            json!({"topic": topic, "record": "WebSocketEvent", "value": value, "partition": 1});
        setting.publish_record(&request).await;
        assert_eq!(client.receive().await["body"], number);
        let record = dead.next().await;
        assert_eq!(record["value_bytes"], encoded, "{record}");
        let headers = &record["headers"];
        let origin = format!("{topic}/{partition}/{offset}");
        assert_eq!(headers["tidegate-origin"], origin, "{record}");
        assert_eq!(headers["mine"], "1");
        assert_ne!(headers["tidegate-error"], "", "{record}");
        node.says(&format!("\"partition\":{partition},\"offset\":{offset}"))
            .await;
    }
    let series = format!("tidegate_kafka_undecodable_total{{topic=\"{topic}\"}}");
    node.admin.counts(&series, 7.0).await;
}

/// All who read a record that is none leave a letter, lest there be none where one of them ends.
#[tokio::test]
async fn letters_of_one_record_have_one_name() {
    let test = "letters_of_one_record_have_one_name";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let (_one, _two) = tokio::join!(setting.node("n1"), setting.node("n2"));
    let mut dead = setting.party.watch(&setting.topics.dead).await;
    let topic = &setting.topics.push;
    let mut names = HashMap::<String, HashSet<String>>::new();
    for number in 0..3 {
        // What it says of itself is kept, wherever it is right.
        let bad = json!({"topic": topic, "value": BASE64_STANDARD.encode("no record"),
            "headers": {"tidegate-id": format!("mine {number}")}, "partition": 1});
        setting.party.publish_bytes(bad).await;
        for _ in 0..2 {
            let letter = dead.next().await;
            let header = |name: &str| letter["headers"][name].as_str().unwrap().to_owned();
            assert_eq!(header("tidegate-origin-id"), format!("mine {number}"));
            let its = names.entry(header("tidegate-origin")).or_default();
            its.insert(header("tidegate-id"));
        }
    }
    assert_eq!(names.len(), 3, "{names:?}");
    let all: HashSet<&String> = names.values().flatten().collect();
    assert_eq!(all.len(), 3, "{names:?}");
}
