//! Redis in its three modes.

use std::time::Duration;

use tidegate_tests::backing::{Guard, Redis, RedisCluster, RedisSentinel, Reply};
use tidegate_tests::eventually_does;
use tidegate_tests::time::eventually_does_within;

/// How long a cluster may take to agree on something: seconds on a quiet machine.
const LONG: Duration = Duration::from_secs(90);

const OPEN: Guard = Guard {
    password: None,
    tls: false,
};
const GUARDED: Guard = Guard {
    password: Some("sesame"),
    tls: true,
};

#[tokio::test]
async fn one_redis_keeps_what_it_has_answered() {
    for guard in [OPEN, GUARDED] {
        let test = "one_redis_keeps_what_it_has_answered";
        let Some(redis) = Redis::guarded(test, guard, 0).await else {
            return;
        };
        let node = redis.node();
        node.ask(&["SET", "name", "value"]).await;
        node.daemon().kill().await;
        assert!(node.connect().await.is_err());
        node.start_again().await;
        assert_eq!(node.ask(&["GET", "name"]).await.text(), "value");
        node.daemon().stop().await;
        node.start_again().await;
        assert_eq!(node.ask(&["GET", "name"]).await.text(), "value");
        assert_eq!(node.ask(&["GET", "other"]).await, Reply::Nil);
    }
}

#[tokio::test]
async fn nobody_gets_in_without_the_password() {
    let guard = Guard {
        password: Some("sesame"),
        tls: false,
    };
    let test = "nobody_gets_in_without_the_password";
    let Some(redis) = Redis::guarded(test, guard, 0).await else {
        return;
    };
    let address = redis.node().address();
    let connection = tidegate_tests::backing::Connection::open(address, None).await;
    let answer = connection.unwrap().ask(&["GET", "name"]).await.unwrap();
    assert!(matches!(answer, Reply::Error(words) if words.starts_with("NOAUTH")));
}

#[tokio::test]
async fn sentinels_make_the_replica_master() {
    master_is_replaced("sentinels_make_the_replica_master", OPEN).await;
}

#[tokio::test]
async fn sentinels_make_the_replica_master_over_tls() {
    master_is_replaced("sentinels_make_the_replica_master_over_tls", GUARDED).await;
}

async fn master_is_replaced(test: &str, guard: Guard) {
    let Some(redis) = RedisSentinel::start(test, guard).await else {
        return;
    };
    let [old, new] = redis.nodes() else {
        panic!("two nodes");
    };
    redis.has_master(old).await;
    old.ask(&["SET", "name", "value"]).await;
    eventually_does("the replica has it", async || {
        new.ask(&["GET", "name"]).await.text() == "value"
    })
    .await;
    old.daemon().kill().await;
    redis.has_master(new).await;
    assert_eq!(new.ask(&["SET", "name", "newer"]).await.text(), "OK");
}

#[tokio::test]
async fn a_cluster_shares_its_slots() {
    slots_are_shared("a_cluster_shares_its_slots", OPEN).await;
}

#[tokio::test]
async fn a_cluster_shares_its_slots_over_tls() {
    slots_are_shared("a_cluster_shares_its_slots_over_tls", GUARDED).await;
}

async fn slots_are_shared(test: &str, guard: Guard) {
    let Some(redis) = RedisCluster::start(test, guard).await else {
        return;
    };
    let [first, second, third] = redis.nodes() else {
        panic!("three nodes");
    };
    // Its slot is 866.
    assert_eq!(first.ask(&["SET", "hello", "x"]).await.text(), "OK");
    let moved = format!("MOVED 866 127.0.0.1:{}", redis.doors()[0].port());
    for other in [second, third] {
        let answer = other.ask(&["GET", "hello"]).await;
        assert_eq!(answer, Reply::Error(moved.clone()));
    }
    third.daemon().kill().await;
    eventually_does_within(LONG, "it is missed", async || {
        let answer = second.ask(&["CLUSTER", "INFO"]).await;
        answer.text().contains("cluster_state:fail")
    })
    .await;
    third.start_again().await;
    eventually_does_within(LONG, "all is well", async || redis.is_whole().await).await;
    assert_eq!(first.ask(&["GET", "hello"]).await.text(), "x");
}
