//! Brokers that are away hold up no socket; nobody is told that something is published which is not; and when
//! they are back, reading goes on where it was.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::backing::{FETCH, Kafka, LIST_OFFSETS, METADATA};
use tidegate_tests::time::{eventually_within, within_limit};

use super::{Node, Setting, is_matched};

/// How long a broker that has started again may take until it is used again.
const BACK: Duration = Duration::from_secs(60);
/// Longer than a broker may be silent (`broker.session.timeout.ms`).
const BROKER_LEASE: Duration = Duration::from_secs(10);

/// Longer than what brokers have may fail to arrive: 15 seconds, and two questions.
const STUCK_AFTER: Duration = Duration::from_secs(21);

#[tokio::test]
async fn no_push_is_missing_after_a_broker_was_stopped() {
    let test = "no_push_is_missing_after_a_broker_was_stopped";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting.node_with("n1", "publish_timeout: 1s").await;
    let mut client = setting.old(&node, "bro").await;
    for number in 0..3 {
        setting.publish("bro", "u", &number.to_string()).await;
        assert_eq!(client.receive().await["body"], number);
    }
    kafka.daemon().stop().await;
    let begun = Instant::now();
    let refused = node
        .post("/v1/users/bro/push", &json!({"event": "e"}))
        .await;
    assert_eq!(refused.status(), 503, "{}", refused.text());
    assert!(refused.head.field("Retry-After").is_some());
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    // Sockets go on: they open, and what they are asked is answered.
    let (mut other, _) = setting.new_session(&node, "sis").await;
    other.send(&json!({"op": "ping", "id": 1})).await;
    assert_eq!(other.receive().await["op"], "pong");
    assert_eq!(node.admin.get("/readyz").await.status(), 200);
    kafka.start_again().await;
    for number in 3..6 {
        let body = number.to_string();
        setting.publish_keyed("bro", "bro", "ordered", &body).await;
        // Those of other keys are wherever they are, and have no order.
        setting.publish("bro", "u", &body).await;
    }
    let (mut ordered, mut others) = (Vec::new(), Vec::new());
    for _ in 0..6 {
        let push = within_limit(BACK, "what was published meanwhile", client.receive()).await;
        let body = push["body"].as_u64().unwrap();
        match push["uri"] == "ordered" {
            true => ordered.push(body),
            false => others.push(body),
        }
    }
    assert_eq!(ordered, [3, 4, 5]);
    others.sort_unstable();
    assert_eq!(others, [3, 4, 5]);
    let told = until_published(&node).await;
    is_matched(&told, 1);
    assert_eq!(client.receive().await["uri"], "again");
}

/// Publishes until the brokers take it.
async fn until_published(node: &Node) -> Value {
    let publishing = async {
        loop {
            let answer = node
                .post("/v1/users/bro/push", &json!({"event": "again"}))
                .await;
            if answer.status() == 202 {
                return serde_json::from_str(&answer.text()).unwrap();
            }
            assert_eq!(answer.status(), 503, "{}", answer.text());
        }
    };
    within_limit(BACK, "a push is taken again", publishing).await
}

/// Stopped for longer than its lease, it takes the leader of each partition away from itself, and gives them back.
#[tokio::test]
async fn partitions_without_a_leader_are_read_and_written_again() {
    let test = "partitions_without_a_leader_are_read";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting.node_with("n1", "publish_timeout: 1s").await;
    let mut client = setting.old(&node, "bro").await;
    for number in 0..3 {
        kafka.daemon().pause();
        tokio::time::sleep(BROKER_LEASE).await;
        kafka.daemon().resume();
        until_published(&node).await;
        setting.publish("bro", "u", &number.to_string()).await;
        let last = async { while client.receive().await["body"] != number {} };
        within_limit(BACK, "what is published afterwards", last).await;
    }
}

