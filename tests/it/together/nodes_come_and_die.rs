//! A node that comes is one of them at once, and of one that dies the others tell what it could not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_tests::backing::{Kafka, Reply, Watch};
use tidegate_tests::eventually_does;
use tidegate_tests::wire::Wire;

use super::{Setting, closed, handshake, told_until};

#[tokio::test]
async fn one_that_comes_later_is_one_of_them() {
    let test = "one_that_comes_later_is_one_of_them";
    let Some(setting) = Setting::new(test, 3).await else {
        return;
    };
    let [a, b] = setting.two().await;
    let (mut on_a, _) = setting.session(&a, "bro").await;
    let token = setting.token("revoked");
    b.done("POST", "/v1/tokens/revoke", &json!({"token": token}))
        .await;
    a.push(&json!({"user": "bro", "event": "before"})).await;
    let c = setting.node("c").await;
    let nodes = [&a, &b, &c];
    for node in nodes {
        node.sees(3).await;
    }
    // What was revoked before opens nothing.
    let handshake = handshake(&token);
    eventually_does("it opens nothing there either", async || {
        let mut wire = Wire::connect(c.address).await;
        wire.request(&handshake).await;
        wire.read_head().await.status() == 401
    })
    .await;
    let (mut on_c, _) = setting.session(&c, "bro").await;
    let (mut other, welcome) = setting.session(&c, "sis").await;
    for node in nodes {
        node.counts(2).await;
        node.push(&json!({"user": "bro", "event": node.address.to_string()}))
            .await;
    }
    let pushed = nodes.map(|node| node.address.to_string());
    let last = &pushed[2];
    assert_eq!(told_until(&mut on_c, last).await, pushed);
    let expected = [&["before".to_owned()][..], &pushed].concat();
    assert_eq!(told_until(&mut on_a, last).await, expected);
    let session = format!("/v1/sessions/{}", welcome["session"].as_str().unwrap());
    b.done("DELETE", &session, &Value::Null).await;
    assert_eq!(closed(&mut other).await, Some(4440));
}

#[tokio::test]
async fn of_one_that_is_killed_others_tell_once_what_it_could_not() {
    let test = "of_one_that_is_killed_others_tell";
    let Some(mut setting) = Setting::new(test, 3).await else {
        return;
    };
    setting.lease = "5s";
    let (a, b, c) = tokio::join!(setting.node("a"), setting.node("b"), setting.node("c"));
    a.sees(3).await;
    let (mut sessions, mut offline) = setting.told().await;
    let (_kept, _) = setting.session(&a, "stays").await;
    let mut lost = BTreeSet::new();
    let mut clients = Vec::new();
    for user in ["stays", "goes", "goes", "goes too"] {
        let (client, welcome) = setting.session(&b, user).await;
        lost.insert(welcome["session"].as_str().unwrap().to_owned());
        clients.push(client);
    }
    a.counts(3).await;
    b.process.signal("KILL");
    // It is forgotten once all is told.
    eventually_does("it is forgotten", async || {
        [&a, &c]
            .iter()
            .any(|node| node.process.output().contains("a node is gone"))
    })
    .await;
    for node in [&a, &c] {
        node.sees(2).await;
        node.counts(1).await;
    }
    // In the one partition of their topics these stand behind that.
    let (client, _) = setting.session(&a, "last").await;
    client.0.close_session().await;
    let is_last = |event: &Value| event["type"] == "session.closed" && event["user"] == "last";
    let ends = until(&mut sessions, is_last).await;
    let mut told = Vec::new();
    for record in &ends {
        let event = &record["json"];
        assert_eq!(event["id"], record["headers"]["tidegate-id"], "{record}");
        if event["type"] == "session.closed" && event["node"] == "b" {
            assert_eq!(
                (&event["cause"], &event["code"]),
                (&json!("node_lost"), &json!(1006))
            );
            told.push(event["session"].as_str().unwrap().to_owned());
        }
    }
    told.sort_unstable();
    assert_eq!(told, lost.into_iter().collect::<Vec<_>>());
    let mut told = Vec::new();
    while told.last().is_none_or(|(user, _)| user != "last") {
        told.push(gone(&offline.next().await));
    }
    let ids: BTreeSet<_> = told.iter().map(|(_, id)| id.clone()).collect();
    assert_eq!(
        ids.len(),
        told.len(),
        "each has a name of its own: {told:?}"
    );
    let mut users: Vec<_> = told.iter().map(|(user, _)| user.as_str()).collect();
    users.sort_unstable();
    assert_eq!(users, ["goes", "goes too", "last"]);
    drop(clients);
}

