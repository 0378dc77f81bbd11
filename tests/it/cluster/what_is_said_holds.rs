//! What who asks is told holds also where nodes do not know of each other yet, or any more.

use serde_json::{Value, json};
use tidegate_tests::backing::{Redis, Reply};
use tidegate_tests::eventually_does;

use super::House;

/// Renewals are minutes apart: what is known in time is known otherwise.
const LONG_LEASE: &str = "10m";

#[tokio::test]
async fn who_has_just_come_is_reached_and_who_the_store_has_lost() {
    let test = "who_has_just_come_is_reached";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = LONG_LEASE;
    let Some(server) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", server.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    let (mut first, _) = house.enter(&b, "u1").await;
    let told = a.done("DELETE", "/v1/users/u1/sessions", "").await;
    assert_eq!(told["nodes"]["asked"], 1, "{told}");
    assert_eq!(first.closed().await, Some(4440));
    let (mut second, session) = house.enter(&b, "u2").await;
    server.node().ask(&["FLUSHALL"]).await;
    // A busy node may answer too late; that there is no such session is said by nobody.
    let target = format!("/v1/sessions/{session}");
    let answer = a.ask("DELETE", &target, "").await;
    assert!([202, 503].contains(&answer.status()), "{}", answer.text());
    second.closed().await;
    // One that joins makes the others look what the store has.
    let (_stays, _) = house.enter(&b, "u3").await;
    let c = house.node("c", &redis).await;
    c.counts(1).await;
    for gate in [&a, &b, &c] {
        gate.admin.counts("tidegate_cluster_nodes", 3.0).await;
    }
}

#[tokio::test]
async fn who_revokes_is_told_whom_that_has_not_reached() {
    let test = "who_revokes_is_told";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = LONG_LEASE;
    let Some(server) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", server.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    let (mut there, _) = house.enter(&b, "u1").await;
    let revoke = async |what: Value| a.done("POST", "/v1/tokens/revoke", &what.to_string()).await;
    let told = revoke(json!({ "user": "u1" })).await;
    assert_eq!(told["nodes"]["asked"], 1, "{told}");
    assert_eq!(there.closed().await, Some(4440));
    server.node().daemon().kill().await;
    a.says_of_cluster("degraded").await;
    for what in [
        json!({ "user": "u2" }),
        json!({ "jti": "x" }),
        json!({ "token": house.token("u3") }),
    ] {
        let told = revoke(what).await;
        let nodes = json!({ "asked": 1, "answered": 0 });
        assert_eq!(told, json!({ "sessions": 0, "nodes": nodes }));
    }
}

#[tokio::test]
async fn why_redis_is_of_no_use_is_said_in_its_own_words() {
    let test = "why_redis_is_of_no_use";
    let Some(house) = House::open(test) else {
        return;
    };
    let Some(server) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", server.node().address());
    let a = house.node("a", &redis).await;
    server
        .node()
        .ask(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    a.says_of_cluster("degraded").await;
    eventually_does("it says why", async || {
        let answer = a.admin.get("/readyz?verbose").await.text();
        answer.contains("OOM")
    })
    .await;
    // Once, however often it is tried.
    let lines = |word: &str| {
        let said = a.process.output();
        said.lines().filter(|line| line.contains(word)).count()
    };
    eventually_does("its log says so", async || lines("OOM") > 0).await;
    let before = tries(&server).await;
    eventually_does("it is tried again", async || {
        tries(&server).await > before + 10
    })
    .await;
    assert_eq!(lines("OOM"), 1);
    server
        .node()
        .ask(&["CONFIG", "SET", "maxmemory", "0"])
        .await;
    a.is_connected().await;
    server
        .node()
        .ask(&["CONFIG", "SET", "maxmemory", "1"])
        .await;
    eventually_does("it says it again", async || lines("OOM") == 2).await;
}

/// How often a node has begun to hear the others.
async fn tries(server: &Redis) -> u64 {
    let told = server.node().ask(&["INFO", "commandstats"]).await;
    let Reply::Text(told) = told else {
        panic!("{told:?}");
    };
    let calls = told
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_subscribe:calls="));
    let calls = calls.and_then(|calls| calls.split(',').next());
    calls.map_or(0, |calls| calls.parse().unwrap())
}
