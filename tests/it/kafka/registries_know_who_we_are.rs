//! A registry that wants to know who asks is told, and nobody else is.

use serde_json::json;
use tidegate_tests::backing::{Kafka, Party, Registry};
use tidegate_tests::time::eventually;

use super::{Node, PartyOf, Setting};

const USER: &str = "schema-reader";
/// With a colon, which separates the two where it stands first.
const PASSWORD: &str = "s3cret:of-the-registry";

#[tokio::test]
async fn by_basic_authentication() {
    let test = "by_basic_authentication";
    let (Some(kafka), Some(registry)) = (Kafka::shared(test).await, Registry::start(test).await)
    else {
        return;
    };
    let (gate, url) = registry.gate(USER, PASSWORD);
    // Confluent's client passes the same gate.
    let login = json!({"registry": {"basic.auth.user.info": format!("{USER}:{PASSWORD}")}});
    let Some(party) = Party::with(test, &kafka.brokers(), Some(&url), &login) else {
        return;
    };
    let setting = Setting::with(test, kafka.brokers(), url.clone(), PartyOf::One(party)).await;
    let Some(setting) = setting else { return };
    let yaml = |password: &str, timeout: &str| {
        let brokers = &setting.brokers;
        let kafka = format!(
            "{{ brokers: ['{brokers}'], publish_timeout: {timeout}, \
             schema_registry: {{ url: '{url}', user: {USER}, password: '{password}' }} }}"
        );
        setting.yaml_of("n1", &kafka)
    };
    let stranger = Node::start(&setting.binary, &yaml("wr0ng-secret", "2s")).await;
    stranger.is_ready().await;
    let body = json!({"event": "e", "data": 1});
    let refused = stranger.post("/v1/users/bro/push", &body).await;
    assert_eq!(refused.status(), 503, "{}", refused.text());
    eventually("it was sent away", || gate.refused() > 0).await;
    assert_eq!(gate.admitted(), 0);
    assert!(!stranger.process.output().contains("wr0ng"));
    drop(stranger);
    let node = Node::start(&setting.binary, &yaml(PASSWORD, "60s")).await;
    node.is_ready().await;
    let mut client = setting.old(&node, "bro").await;
    // One schema is registered, and one that somebody else has registered is read.
    let mut pushes = setting.party.watch(&setting.topics.push).await;
    node.push("/v1/users/bro/push", &body).await;
    assert_eq!(client.receive().await["uri"], "e");
    assert_eq!(pushes.next().await["value"]["uri"], "e");
    setting.publish("bro", "theirs", "1").await;
    assert_eq!(client.receive().await["uri"], "theirs");
    assert!(gate.admitted() > 0);
    assert!(!node.process.output().contains("s3cret"));
}