#[tokio::test]
async fn of_two_that_are_killed_the_last_tells_under_one_name() {
    let test = "of_two_that_are_killed_the_last_tells";
    let Some(kafka) = Kafka::start(test, 0).await else {
        return;
    };
    let Some(mut setting) = Setting::at(test, &kafka).await else {
        return;
    };
    setting.lease = "5s";
    let (a, b, c) = tokio::join!(setting.node("a"), setting.node("b"), setting.node("c"));
    c.sees(3).await;
    let (_, mut offline) = setting.told().await;
    let (_of_a, _) = setting.session(&a, "on a").await;
    let (_of_b, _) = setting.session(&b, "on b").await;
    c.counts(2).await;
    // Whoever takes up what b leaves cannot tell it, and may be the next to die.
    kafka.daemon().kill().await;
    b.process.signal("KILL");
    eventually_does("b is missed", async || {
        c.admin.metrics().await.get("tidegate_cluster_nodes") < Some(3.0)
    })
    .await;
    a.process.signal("KILL");
    kafka.start_again().await;
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    while told.len() < 2 {
        let (user, id) = gone(&offline.next().await);
        told.entry(user).or_default().insert(id);
    }
    c.sees(1).await;
    c.counts(0).await;
    let (client, _) = setting.session(&c, "last").await;
    client.0.close_session().await;
    while !told.contains_key("last") {
        let (user, id) = gone(&offline.next().await);
        told.entry(user).or_default().insert(id);
    }
    assert!(told.values().all(|ids| ids.len() == 1), "{told:?}");
    assert_eq!(told.len(), 3, "{told:?}");
}

