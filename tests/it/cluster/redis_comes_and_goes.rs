//! Without Redis a node goes on by itself, and is right again soon after it is back.

use serde_json::json;
use tidegate_tests::backing::Redis;

use super::{Client, House, SHORT_LEASE};

#[tokio::test]
async fn sessions_live_on_while_redis_is_away() {
    let test = "sessions_live_on_while_redis";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(server) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", server.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    let (mut stays, _) = house.enter(&a, "stays").await;
    let (leaves, _) = house.enter(&a, "leaves").await;
    let (mut there, _) = house.enter(&b, "there").await;
    a.counts(3).await;
    let mut of_a = a.events().await;
    server.node().daemon().kill().await;
    a.says_of_cluster("degraded").await;
    b.says_of_cluster("degraded").await;
    a.ask("GET", "/v1/users?scope=cluster", "")
        .await
        .expect_problem(503);
    // New ones come, old ones go, and a push reaches who is here, although nobody can promise more.
    leaves.0.close_session().await;
    assert_eq!(of_a.next_of("session.closed").await["user"], "leaves");
    let (_comes, _) = house.enter(&a, "comes").await;
    assert_eq!(of_a.next_of("session.opened").await["user"], "comes");
    let refused = a
        .ask("POST", "/v1/users/stays/push", r#"{"event":"x"}"#)
        .await;
    refused.expect_problem(503);
    assert_eq!(stays.receive().await["event"], "x");
    let token = house.token("there");
    let revoked = json!({ "token": token }).to_string();
    a.done("POST", "/v1/tokens/revoke", &revoked).await;
    server.node().start_again().await;
    for gate in [&a, &b] {
        gate.is_connected().await;
    }
    // What happened meanwhile is known now, and what was revoked is revoked there too.
    let mut told = Vec::new();
    while told.len() < 2 {
        let event = of_a.next().await;
        let kind = event["type"].as_str().unwrap().to_owned();
        told.push((kind, event["user"].as_str().unwrap().to_owned()));
    }
    told.sort();
    let expected = [("user.offline", "leaves"), ("user.online", "comes")];
    assert_eq!(
        told,
        expected.map(|(kind, user)| (kind.to_owned(), user.to_owned()))
    );
    assert_eq!(there.closed().await, Some(4440));
    for gate in [&a, &b] {
        gate.counts(2).await;
    }
    for gate in [&a, &b] {
        gate.admin.counts("tidegate_cluster_nodes", 2.0).await;
    }
    let told = b
        .done("POST", "/v1/users/stays/push", r#"{"event":"y"}"#)
        .await;
    super::reached(&told, "matched", 1);
    assert_eq!(stays.receive().await["event"], "y");
}

#[tokio::test]
async fn a_redis_that_lost_everything_is_told_anew() {
    let test = "a_redis_that_lost_everything";
    let Some(mut house) = House::open(test) else {
        return;
    };
    house.lease = SHORT_LEASE;
    let Some(server) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", server.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    let (_here, _) = house.enter(&a, "u1").await;
    let (_there, _) = house.enter(&b, "u2").await;
    let token = house.token("u3");
    a.done(
        "POST",
        "/v1/tokens/revoke",
        &json!({ "token": token }).to_string(),
    )
    .await;
    a.counts(2).await;
    server.node().ask(&["FLUSHALL"]).await;
    a.counts(2).await;
    b.counts(2).await;
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    // One that starts now learns of the revocation from those who knew it.
    let c = house.node("c", &redis).await;
    let bearer = format!("Bearer {token}");
    let handshake = tidegate_tests::Request::handshake("/ws").with("Authorization", &bearer);
    tidegate_tests::eventually_does("it opens nothing", async || {
        let mut wire = tidegate_tests::Wire::connect(c.public).await;
        wire.request(&handshake).await;
        wire.read_head().await.status() == 401
    })
    .await;
}

#[tokio::test]
async fn a_link_that_is_cut_or_held_is_made_anew() {
    let test = "a_link_that_is_cut_or_held";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let guard = tidegate_tests::backing::Guard::default();
    let Some(server) = Redis::guarded(test, guard, 2).await else {
        return;
    };
    let through = |door: usize| {
        format!(
            "timeout: 300ms, url: 'redis://{}'",
            server.door(door).address()
        )
    };
    let a = house.node("a", &through(0)).await;
    let b = house.node("b", &through(1)).await;
    let (mut client, _) = house.enter(&b, "u1").await;
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    for number in 0..4 {
        let door = server.door(1);
        if number % 2 == 0 {
            door.cut();
        } else {
            door.hold();
        }
        b.says_of_cluster("degraded").await;
        door.mend();
        b.is_connected().await;
        a.counts(1).await;
        a.admin.counts("tidegate_cluster_nodes", 2.0).await;
        // It hears again what is sent to it.
        let push = json!({ "event": "n", "data": number }).to_string();
        let told = a.done("POST", "/v1/users/u1/push", &push).await;
        super::reached(&told, "matched", 1);
        assert_eq!(client.receive().await["data"], number);
    }
}

/// Redis keeps nothing for who is cut off: so they are told that something may be missing.
#[tokio::test]
async fn what_may_have_been_missed_is_not_taken_for_had() {
    let test = "what_may_have_been_missed";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let guard = tidegate_tests::backing::Guard::default();
    let Some(server) = Redis::guarded(test, guard, 1).await else {
        return;
    };
    let direct = format!("url: 'redis://{}'", server.node().address());
    let door = server.door(0);
    let through = format!("timeout: 300ms, url: 'redis://{}'", door.address());
    let a = house.node("a", &direct).await;
    let b = house.node("b", &through).await;
    let push = async |data: &str| {
        let push = json!({ "event": "n", "data": data, "class": "resumable" }).to_string();
        a.done("POST", "/v1/users/u1/push", &push).await
    };
    let (mut stays, _) = house.enter(&b, "u1").await;
    let bearer = format!("Bearer {}", house.token("u1"));
    let handshake = tidegate_tests::Request::handshake("/ws").with("Authorization", &bearer);
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut leaves = Client::open(&b, &handshake).await;
    let of_leaves = leaves.receive().await;
    a.admin.counts("tidegate_cluster_nodes", 2.0).await;
    push("one").await;
    let (told, last) = (stays.receive().await, leaves.receive().await);
    assert_eq!(
        (&told["data"], &last["data"]),
        (&json!("one"), &json!("one"))
    );
    drop(leaves);
    door.cut();
    b.says_of_cluster("degraded").await;
    push("missed").await;
    let resume = json!({
        "session": of_leaves["session"],
        "token": of_leaves["resume"]["token"],
        "seq": last["seq"],
        "cursor": last["cursor"],
    });
    let by_cursor = json!({ "cursor": last["cursor"] });
    // Nobody is told that nothing is missing: neither before the link is back nor afterwards.
    for resume in [&by_cursor, &resume] {
        if resume["token"].is_string() {
            door.mend();
            b.is_connected().await;
        }
        let (mut back, _) = house.enter(&b, "u1").await;
        back.send(&json!({ "op": "hello", "v": 1, "resume": resume }))
            .await;
        let welcome = back.receive().await;
        assert_eq!(welcome["op"], "welcome", "{welcome}");
        assert_eq!(welcome["resume"]["recovered"], false, "{resume} {welcome}");
    }
    // Who has stayed sees by the number that something is missing, and has the next.
    push("two").await;
    let next = stays.receive().await;
    assert_eq!(next["data"], "two");
    let gap = next["seq"].as_u64().unwrap() - told["seq"].as_u64().unwrap();
    assert!(gap > 1, "{told} {next}");
}