/// A client of Kafka may leave a partition unread and say nothing; here, because what it asks for never comes to
/// the broker, which answers everything else.
#[tokio::test]
async fn records_that_do_not_arrive_are_read_by_a_new_client() {
    let test = "records_that_do_not_arrive_are_read_by_a_new_client";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    setting.publish("bro", "u", "0").await;
    assert_eq!(client.receive().await["body"], 0);
    kafka.door(0).lose_of_open(&[FETCH]);
    // What had been asked for is still answered.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bodies = 1..=3;
    for number in bodies.clone() {
        setting
            .publish_keyed("bro", "bro", "u", &number.to_string())
            .await;
    }
    let lag = format!(
        "tidegate_kafka_consumer_lag{{topic=\"{}\"}}",
        setting.topics.push
    );
    node.admin.counts(&lag, 3.0).await;
    // The client itself asks again after a minute (`socket.timeout.ms`).
    let limit = Duration::from_secs(45);
    let is_said = || node.process.output().contains("records do not arrive");
    eventually_within(limit, "it is noticed", is_said).await;
    for number in bodies {
        assert_eq!(client.receive().await["body"], number);
    }
    assert!(node.process.output().contains("a new client reads on"));
}

#[tokio::test]
async fn a_client_without_any_answer_is_replaced() {
    let test = "a_client_without_any_answer_is_replaced";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    until_published(&node).await;
    assert_eq!(client.receive().await["uri"], "again");
    kafka.door(0).lose(&[FETCH, LIST_OFFSETS, METADATA]);
    let is_said = || node.process.output().contains("a new client reads on");
    eventually_within(BACK, "there is a new client", is_said).await;
    kafka.door(0).mend();
    setting.publish("bro", "u", "1").await;
    let last = async { while client.receive().await["uri"] != "u" {} };
    within_limit(BACK, "what is published afterwards", last).await;
}

/// There is more than the last record then, and it never arrives.
#[tokio::test]
async fn the_marker_of_a_transaction_is_no_reason_for_a_new_client() {
    let test = "the_marker_of_a_transaction_is_no_reason";
    let Some(setting) = Setting::shared(test).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    // The registry knows the schemas then.
    setting.publish_keyed("bro", "bro", "u", "0").await;
    assert_eq!(client.receive().await["body"], 0);
    let value = json!({"username": "bro", "baseUrl": "http://accounts", "uri": "u", "body": "1"});
    let topic = &setting.topics.push;
    setting
        .party
        .commit(topic, "WebSocketEvent", "bro", &value)
        .await;
    assert_eq!(client.receive().await["body"], 1);
    tokio::time::sleep(STUCK_AFTER).await;
    let said = node.process.output();
    assert!(!said.contains("records do not arrive"), "{said}");
    assert!(!said.contains("a new client"), "{said}");
}

#[tokio::test]
async fn who_comes_and_goes_meanwhile_is_told_later() {
    let test = "who_comes_and_goes_meanwhile_is_told_later";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting.node_with("n1", "publish_timeout: 1s").await;
    let first = setting.old(&node, "first").await;
    let mut connects = setting.party.watch(&setting.topics.connect).await;
    assert_eq!(connects.next().await["key"], "first");
    kafka.door(0).cut();
    let second = setting.old(&node, "second").await;
    drop(first);
    drop(second);
    node.says("events are not published yet").await;
    kafka.door(0).mend();
    let record = within_limit(BACK, "who came meanwhile", connects.next()).await;
    assert_eq!(record["key"], "second");
    let mut disconnects = setting.party.watch(&setting.topics.disconnect).await;
    for _ in 0..2 {
        let record = within_limit(BACK, "who went meanwhile", disconnects.next()).await;
        let user = record["key"].as_str().unwrap();
        assert!(["first", "second"].contains(&user), "{record}");
    }
}

#[tokio::test]
async fn a_node_that_starts_without_brokers_is_ready_once_they_are_there() {
    let test = "a_node_that_starts_without_brokers_is_ready_once_they_are_there";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    kafka.door(0).cut();
    let node = Node::start(&setting.binary, &setting.yaml("n1", "")).await;
    let eager = setting.yaml("n2", "wait_at_start: false");
    let eager = Node::start(&setting.binary, &eager).await;
    assert_eq!(eager.admin.get("/readyz").await.status(), 200);
    let ready = node.admin.get("/readyz").await;
    assert_eq!(ready.status(), 503);
    assert!(ready.text().starts_with("bus: "), "{}", ready.text());
    let mut client = setting.old(&node, "bro").await;
    kafka.door(0).mend();
    within_limit(BACK, "the node is ready", Box::pin(node.is_ready())).await;
    setting.publish("bro", "u", "1").await;
    assert_eq!(client.receive().await["body"], 1);
}

