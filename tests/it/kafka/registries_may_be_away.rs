//! A registry of schemas that is away loses nothing: what needs it waits.

use std::time::Duration;

use serde_json::json;
use tidegate_tests::backing::{Kafka, Party, Registry};
use tidegate_tests::time::within_limit;

use super::{PartyOf, Setting};

const BACK: Duration = Duration::from_secs(60);

#[tokio::test]
async fn records_wait_for_their_schemas() {
    let test = "records_wait_for_their_schemas";
    let (Some(kafka), Some(registry)) = (Kafka::shared(test).await, Registry::start(test).await)
    else {
        return;
    };
    let Some(party) = Party::open(test, kafka, Some(&registry)) else {
        return;
    };
    let url = registry.url_of_door();
    let setting = Setting::with(test, kafka.brokers(), url, PartyOf::One(party)).await;
    let Some(setting) = setting else { return };
    registry.door().cut();
    let node = setting.node_with("n1", "publish_timeout: 1s").await;
    let mut client = setting.old(&node, "bro").await;
    for number in 0..5 {
        setting.publish("bro", "u", &number.to_string()).await;
    }
    node.says("the registry of schemas does not answer").await;
    let refused = node
        .post("/v1/users/bro/push", &json!({"event": "e"}))
        .await;
    assert_eq!(refused.status(), 503, "{}", refused.text());
    registry.door().mend();
    let mut numbers = Vec::new();
    while numbers.len() < 5 {
        let push = within_limit(BACK, "what waited", client.receive()).await;
        numbers.push(push["body"].as_i64().unwrap());
    }
    // Their keys are anybody's, so they are in any partition.
    numbers.sort_unstable();
    assert_eq!(numbers, [0, 1, 2, 3, 4]);
    let series = format!(
        "tidegate_kafka_undecodable_total{{topic=\"{}\"}}",
        setting.topics.push
    );
    assert_eq!(node.admin.metrics().await.get(&series), None);
}

#[tokio::test]
async fn schemas_are_only_looked_up_where_they_may_not_be_registered() {
    let test = "schemas_are_only_looked_up_where_they_may_not_be_registered";
    let (Some(kafka), Some(registry)) = (Kafka::shared(test).await, Registry::start(test).await)
    else {
        return;
    };
    let Some(party) = Party::open(test, kafka, Some(&registry)) else {
        return;
    };
    let setting = Setting::with(test, kafka.brokers(), registry.url(), PartyOf::One(party)).await;
    let Some(setting) = setting else { return };
    let mut pushes = setting.party.watch(&setting.topics.push).await;
    let (brokers, url) = (&setting.brokers, &setting.registry);
    let yaml = setting.yaml_of(
        "n1",
        &format!(
            "{{ brokers: ['{brokers}'], publish_timeout: 2s, \
             schema_registry: {{ url: '{url}', register: false }} }}"
        ),
    );
    let node = super::Node::start(&setting.binary, &yaml).await;
    node.is_ready().await;
    let body = json!({"event": "e", "data": 1});
    let refused = node.post("/v1/users/bro/push", &body).await;
    assert_eq!(refused.status(), 503, "{}", refused.text());
    // Somebody else registers them.
    setting.publish_keyed("bro", "bro", "theirs", "1").await;
    assert_eq!(pushes.next().await["value"]["uri"], "theirs");
    let publishing = async {
        while node.post("/v1/users/bro/push", &body).await.status() != 202 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within_limit(BACK, "it is looked up again", publishing).await;
    assert_eq!(pushes.next().await["value"]["uri"], "e");
}
