//! Whoever asks one node reaches the users of all.

use serde_json::json;
use tidegate_tests::backing::Redis;
use tidegate_tests::eventually_does;

use super::{House, reached};

#[tokio::test]
async fn a_push_reaches_the_sessions_of_other_nodes_once() {
    let test = "a_push_reaches_the_sessions";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    let (mut here, _) = house.enter(&a, "u42").await;
    let (mut there, _) = house.enter(&b, "u42").await;
    let mut complete = 0;
    for number in 0..20 {
        let push = json!({ "event": "cash-out", "data": { "number": number } }).to_string();
        let told = a.done("POST", "/v1/users/u42/push", &push).await;
        assert_eq!(told["nodes"]["asked"], 1, "{told}");
        complete += u32::from(reached(&told, "matched", 2));
        for client in [&mut here, &mut there] {
            let told = client.receive().await;
            assert_eq!(told["event"], "cash-out", "{told}");
            assert_eq!(told["data"]["number"], number, "{told}");
        }
    }
    assert!(complete > 0, "the other node never answers in time");
    // Nobody is there.
    let told = b
        .done("POST", "/v1/users/nobody/push", r#"{"event":"x"}"#)
        .await;
    assert_eq!(told["matched"], 0, "{told}");
    // Asked again under its key, and of another node, it is the same.
    for gate in [&a, &b, &a] {
        let push = r#"{"user":"u42","event":"once"}"#;
        let request = tidegate_tests::Request::new("POST", "/v1/push");
        let request = request.set("Host", &gate.admin.0.to_string());
        let request = request.with("Idempotency-Key", "k1").body(push);
        let answer = gate.admin.ask(&request).await;
        assert_eq!(answer.status(), 202, "{}", answer.text());
    }
    let last = r#"{"user":"u42","event":"last"}"#;
    b.done("POST", "/v1/push", last).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.receive().await["event"], "once");
        assert_eq!(client.receive().await["event"], "last");
    }
}

#[tokio::test]
async fn clients_of_other_nodes_say_that_they_have_it() {
    let test = "clients_of_other_nodes_say";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    let (mut there, _) = house.enter(&b, "u42").await;
    let push = r#"{"event":"x","ack":true}"#;
    let asking = a.done("POST", "/v1/users/u42/push?wait=ack&timeout=20s", push);
    let acking = async {
        let told = there.receive().await;
        there
            .send(&json!({ "op": "ack", "seq": told["seq"] }))
            .await;
    };
    let (told, ()) = tokio::join!(asking, acking);
    assert_eq!(
        (&told["matched"], &told["acked"]),
        (&1.into(), &1.into()),
        "{told}"
    );
}

#[tokio::test]
async fn the_online_count_is_that_of_all_nodes() {
    let test = "the_online_count_is_that_of_all";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    let mut of_a = a.events().await;
    let mut of_b = b.events().await;
    let (first, _) = house.enter(&a, "u1").await;
    let online = of_a.next_of("user.online").await;
    assert_eq!(online["user"], "u1");
    let (second, session) = house.enter(&b, "u1").await;
    let (third, _) = house.enter(&b, "u2").await;
    // Of the second session of a user nobody is told that the user came.
    assert_eq!(of_b.next_of("user.online").await["user"], "u2");
    for gate in [&a, &b] {
        gate.counts(2).await;
    }
    a.counts_in("/v1/users", 1).await;
    let page = a.json("/v1/users?scope=cluster").await;
    assert_eq!(
        page["users"],
        json!([{ "user": "u1", "sessions": 2 }, { "user": "u2", "sessions": 1 }])
    );
    let page = a.json("/v1/users?scope=cluster&limit=1").await;
    let next = page["next_cursor"].as_str().unwrap();
    let page = a
        .json(&format!("/v1/users?scope=cluster&limit=1&cursor={next}"))
        .await;
    assert_eq!(page["users"], json!([{ "user": "u2", "sessions": 1 }]));
    let user = a.json("/v1/users/u1?scope=cluster").await;
    assert_eq!(user["session_count"], 2, "{user}");
    let nodes: Vec<_> = user["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["node"].as_str())
        .collect();
    assert!(
        nodes.contains(&Some("a")) && nodes.contains(&Some("b")),
        "{user}"
    );
    let all = a.json("/v1/sessions?scope=cluster").await;
    let all = all["sessions"].as_array().unwrap();
    assert_eq!(all.len(), 3);
    assert!(
        all.iter()
            .any(|one| one["id"] == session.as_str() && one["route"] == "bridge")
    );
    // The last one on the first node is not the user's last.
    first.0.close_session().await;
    assert_eq!(of_a.next_of("session.closed").await["user"], "u1");
    third.0.close_session().await;
    assert_eq!(of_b.next_of("user.offline").await["user"], "u2");
    second.0.close_session().await;
    assert_eq!(of_b.next_of("user.offline").await["user"], "u1");
    for gate in [&a, &b] {
        gate.counts(0).await;
    }
}

#[tokio::test]
async fn an_order_ends_sessions_of_other_nodes() {
    let test = "an_order_ends_sessions";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    let (mut here, _) = house.enter(&a, "u1").await;
    let (mut there, _) = house.enter(&b, "u1").await;
    let (mut other, session) = house.enter(&b, "u2").await;
    let told = a
        .done(
            "DELETE",
            "/v1/users/u1/sessions",
            r#"{"code":4001,"reason":"bye"}"#,
        )
        .await;
    reached(&told, "sessions", 2);
    for client in [&mut here, &mut there] {
        assert_eq!(client.closed().await, Some(4001));
    }
    a.done("DELETE", &format!("/v1/sessions/{session}"), "")
        .await;
    assert_eq!(other.closed().await, Some(4440));
    a.counts(0).await;
    let gone = a
        .ask("DELETE", &format!("/v1/sessions/{session}"), "")
        .await;
    gone.expect_problem(404);
}

#[tokio::test]
async fn what_is_revoked_on_one_node_is_revoked_on_all() {
    let test = "what_is_revoked_on_one_node";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    let (mut client, _) = house.enter(&b, "u1").await;
    let token = house.token("u1");
    a.done(
        "POST",
        "/v1/tokens/revoke",
        &json!({ "token": token }).to_string(),
    )
    .await;
    assert_eq!(client.closed().await, Some(4440));
    let (mut client, session) = house.enter(&b, "u2").await;
    let told = a
        .done(
            "POST",
            "/v1/tokens/revoke",
            &json!({ "session": session }).to_string(),
        )
        .await;
    assert_eq!(told["sessions"], 1, "{told}");
    assert_eq!(client.closed().await, Some(4440));
    // Whoever starts later knows it too.
    let c = house.node("c", &redis).await;
    for (gate, user) in [(&a, "u1"), (&b, "u1"), (&c, "u1"), (&c, "u2"), (&a, "u2")] {
        let bearer = format!("Bearer {}", house.token(user));
        let handshake = tidegate_tests::Request::handshake("/ws").with("Authorization", &bearer);
        eventually_does("it opens nothing", async || {
            let mut wire = tidegate_tests::Wire::connect(gate.public).await;
            wire.request(&handshake).await;
            wire.read_head().await.status() == 401
        })
        .await;
    }
}
