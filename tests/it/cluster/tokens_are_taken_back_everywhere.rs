//! What one node takes back opens nothing on any, and stays so.

use std::time::{Duration, Instant};

use tidegate_tests::backing::Redis;

use super::{House, is_refused, opens};

#[tokio::test]
async fn a_token_that_was_taken_back_stays_so() {
    let test = "a_token_that_was_taken_back_stays_so";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    // A cache that is full at once forgets what it knew of a token.
    house.jwt = "cache: { max_entries: 1 }";
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    for gate in [&a, &b] {
        gate.admin.counts("tidegate_cluster_nodes", 2.0).await;
    }
    let (mut here, _) = house.enter(&a, "u1").await;
    let (mut there, _) = house.enter(&b, "u1").await;
    let (mut other, _) = house.enter(&b, "u2").await;
    let token = house.token("u1");
    a.revoke(&token).await;
    for client in [&mut here, &mut there] {
        assert_eq!(client.closed().await, Some(4440));
    }
    for gate in [&a, &b] {
        is_refused(gate, &token).await;
    }
    for number in 0..40 {
        let other = house.token(&format!("v{number}"));
        for gate in [&a, &b] {
            assert_eq!(opens(gate, &other).await, 101);
        }
    }
    for gate in [&a, &b] {
        assert_eq!(opens(gate, &token).await, 401);
    }
    // Another one of the same user is not concerned, nor is anybody else.
    let push = r#"{"event":"x"}"#;
    a.done("POST", "/v1/users/u2/push", push).await;
    assert_eq!(other.receive().await["event"], "x");
    // A node that begins anew knows it before it lets anybody in by it.
    drop((b, other));
    let b = house.node("b", &redis).await;
    is_refused(&b, &token).await;
    drop((a, b));
    let c = house.node("c", &redis).await;
    is_refused(&c, &token).await;
}

/// At once, and not with the next look at the store. On a machine that does much else one may be late.
#[tokio::test]
async fn a_token_is_taken_back_within_a_second() {
    let test = "a_token_is_taken_back_within_a_second";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let redis = format!("url: 'redis://{}'", redis.node().address());
    let (a, b) = (house.node("a", &redis).await, house.node("b", &redis).await);
    for gate in [&a, &b] {
        gate.admin.counts("tidegate_cluster_nodes", 2.0).await;
    }
    let mut fastest = Duration::MAX;
    for number in 0..10 {
        let user = format!("u{number}");
        let (mut there, _) = house.enter(&b, &user).await;
        let token = house.token(&user);
        let begun = Instant::now();
        a.revoke(&token).await;
        assert_eq!(there.closed().await, Some(4440));
        is_refused(&b, &token).await;
        fastest = fastest.min(begun.elapsed());
    }
    assert!(fastest < Duration::from_secs(1), "{fastest:?}");
}

#[tokio::test]
async fn a_node_that_was_cut_off_learns_of_it() {
    let test = "a_node_that_was_cut_off_learns";
    let Some(mut house) = House::open(test) else {
        return;
    };
    let guard = tidegate_tests::backing::Guard::default();
    let Some(server) = Redis::guarded(test, guard, 1).await else {
        return;
    };
    let direct = format!("url: 'redis://{}'", server.node().address());
    let through = format!(
        "timeout: 300ms, url: 'redis://{}'",
        server.door(0).address()
    );
    let a = house.node("a", &direct).await;
    let b = house.node("b", &through).await;
    let (mut there, _) = house.enter(&b, "u1").await;
    let token = house.token("u1");
    server.door(0).cut();
    b.says_of_cluster("degraded").await;
    a.revoke(&token).await;
    assert_eq!(opens(&a, &token).await, 401);
    // It cannot know, and nobody waits for it to.
    assert_eq!(opens(&b, &token).await, 101);
    server.door(0).mend();
    assert_eq!(there.closed().await, Some(4440));
    is_refused(&b, &token).await;
}