#[tokio::test]
async fn a_full_queue_is_told_to_who_publishes() {
    let test = "a_full_queue_is_told_to_who_publishes";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting
        .node_with("n1", "max_queued: 2, publish_timeout: 10s")
        .await;
    until_published(&node).await;
    kafka.door(0).hold();
    let body = json!({"event": "e"});
    let many = (0..6).map(|_| node.post("/v1/users/bro/push", &body));
    let answers = within_limit(
        BACK,
        "all are answered",
        futures_util::future::join_all(many),
    )
    .await;
    let codes: Vec<String> = answers.iter().map(|answer| answer.text()).collect();
    assert!(
        answers.iter().all(|answer| answer.status() == 503),
        "{codes:?}"
    );
    assert!(
        codes.iter().any(|text| text.contains("bus_full")),
        "{codes:?}"
    );
    assert!(
        codes.iter().any(|text| text.contains("bus_unreachable")),
        "{codes:?}"
    );
}

#[tokio::test]
async fn what_is_gone_before_it_was_read_is_told_and_the_rest_is_read() {
    let test = "what_is_gone_before_it_was_read_is_told_and_the_rest_is_read";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let node = setting.node("n1").await;
    let mut client = setting.old(&node, "bro").await;
    setting.publish_keyed("k", "bro", "u", "0").await;
    assert_eq!(client.receive().await["body"], 0);
    kafka.door(0).cut();
    let mut last = (0, 0);
    for number in 1..4 {
        last = setting
            .publish_keyed("k", "bro", "u", &number.to_string())
            .await;
    }
    setting
        .party
        .trim(&setting.topics.push, last.0, last.1)
        .await;
    kafka.door(0).mend();
    let push = within_limit(BACK, "what is left", client.receive()).await;
    assert_eq!(push["body"], 3);
    node.says("\"msg\":\"a gap\"").await;
}

#[tokio::test]
async fn what_brokers_have_lost_is_said_and_nothing_is_told_again() {
    let test = "what_brokers_have_lost_is_said_and_nothing_is_told_again";
    let Some(kafka) = Kafka::start(test, 1).await else {
        return;
    };
    let Some(setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let (one, two) = tokio::join!(setting.node("n1"), setting.node("n2"));
    let (mut client, _) = setting.new_session(&one, "bro").await;
    let mut cursors = Vec::new();
    for number in 0..5 {
        let push = json!({"event": "e", "data": number});
        one.push("/v1/users/bro/push", &push).await;
        let told = client.receive().await;
        assert_eq!(told["data"], number);
        cursors.push(told["cursor"].clone());
    }
    kafka.daemon().kill().await;
    kafka.truncate(&setting.topics.push, 2);
    kafka.start_again().await;
    for node in [&one, &two] {
        within_limit(
            BACK,
            "it is said",
            Box::pin(async {
                while !node
                    .process
                    .output()
                    .contains("the brokers have lost records")
                {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }),
        )
        .await;
    }
    // What is there still has been told.
    until_published(&one).await;
    let told = within_limit(BACK, "what came since", client.receive()).await;
    assert_eq!(told["event"], "again", "{told}");
    let said = one.process.output();
    assert!(!said.contains("\"msg\":\"a gap\""), "{said}");
    // Whoever stood before it may not have what is lost; and behind the end nobody stands.
    for cursor in [&cursors[0], &cursors[4]] {
        let (_client, resume) = setting.resume(&two, "bro", cursor).await;
        assert_eq!(resume["recovered"], false, "{resume}");
    }
    let late = setting.node("n3").await;
    let (_client, resume) = setting.resume(&late, "bro", &cursors[4]).await;
    assert_eq!(resume["recovered"], false, "{resume}");
}
