//! Kafka and the registry of schemas, between parties that we did not write.

use serde_json::{Value, json};
use tidegate_tests::backing::kafka::{PASSWORD, USER, topic};
use tidegate_tests::backing::{Kafka, Party, Registry};
use tidegate_tests::time::GRACE;

fn records() -> [(&'static str, Value); 3] {
    [
        (
            "WebSocketEvent",
            json!({ "username": "ann", "baseUrl": "orders", "uri": "/orders/1", "body": "{\"n\":1}" }),
        ),
        (
            "UserConnectEvent",
            json!({ "username": "ann", "roles": ["user", "admin"] }),
        ),
        (
            "UserDisconnectEvent",
            json!({ "username": "ann", "hash": -9_000_000_000_i64, "isTimeOut": true }),
        ),
    ]
}

#[tokio::test]
async fn avro_records_pass_from_one_party_to_another() {
    const TEST: &str = "avro_records_pass_from_one_party_to_another";
    let Some(writer) = Party::shared(TEST).await else {
        return;
    };
    let kafka = Kafka::shared(TEST).await.unwrap();
    let registry = Registry::shared(TEST).await.unwrap();
    let reader = Party::open(TEST, kafka, Some(registry)).unwrap();
    let topic = topic("events");
    writer.create(&topic, 1).await;
    let mut watch = reader.watch(&topic).await;
    for (offset, (name, value)) in (0..).zip(records()) {
        let place = writer.publish(&topic, name, "ann", &value).await;
        assert_eq!(place, (0, offset));
        let read = watch.next().await;
        assert_eq!((&read["key"], &read["value"]), (&json!("ann"), &value));
        assert_eq!(read["offset"], offset);
    }
    let request = json!({ "topic": topic, "value": "AAA=", "headers": { "id": "e-1" } });
    writer.publish_bytes(request).await;
    let read = watch.next().await;
    assert!(read["error"].is_string(), "{read}");
    assert_eq!(read["headers"], json!({ "id": "e-1" }));
    assert_eq!(writer.ends(&topic).await, [(0, 4)]);
    writer.trim(&topic, 0, 2).await;
    writer.grow(&topic, 2).await;
    assert_eq!(writer.ends(&topic).await, [(2, 4), (0, 0)]);
    writer.remove(&topic).await;
}

/// A key by its topic, a value by its record.
#[tokio::test]
async fn schemas_are_where_confluents_are() {
    const TEST: &str = "schemas_are_where_confluents_are";
    let Some(party) = Party::shared(TEST).await else {
        return;
    };
    let registry = Registry::shared(TEST).await.unwrap();
    let topic = topic("subjects");
    party.create(&topic, 1).await;
    for (name, value) in records() {
        party.publish(&topic, name, "ann", &value).await;
    }
    let subjects = registry.get("/subjects").await;
    let mut wanted = vec![format!("{topic}-key")];
    wanted.extend(
        records().map(|(name, _)| format!("io.github.sevenparadigms.gateway.kafka.model.{name}")),
    );
    for subject in wanted {
        assert!(
            subjects.as_array().unwrap().contains(&json!(subject)),
            "{subject} is none of {subjects}"
        );
        let latest = registry
            .get(&format!("/subjects/{subject}/versions/latest"))
            .await;
        let by_id = registry
            .get(&format!("/schemas/ids/{}", latest["id"]))
            .await;
        assert_eq!(by_id["schema"], latest["schema"]);
    }
}

#[tokio::test]
async fn who_may_log_in_does_so_in_the_clear_and_over_tls() {
    const TEST: &str = "who_may_log_in_does_so_in_the_clear_and_over_tls";
    let Some(party) = Party::shared(TEST).await else {
        return;
    };
    let kafka = Kafka::shared(TEST).await.unwrap();
    let topic = topic("login");
    party.create(&topic, 1).await;
    let login = |password: &str, protocol: &str, mechanism: &str| {
        json!({
            "security.protocol": protocol, "sasl.mechanism": mechanism, "sasl.username": USER,
            "sasl.password": password, "ssl.ca.location": kafka.authority(),
        })
    };
    let ways = [
        (kafka.sasl(), login(PASSWORD, "SASL_PLAINTEXT", "PLAIN")),
        (
            kafka.sasl(),
            login(PASSWORD, "SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ),
        (kafka.tls(), login("", "SSL", "PLAIN")),
        (
            kafka.sasl_tls(),
            login(PASSWORD, "SASL_SSL", "SCRAM-SHA-512"),
        ),
    ];
    for (brokers, settings) in ways {
        let guest = Party::with(TEST, &brokers, None, &settings).unwrap();
        let request = json!({ "topic": topic, "value": "AAA=" });
        guest.publish_bytes(request).await;
    }
    assert_eq!(party.ends(&topic).await, [(0, 4)]);
    let mut wrong = login("wrong", "SASL_PLAINTEXT", "SCRAM-SHA-256");
    wrong["producer"] = json!({ "message.timeout.ms": 1_000 });
    let stranger = Party::with(TEST, &kafka.sasl(), None, &wrong).unwrap();
    let request = json!({ "topic": topic, "value": "AAA=" });
    let answer = stranger.tries("publish_bytes", request).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!(party.ends(&topic).await, [(0, 4)]);
}

/// Stopped, killed and paused, it goes on with what it had; who comes through a door is cut off with it.
#[tokio::test]
async fn a_broker_survives_what_is_done_to_it() {
    const TEST: &str = "a_broker_survives_what_is_done_to_it";
    let Some(kafka) = Kafka::start(TEST, 1).await else {
        return;
    };
    let door = kafka.door(0);
    let brokers = door.address().to_string();
    let party = Party::with(TEST, &brokers, None, &json!({ "socket.timeout.ms": 2_000 })).unwrap();
    party.create("t", 1).await;
    let mut watch = party.watch("t").await;
    let publish = async |name: &str| {
        let request = json!({ "topic": "t", "value": "AAA=", "headers": { "name": name } });
        party.publish_bytes(request).await.1
    };
    assert_eq!(publish("first").await, 0);
    kafka.daemon().kill().await;
    kafka.start_again().await;
    assert_eq!(publish("after a kill").await, 1);
    let broker = kafka.daemon();
    let harms: [(&str, &dyn Fn(), &dyn Fn()); 3] = [
        ("after a cut", &|| door.cut(), &|| door.mend()),
        ("after a hold", &|| door.hold(), &|| door.mend()),
        ("after a pause", &|| broker.pause(), &|| broker.resume()),
    ];
    for (name, harm, good) in harms {
        harm();
        let mut publishing = std::pin::pin!(publish(name));
        let early = tokio::time::timeout(GRACE, &mut publishing).await;
        assert!(early.is_err(), "{name}: {early:?}");
        good();
        publishing.await;
    }
    for name in [
        "first",
        "after a kill",
        "after a cut",
        "after a hold",
        "after a pause",
    ] {
        assert_eq!(watch.next().await["headers"]["name"], name);
    }
    assert!(door.open() > 0);
}
