//! However a push comes, and wherever it is asked for: each session is told it once, and in order.

use serde_json::json;

use super::{Setting, join, told_until};

#[tokio::test]
async fn whatever_way_it_comes() {
    let test = "whatever_way_it_comes";
    // In one partition, so that behind the last push there is nothing more.
    let Some(setting) = Setting::new(test, 1).await else {
        return;
    };
    let [a, b] = setting.two().await;
    let (mut here, _) = setting.session(&a, "bro").await;
    let (mut there, _) = setting.session(&b, "bro").await;
    let (mut sis, _) = setting.session(&b, "sis").await;
    for member in [&mut here, &mut sis] {
        join(member, "chat:1").await;
    }
    // Whoever does not know whether it was heard asks again, and of another node.
    let one = json!({"user": "bro", "event": "one"});
    let batch = json!([
        {"user": "bro", "event": "first"},
        {"user": ["bro", "sis"], "event": "second"},
        {"room": "chat:1", "event": "third"},
    ]);
    for (key, body) in [("k1", &one), ("k2", &batch)] {
        for node in [&a, &b, &a] {
            let answer = node.ask_by("POST", "/v1/push", Some(key), body).await;
            assert_eq!(answer.status(), 202, "{}", answer.text());
        }
    }
    b.push(&json!({"all": true, "event": "all"})).await;
    // Somebody else's record, published twice under one name.
    for _ in 0..2 {
        setting.record("bro", "record", Some("theirs-1")).await;
    }
    b.push(&json!({"all": true, "event": "last"})).await;
    for (client, expected) in [
        (
            &mut here,
            &["one", "first", "second", "third", "all", "record", "last"][..],
        ),
        (
            &mut there,
            &["one", "first", "second", "all", "record", "last"],
        ),
        (&mut sis, &["second", "third", "all", "last"]),
    ] {
        assert_eq!(told_until(client, "last").await, expected);
    }
}

#[tokio::test]
async fn in_the_order_of_its_user_whoever_publishes() {
    const PUSHES: usize = 40;
    let test = "in_the_order_of_its_user";
    let Some(setting) = Setting::new(test, 3).await else {
        return;
    };
    let (a, b, c) = tokio::join!(setting.node("a"), setting.node("b"), setting.node("c"));
    let nodes = [&a, &b, &c];
    for node in nodes {
        node.sees(3).await;
    }
    let users = ["u1", "u2", "u3"];
    let mut sessions = Vec::new();
    for user in users {
        for node in nodes {
            sessions.push((user, setting.session(node, user).await.0));
        }
    }
    // Each user has a publisher, who asks one node after the other.
    let publish = async |user: &str| {
        for number in 0..PUSHES {
            let push = json!({"user": user, "event": format!("{user} {number}")});
            nodes[number % nodes.len()].push(&push).await;
        }
    };
    tokio::join!(publish("u1"), publish("u2"), publish("u3"));
    for (user, client) in &mut sessions {
        let expected: Vec<_> = (0..PUSHES)
            .map(|number| format!("{user} {number}"))
            .collect();
        let last = expected.last().unwrap();
        assert_eq!(told_until(client, last).await, expected);
    }
}

#[tokio::test]
async fn its_publisher_hears_from_all_nodes_who_has_it() {
    let test = "its_publisher_hears_from_all_nodes";
    let Some(setting) = Setting::new(test, 3).await else {
        return;
    };
    let door = setting.redis.door(0);
    let a = setting.node("a").await;
    let b = setting.node_at("b", door.address()).await;
    a.sees(2).await;
    let (mut here, _) = setting.session(&a, "bro").await;
    let (mut there, _) = setting.session(&b, "bro").await;
    // That it is waited for comes by Redis, and the push itself by Kafka: neither is always the first.
    for is_late in [false, true] {
        if is_late {
            door.hold();
        }
        let push = json!({"event": "x"});
        let target = "/v1/users/bro/push?wait=ack&timeout=15s";
        let asking = a.done("POST", target, &push);
        let acking = async {
            for client in [&mut there, &mut here] {
                let told = client.receive().await;
                assert_eq!(told["ack"], true, "{told}");
                client.send(&json!({"op": "ack", "seq": told["seq"]})).await;
            }
            door.mend();
        };
        let (told, ()) = tokio::join!(asking, acking);
        assert_eq!(told["acked"], 2, "{told}");
    }
}
