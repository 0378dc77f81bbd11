//! By the cursor of one node its clients come back to what they missed on any other.

use serde_json::{Value, json};

use super::super::bridge::Client;
use super::Setting;

/// The numbers of the pushes that come until this one has.
async fn numbers_until(client: &mut Client, last: u64) -> Vec<u64> {
    let mut told = Vec::new();
    while told.last() != Some(&last) {
        let push = client.receive().await;
        told.push(push["data"].as_u64().unwrap_or_else(|| panic!("{push}")));
    }
    told
}

fn push(user: &str, number: u64) -> Value {
    json!({"user": user, "event": "e", "data": number})
}

#[tokio::test]
async fn where_the_first_node_was_killed() {
    let test = "where_the_first_node_was_killed";
    let Some(setting) = Setting::new(test, 3).await else {
        return;
    };
    let [a, b] = setting.two().await;
    // How keys are written is known to a node once it has written one.
    a.push(&push("nobody", 0)).await;
    let (mut client, welcome) = setting.session(&a, "bro").await;
    // It has got nothing yet, and may come back nevertheless.
    let mut cursors = vec![welcome["resume"]["cursor"].clone()];
    for number in 0..3 {
        b.push(&push("bro", number)).await;
        cursors.push(client.receive().await["cursor"].clone());
    }
    a.process.signal("KILL");
    for number in 3..6 {
        b.push(&push("bro", number)).await;
        b.push(&push("sis", number)).await;
    }
    // To several at once is missed as well.
    b.push(&json!({"user": ["sis", "bro"], "event": "e", "data": 6}))
        .await;
    // One that has told all of it to its own sessions, and one that was not there then.
    let late = setting.node("c").await;
    for node in [&b, &late] {
        for (first, cursor) in (0..).zip(&cursors) {
            let (mut client, resume) = setting.resumed(node, "bro", cursor).await;
            assert_eq!(resume["recovered"], true, "{resume}");
            let expected: Vec<u64> = (first..7).collect();
            assert_eq!(numbers_until(&mut client, 6).await, expected);
        }
    }
    // Back on one node, the client is told what is new, and hears of what it missed on the other.
    let (mut client, resume) = setting.resumed(&late, "bro", &cursors[3]).await;
    assert_eq!(resume["recovered"], true, "{resume}");
    b.push(&push("bro", 7)).await;
    assert_eq!(numbers_until(&mut client, 7).await, [3, 4, 5, 6, 7]);
    // A cursor is its own user's alone.
    let (_, resume) = setting.resumed(&b, "sis", &cursors[3]).await;
    assert_eq!(resume["recovered"], false, "{resume}");
}

#[tokio::test]
async fn where_redis_is_away() {
    let test = "where_redis_is_away";
    let Some(setting) = Setting::new(test, 3).await else {
        return;
    };
    let [a, b] = setting.two().await;
    let (mut client, _) = setting.session(&a, "bro").await;
    a.push(&push("bro", 0)).await;
    let cursor = client.receive().await["cursor"].clone();
    drop(client);
    setting.redis.node().daemon().kill().await;
    for number in 1..4 {
        a.push(&push("bro", number)).await;
    }
    let (mut client, resume) = setting.resumed(&b, "bro", &cursor).await;
    assert_eq!(resume["recovered"], true, "{resume}");
    a.push(&push("bro", 4)).await;
    assert_eq!(numbers_until(&mut client, 4).await, [1, 2, 3, 4]);
}
