//! What is wrong with one topic costs that topic alone, and is said.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tidegate_tests::backing::kafka::{PASSWORD, USER};
use tidegate_tests::backing::{Kafka, Registry};
use tidegate_tests::time::{eventually, eventually_does};
use tidegate_tests::wire::Wire;

use super::{Node, Setting};

/// What `bus.kafka` says for who logs in.
async fn logged_in(test: &str, more: &str) -> Option<String> {
    let (kafka, registry) = (Kafka::shared(test).await?, Registry::shared(test).await?);
    let (brokers, url) = (kafka.sasl(), registry.url());
    Some(format!(
        "{{ brokers: ['{brokers}'], schema_registry: {{ url: '{url}' }}, topic_refresh: 200ms, \
         sasl: {{ mechanism: plain, user: {USER}, password: {PASSWORD} }}, {more} }}"
    ))
}

/// How the bus is.
async fn bus(node: &Node) -> Value {
    let ready = node.admin.get("/readyz?verbose").await;
    assert_eq!(ready.status(), 200, "{}", ready.text());
    let ready: Value = serde_json::from_str(&ready.text()).unwrap();
    let checks = ready["checks"].as_array().unwrap();
    let bus = checks.iter().find(|check| check["name"] == "bus");
    bus.unwrap().clone()
}

#[tokio::test]
async fn new_partitions_are_found_beside_a_topic_that_may_not_be_read() {
    let test = "new_partitions_are_found_beside_a_topic_that_may_not_be_read";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let Some(kafka) = logged_in(test, "").await else {
        return;
    };
    setting.party.reserve(&setting.topics.disconnect, &[]).await;
    let node = Node::start(&setting.binary, &setting.yaml_of("n1", &kafka)).await;
    node.is_ready().await;
    let mut client = setting.old(&node, "bro").await;
    let topic = &setting.topics.push;
    let refused = format!("\"topic\":\"{}\"", setting.topics.disconnect);
    // While somebody looks on, and when nobody does any more.
    let mut looks_on = Some(looks_on(&node).await);
    eventually("it is said which topic", || {
        let output = node.process.output();
        let mut lines = output.lines();
        lines.any(|line| line.contains("the topic cannot be read") && line.contains(&refused))
    })
    .await;
    let told = bus(&node).await;
    assert_eq!(told["status"], "degraded", "{told}");
    for count in [6, 9] {
        setting.party.grow(topic, count).await;
        for partition in 0..count {
            let value = json!({"username": "bro", "baseUrl": "", "uri": "u", "body": "1"});
            let request = json!({"topic": topic, "record": "WebSocketEvent", "value": value,
                "partition": partition});
            // Whoever publishes may not know of it yet.
            while setting
                .party
                .tries("publish", request.clone())
                .await
                .is_err()
            {}
            assert_eq!(client.receive().await["uri"], "u");
        }
        looks_on.take();
    }
    eventually_does(
        "what nobody wants any more is nobody's trouble",
        async || bus(&node).await["status"] == "ok",
    )
    .await;
    let said = node.process.output();
    assert_eq!(said.matches("the topic cannot be read").count(), 1);
}

async fn looks_on(node: &Node) -> Wire {
    let mut wire = Wire::connect(node.admin.0).await;
    wire.request(&node.admin.request("/v1/events")).await;
    assert_eq!(wire.read_head().await.status(), 200);
    wire
}

#[tokio::test]
async fn dead_letters_that_nobody_takes_hold_up_nothing() {
    let test = "dead_letters_that_nobody_takes_hold_up_nothing";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let dead = &setting.topics.dead;
    let Some(kafka) = logged_in(test, &format!("dead_letter_topic: {dead}")).await else {
        return;
    };
    setting.party.reserve(dead, &["DESCRIBE"]).await;
    let node = Node::start(&setting.binary, &setting.yaml_of("n1", &kafka)).await;
    node.is_ready().await;
    let mut client = setting.old(&node, "bro").await;
    let topic = &setting.topics.push;
    for number in 0..20 {
        let bad =
            json!({"topic": topic, "value": BASE64_STANDARD.encode("no record"), "partition": 1});
        setting.party.publish_bytes(bad).await;
        let value =
            json!({"username": "bro", "baseUrl": "", "uri": "u", "body": number.to_string()});
        let good =
            json!({"topic": topic, "record": "WebSocketEvent", "value": value, "partition": 1});
        setting.publish_record(&good).await;
        assert_eq!(client.receive().await["body"], number);
    }
    let lost = "tidegate_kafka_dead_letters_total{result=\"lost\"}";
    node.admin.counts(lost, 20.0).await;
    let told = bus(&node).await;
    assert_eq!(told["status"], "degraded", "{told}");
    assert!(told["detail"].as_str().unwrap().contains(&**dead), "{told}");
    let said = node.process.output();
    assert_eq!(
        said.matches("\"msg\":\"records are not published\"")
            .count(),
        1
    );
}