/// Of two that could tell it one does, although the brokers are away for longer than a lease; who is online
/// is known all the while.
#[tokio::test]
async fn of_one_that_dies_while_the_brokers_are_away_others_tell_once() {
    let test = "of_one_that_dies_while_the_brokers_are_away";
    let Some(kafka) = Kafka::start(test, 0).await else {
        return;
    };
    let Some(mut setting) = Setting::at(test, &kafka).await else {
        return;
    };
    let lease = Duration::from_secs(5);
    (setting.lease, setting.publish) = ("5s", "60s");
    let (a, b, c) = tokio::join!(setting.node("a"), setting.node("b"), setting.node("c"));
    for node in [&a, &b, &c] {
        node.sees(3).await;
    }
    let (mut sessions, mut offline) = setting.told().await;
    let (_stays, _) = setting.session(&a, "stays").await;
    let mut clients = Vec::new();
    for number in 0..12 {
        let user = format!("user {}", number % 8);
        clients.push(setting.session(&b, &user).await);
    }
    for node in [&a, &c] {
        node.counts(9).await;
    }
    kafka.daemon().kill().await;
    b.process.signal("KILL");
    for node in [&a, &c] {
        node.counts(1).await;
    }
    // So long they are away, that a claim which nobody renews would lapse twice.
    tokio::time::sleep(2 * lease + lease / 2).await;
    kafka.start_again().await;
    let forgotten = || {
        let all = [&a, &c].map(|node| node.process.output());
        let times = all.map(|said| said.matches("a node is gone").count());
        times.iter().sum::<usize>()
    };
    eventually_does("it is forgotten", async || forgotten() > 0).await;
    // Of each these stand behind all that it had under way.
    let mut last = BTreeSet::new();
    for (node, user) in [(&a, "last on a"), (&c, "last on c")] {
        let (client, welcome) = setting.session(node, user).await;
        last.insert(welcome["session"].clone().to_string());
        client.0.close_session().await;
    }
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for (_, welcome) in &clients {
        expected.insert(welcome["session"].to_string(), 1);
    }
    let mut told: BTreeMap<String, usize> = BTreeMap::new();
    while !last.is_empty() {
        let is_closed = |event: &Value| event["type"] == "session.closed";
        let records = until(&mut sessions, is_closed).await;
        let event = &records.last().unwrap()["json"];
        let session = event["session"].to_string();
        if !last.remove(&session) {
            assert_eq!(event["cause"], "node_lost", "{event}");
            *told.entry(session).or_default() += 1;
        }
    }
    assert_eq!(told, expected);
    let mut users: BTreeMap<String, usize> = BTreeMap::new();
    let (mut names, mut last) = (BTreeSet::new(), 2);
    while last > 0 {
        let (user, id) = gone(&offline.next().await);
        last -= usize::from(user.starts_with("last"));
        names.insert(id);
        *users.entry(user).or_default() += 1;
    }
    assert_eq!((users.len(), names.len()), (10, 10), "{users:?}");
    assert!(users.values().all(|times| *times == 1), "{users:?}");
    assert_eq!(forgotten(), 1);
    drop(clients);
}

/// It ends while the brokers are away, and its node is killed before they are back.
#[tokio::test]
async fn an_end_that_was_not_told_is_told_by_the_others() {
    let test = "an_end_that_was_not_told_is_told_by_the_others";
    let Some(kafka) = Kafka::start(test, 0).await else {
        return;
    };
    let Some(mut setting) = Setting::at(test, &kafka).await else {
        return;
    };
    setting.lease = "5s";
    let [a, b] = setting.two().await;
    let (mut sessions, mut offline) = setting.told().await;
    let (early, _) = setting.session(&b, "early").await;
    early.0.close_session().await;
    assert_eq!(gone(&offline.next().await).0, "early");
    // What was told is kept no longer.
    eventually_does("nothing is kept", async || {
        let kept = setting.redis.node().ask(&["KEYS", "*:kept:*"]).await;
        matches!(kept, Reply::List(left) if left.is_empty())
    })
    .await;
    let (late, welcome) = setting.session(&b, "late").await;
    a.counts(1).await;
    kafka.daemon().kill().await;
    late.0.close_session().await;
    a.counts(0).await;
    b.process.signal("KILL");
    a.sees(1).await;
    kafka.start_again().await;
    assert_eq!(gone(&offline.next().await).0, "late");
    let is_late =
        |event: &Value| event["type"] == "session.closed" && event["session"] == welcome["session"];
    until(&mut sessions, is_late).await;
}

/// Who has gone offline, and the name of the record that says so.
fn gone(record: &Value) -> (String, String) {
    let text = |value: &Value| {
        value
            .as_str()
            .unwrap_or_else(|| panic!("{record}"))
            .to_owned()
    };
    let id = text(&record["headers"]["tidegate-id"]);
    (text(&record["value"]["username"]), id)
}

/// The records, with what their values say as `json`, until one is `last`.
async fn until(watch: &mut Watch, last: impl Fn(&Value) -> bool) -> Vec<Value> {
    let mut records: Vec<Value> = Vec::new();
    while !records.last().is_some_and(|record| last(&record["json"])) {
        let mut record = watch.next().await;
        let bytes = STANDARD.decode(record["value_bytes"].as_str().unwrap());
        record["json"] = serde_json::from_slice(&bytes.unwrap()).unwrap();
        records.push(record);
    }
    records
}
