//! Without a registry: JSON as the admin API takes it, or CloudEvents around that.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use super::{Node, Setting};

impl Setting {
    async fn node_of_format(&self, format: &str) -> Node {
        let brokers = &self.brokers;
        let kafka = format!("{{ brokers: ['{brokers}'], format: {format} }}");
        let node = Node::start(&self.binary, &self.yaml_of("n1", &kafka)).await;
        node.is_ready().await;
        node
    }

    async fn publish_text(&self, value: &Value) {
        let value = BASE64_STANDARD.encode(value.to_string());
        let request = json!({"topic": self.topics.push, "value": value});
        self.party.publish_bytes(request).await;
    }
}

fn value_of(record: &Value) -> Value {
    let bytes = record["value_bytes"].as_str().unwrap();
    serde_json::from_slice(&BASE64_STANDARD.decode(bytes).unwrap()).unwrap()
}

#[tokio::test]
async fn json_is_what_the_admin_api_takes() {
    let test = "json_is_what_the_admin_api_takes";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node_of_format("json").await;
    let mut pushes = setting.party.watch(&setting.topics.push).await;
    let mut connects = setting.party.watch(&setting.topics.connect).await;
    let mut client = setting.old(&node, "bro").await;
    let told = value_of(&connects.next().await);
    assert_eq!(
        (&told["type"], &told["user"]),
        (&json!("user.online"), &json!("bro"))
    );
    setting
        .publish_text(&json!({"user": "bro", "event": "theirs", "data": {"n": 1}}))
        .await;
    assert_eq!(client.receive().await["uri"], "theirs");
    pushes.next().await;
    let push = json!({"user": ["bro", "sis"], "event": "ours", "data": [1]});
    node.push("/v1/push", &push).await;
    assert_eq!(client.receive().await["uri"], "ours");
    // Two copies for those who ask later go before it.
    let records = [
        pushes.next().await,
        pushes.next().await,
        pushes.next().await,
    ];
    let whole = records
        .iter()
        .find(|record| record["headers"]["tidegate-copy"].is_null());
    let written = value_of(whole.unwrap());
    assert_eq!(written["user"], push["user"], "{written}");
    assert_eq!(
        (&written["event"], &written["data"]),
        (&push["event"], &push["data"])
    );
}

#[tokio::test]
async fn cloud_events_are_structured() {
    let test = "cloud_events_are_structured";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node_of_format("cloudevents").await;
    let mut pushes = setting.party.watch(&setting.topics.push).await;
    let mut client = setting.old(&node, "bro").await;
    let theirs = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "any",
        "data": {"user": "bro", "event": "theirs", "data": 1}});
    setting.publish_text(&theirs).await;
    assert_eq!(client.receive().await["uri"], "theirs");
    pushes.next().await;
    let told = node
        .push("/v1/users/bro/push", &json!({"event": "ours", "data": 2}))
        .await;
    assert_eq!(client.receive().await["uri"], "ours");
    let record = pushes.next().await;
    assert_eq!(
        record["headers"]["content-type"],
        "application/cloudevents+json"
    );
    let written = value_of(&record);
    assert_eq!(
        (&written["specversion"], &written["id"]),
        (&json!("1.0"), &told["event_id"])
    );
    assert_eq!(
        (&written["type"], &written["source"]),
        (&json!("io.tidegate.push"), &json!("/tidegate/n1"))
    );
    assert_eq!(written["data"]["user"], json!(["bro"]), "{written}");
}