#[tokio::test]
async fn a_topic_that_was_removed_is_said_to_be() {
    let test = "a_topic_that_was_removed_is_said_to_be";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    assert_eq!(bus(&node).await["status"], "ok");
    setting.party.remove(&setting.topics.push).await;
    node.says("there is no topic of this name").await;
    let told = bus(&node).await;
    let detail = told["detail"].as_str().unwrap();
    assert_eq!(told["status"], "degraded", "{told}");
    assert!(detail.contains(&*setting.topics.push), "{told}");
    setting.party.create(&setting.topics.push, 1).await;
    eventually_does("it is well again", async || {
        bus(&node).await["status"] == "ok"
    })
    .await;
}

#[tokio::test]
async fn lag_grows_while_a_partition_is_held_up() {
    let test = "lag_grows_while_a_partition_is_held_up";
    let (Some(setting), Some(kafka)) = (Setting::shared(test).await, Kafka::shared(test).await)
    else {
        return;
    };
    // Nobody says what the schema is.
    let kafka = format!(
        "{{ brokers: ['{}'], format: json, schema_registry: {{ url: 'http://127.0.0.1:1' }}, \
         topic_refresh: 200ms }}",
        kafka.brokers()
    );
    let node = Node::start(&setting.binary, &setting.yaml_of("n1", &kafka)).await;
    node.is_ready().await;
    let topic = &setting.topics.push;
    let series = format!("tidegate_kafka_consumer_lag{{topic=\"{topic}\"}}");
    let unknown = BASE64_STANDARD.encode([0, 0, 0, 0, 77, 2]);
    let behind = BASE64_STANDARD.encode("{\"user\":\"bro\",\"event\":\"e\"}");
    let record = |value| json!({"topic": topic, "value": value, "partition": 1});
    setting.party.publish_bytes(record(&unknown)).await;
    for lag in [1.0, 11.0, 21.0] {
        node.admin.counts(&series, lag).await;
        for _ in 0..10 {
            setting.party.publish_bytes(record(&behind)).await;
        }
    }
    let told = bus(&node).await;
    assert_eq!(told["status"], "degraded", "{told}");
    assert!(
        told["detail"]
            .as_str()
            .unwrap()
            .contains("Connection refused"),
        "{told}"
    );
}

#[tokio::test]
async fn brokers_that_are_away_are_seen() {
    let test = "brokers_that_are_away_are_seen";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting.node_with("n1", "publish_timeout: 100ms").await;
    let connected = "tidegate_kafka_connected";
    node.admin.counts(connected, 1.0).await;
    // It does not answer; then it is not there.
    for away in [true, false] {
        match away {
            true => kafka.door(0).hold(),
            false => kafka.door(0).cut(),
        }
        node.admin.counts(connected, 0.0).await;
        let told = bus(&node).await;
        assert_eq!(told["status"], "degraded", "{told}");
        assert!(
            told["detail"]
                .as_str()
                .unwrap()
                .contains("no broker can be reached"),
            "{told}"
        );
        for _ in 0..3 {
            let push = json!({"event": "e"});
            assert_eq!(node.post("/v1/users/bro/push", &push).await.status(), 503);
        }
        kafka.door(0).mend();
        node.admin.counts(connected, 1.0).await;
    }
    let said = node.process.output();
    assert!(
        said.matches("\"msg\":\"records are not published\"")
            .count()
            <= 2,
        "{said}"
    );
}
