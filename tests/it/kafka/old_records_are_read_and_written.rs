//! Who wrote and read the predecessor's records goes on (rows B-030 to B-034): the other side here is
//! Python's confluent-kafka, which knows nothing of us.

use serde_json::{Value, json};
use tidegate_tests::Request;

use super::{Node, Setting};

#[tokio::test]
async fn a_push_of_a_foreign_avro_producer_reaches_a_socket() {
    let test = "a_push_of_a_foreign_avro_producer_reaches_a_socket";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut old = setting.old(&node, "bro").await;
    let (mut new, _) = setting.new_session(&node, "bro").await;
    for (told, body) in [
        (json!({"value": -100}), "{\"value\": -100}"),
        (json!("no JSON {"), "no JSON {"),
        (json!(null), "null"),
    ] {
        setting.publish("nobody", "x", "1").await;
        setting.publish("bro", "cash-out", body).await;
        let expected = json!({"username": "bro", "type": "GET", "uri": "cash-out",
            "baseUrl": "http://accounts", "body": told});
        assert_eq!(old.receive().await, expected);
        let push = new.receive().await;
        assert_eq!((&push["event"], &push["data"]), (&json!("cash-out"), &told));
        assert_eq!(push["source"], "accounts");
    }
    node.admin
        .counts(
            &format!(
                "tidegate_kafka_consumer_lag{{topic=\"{}\"}}",
                setting.topics.push
            ),
            0.0,
        )
        .await;
}

#[tokio::test]
async fn users_who_come_and_go_are_told_to_a_foreign_avro_consumer() {
    let test = "users_who_come_and_go_are_told_to_a_foreign_avro_consumer";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let mut connects = setting.party.watch(&setting.topics.connect).await;
    let mut disconnects = setting.party.watch(&setting.topics.disconnect).await;
    let mut sessions = setting.party.watch(&setting.topics.sessions).await;
    let node = setting.node("n1").await;
    let client = setting.old(&node, "bro").await;
    let record = connects.next().await;
    let expected = json!({"username": "bro", "roles": ["ROLE_A", "ROLE_B"]});
    assert_eq!(
        (&record["value"], &record["key"]),
        (&expected, &json!("bro"))
    );
    let id = record["headers"]["tidegate-id"].as_str().unwrap();
    assert!(id.starts_with("e_"), "{record}");
    drop(client);
    let record = disconnects.next().await;
    assert_eq!(record["key"], "bro");
    assert_eq!(record["value"]["username"], "bro");
    assert_eq!(record["value"]["isTimeOut"], false);
    for kind in ["session.opened", "session.closed"] {
        let told = text_of(&sessions.next().await);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&told["type"], &told["user"]),
            (&json!(kind), &json!("bro"))
        );
        assert_eq!(told["node"], "n1");
    }
}

#[tokio::test]
async fn our_pushes_are_read_by_a_foreign_avro_consumer() {
    let test = "our_pushes_are_read_by_a_foreign_avro_consumer";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let mut pushes = setting.party.watch(&setting.topics.push).await;
    let node = setting.node("n1").await;
    let body = json!({"baseUrl": "lb://s", "uri": "u", "body": {"n": 1}});
    let told = node.push("/v1/users/bro/push", &body).await;
    let record = pushes.next().await;
    let expected = json!({"username": "bro", "baseUrl": "lb://s", "uri": "u", "body": "{\"n\":1}"});
    assert_eq!(
        (&record["value"], &record["key"]),
        (&expected, &json!("bro"))
    );
    let headers = json!({"tidegate-id": told["event_id"]});
    assert_eq!(record["headers"], headers, "{record}");
    let body = json!({"event": "e", "source": "s", "data": [1], "class": "live"});
    node.push("/v1/users/bro/push", &body).await;
    let record = pushes.next().await;
    let expected = json!({"username": "bro", "baseUrl": "http://s", "uri": "e", "body": "[1]"});
    assert_eq!(record["value"], expected);
    // Whom the predecessor cannot address, is nobody there.
    let everybody = json!({"all": true, "event": "e", "data": 1});
    node.push("/v1/push", &everybody).await;
    let record = pushes.next().await;
    assert_eq!(record["value"]["username"], "", "{record}");
}

/// The text of a value that is not Avro.
fn text_of(record: &Value) -> String {
    use base64::Engine as _;
    let bytes = record["value_bytes"].as_str().unwrap();
    let bytes = base64::prelude::BASE64_STANDARD.decode(bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn a_token_has_the_hash_that_anybody_can_make_of_it() {
    let test = "a_token_has_the_hash_that_anybody_can_make_of_it";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let mut disconnects = setting.party.watch(&setting.topics.disconnect).await;
    let node = setting.node("n1").await;
    for user in ["bro", "sis", "cousin"] {
        let token = setting.token(user);
        let bearer = format!("Bearer {token}");
        let handshake = Request::handshake("/ws").with("Authorization", &bearer);
        drop(node.open(&handshake).await);
        let told = disconnects.next().await;
        let hash = setting.party.sha256(&token).await;
        assert_eq!(told["value"]["hash"], hash, "{told}");
    }
}

#[tokio::test]
async fn that_a_session_was_idle_too_long_is_told() {
    let test = "that_a_session_was_idle_too_long_is_told";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let mut disconnects = setting.party.watch(&setting.topics.disconnect).await;
    let yaml = setting.yaml("n1", "");
    let idle = yaml.replace("keep_alive: none", "idle_timeout: 1s, close_timeout: 1s");
    assert_ne!(yaml, idle);
    let node = Node::start(&setting.binary, &idle).await;
    node.is_ready().await;
    let _says_nothing = setting.old(&node, "bro").await;
    let told = disconnects.next().await;
    assert_eq!(told["value"]["isTimeOut"], true, "{told}");
    assert_eq!(told["value"]["username"], "bro", "{told}");
}

#[tokio::test]
async fn a_token_has_the_hash_that_the_predecessor_gave_it() {
    let test = "a_token_has_the_hash_that_the_predecessor_gave_it";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let mut disconnects = setting.party.watch(&setting.topics.disconnect).await;
    let node = setting.node_with("n1", "compat_hash: murmur64").await;
    let token = setting.token("bro");
    let bearer = format!("Bearer {token}");
    let handshake = Request::handshake("/ws").with("Authorization", &bearer);
    drop(node.open(&handshake).await);
    let told = disconnects.next().await;
    let hash = setting.party.murmur64(&token).await;
    assert_eq!(told["value"]["hash"], hash, "{told}");
}
