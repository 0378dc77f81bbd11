//! TLS and SASL: brokers are who they say, and we are.

use serde_json::json;
use tidegate_tests::backing::kafka::{PASSWORD, USER};
use tidegate_tests::backing::{Kafka, Registry};

use super::{Node, Setting, is_matched};

#[tokio::test]
async fn by_every_mechanism_and_over_tls() {
    let test = "by_every_mechanism_and_over_tls";
    let (Some(kafka), Some(registry)) = (Kafka::shared(test).await, Registry::shared(test).await)
    else {
        return;
    };
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let url = registry.url();
    let ca = kafka.authority();
    let tls = format!("tls: {{ ca: '{}' }}", ca.display());
    let sasl = |mechanism| {
        format!("sasl: {{ mechanism: {mechanism}, user: {USER}, password: {PASSWORD} }}")
    };
    for (brokers, keys) in [
        (kafka.tls(), tls.clone()),
        (kafka.sasl(), sasl("plain")),
        (kafka.sasl(), sasl("scram_sha_256")),
        (
            kafka.sasl_tls(),
            format!("{tls}, {}", sasl("scram_sha_512")),
        ),
        (kafka.sasl_tls(), format!("{tls}, {}", sasl("plain"))),
    ] {
        let kafka =
            format!("{{ brokers: ['{brokers}'], schema_registry: {{ url: '{url}' }}, {keys} }}");
        let node = Node::start(&setting.binary, &setting.yaml_of("n1", &kafka)).await;
        node.is_ready().await;
        let mut client = setting.old(&node, "bro").await;
        let told = node
            .push("/v1/users/bro/push", &json!({"event": "e", "data": keys}))
            .await;
        is_matched(&told, 1);
        assert_eq!(client.receive().await["body"], json!(keys));
    }
}

#[tokio::test]
async fn strangers_are_not_believed_and_no_password_is_told() {
    let test = "strangers_are_not_believed_and_no_password_is_told";
    let (Some(kafka), Some(registry)) = (Kafka::shared(test).await, Registry::shared(test).await)
    else {
        return;
    };
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let url = registry.url();
    let wrong = format!("sasl: {{ mechanism: plain, user: {USER}, password: wr0ng-secret }}");
    for (brokers, keys) in [(kafka.tls(), "tls: {}".to_owned()), (kafka.sasl(), wrong)] {
        let kafka = format!(
            "{{ brokers: ['{brokers}'], schema_registry: {{ url: '{url}' }}, publish_timeout: 1s, {keys} }}"
        );
        let node = Node::start(&setting.binary, &setting.yaml_of("n1", &kafka)).await;
        let refused = node
            .post("/v1/users/bro/push", &json!({"event": "e"}))
            .await;
        assert_eq!(refused.status(), 503, "{}", refused.text());
        assert_eq!(node.admin.get("/readyz").await.status(), 503);
        assert!(!node.process.output().contains("wr0ng"));
    }
}
