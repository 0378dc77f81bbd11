//! Redis keeps what every store of a cluster promises, be it one, a master under Sentinels, or a Redis
//! Cluster; with and without TLS and passwords.
#![cfg(feature = "redis")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../../tidegate/tests/contract/store.rs"]
mod contract;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate::cluster::{NodeId, StateStore, StoreError};
use tidegate::config::Secret;
use tidegate::config::plan::{RedisMode, RedisPlan, RedisTls};
use tidegate_adapters::redis::RedisStore;
use tidegate_tests::backing::{Guard, Redis, RedisCluster, RedisSentinel};
use tidegate_tests::eventually_does;

const GUARDED: Guard = Guard {
    password: Some("hunter22"),
    tls: true,
};

fn plan(addresses: &[SocketAddr], mode: RedisMode, guard: Guard, authority: PathBuf) -> RedisPlan {
    let addresses = addresses.iter();
    let addresses = addresses.map(|one| (one.ip().to_string().into(), one.port()));
    RedisPlan {
        mode,
        password: guard.password.map(Secret::new),
        tls: guard.tls.then(|| RedisTls {
            ca: Some(authority),
            ..RedisTls::default()
        }),
        timeout: Duration::from_secs(5),
        ..RedisPlan::new(addresses.collect())
    }
}

fn sentinel(name: &str, guard: Guard) -> RedisMode {
    RedisMode::Sentinel {
        master: name.into(),
        username: None,
        password: guard.password.map(Secret::new),
    }
}

#[tokio::test]
async fn one_redis_keeps_the_promises_of_a_store() {
    for guard in [Guard::default(), GUARDED] {
        let Some(redis) = Redis::guarded("one_redis_keeps", guard, 0).await else {
            return;
        };
        let node = redis.node();
        let plan = plan(
            &[node.address()],
            RedisMode::Standalone,
            guard,
            node.authority(),
        );
        contract::judge(Arc::new(RedisStore::new(plan))).await;
    }
}

#[tokio::test]
async fn a_master_under_sentinels_keeps_them_too() {
    for guard in [Guard::default(), GUARDED] {
        let Some(redis) = RedisSentinel::start("a_master_under_sentinels", guard).await else {
            return;
        };
        let watchers: Vec<_> = redis.sentinels().iter().map(|one| one.address()).collect();
        let authority = redis.nodes()[0].authority();
        let plan = plan(&watchers, sentinel(redis.name(), guard), guard, authority);
        contract::judge(Arc::new(RedisStore::new(plan))).await;
    }
}

#[tokio::test]
async fn a_redis_cluster_keeps_them_too() {
    for guard in [Guard::default(), GUARDED] {
        let Some(redis) = RedisCluster::start("a_redis_cluster_keeps", guard).await else {
            return;
        };
        let doors: Vec<_> = redis.doors().iter().map(|door| door.address()).collect();
        let authority = redis.nodes()[0].authority();
        let plan = plan(&doors, RedisMode::Cluster, guard, authority);
        contract::judge(Arc::new(RedisStore::new(plan))).await;
    }
}

#[tokio::test]
async fn the_next_master_is_found() {
    let guard = Guard::default();
    let Some(redis) = RedisSentinel::start("the_next_master_is_found", guard).await else {
        return;
    };
    let watchers: Vec<_> = redis.sentinels().iter().map(|one| one.address()).collect();
    let plan = plan(
        &watchers,
        sentinel(redis.name(), guard),
        guard,
        PathBuf::new(),
    );
    let store = RedisStore::new(RedisPlan {
        timeout: Duration::from_millis(500),
        ..plan
    });
    let node = NodeId::new("a".into());
    let lease = Duration::from_secs(600);
    let mut inbox = store.open(&node).await.unwrap();
    store.renew(&node, lease, true).await.unwrap();
    redis.nodes()[0].daemon().kill().await;
    assert!(inbox.receive().await.is_none(), "its link is cut");
    assert_eq!(
        store.renew(&node, lease, true).await,
        Err(StoreError::Unreachable)
    );
    eventually_does("the next master has it", async || {
        store.open(&node).await.is_ok() && store.renew(&node, lease, true).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let guard = Guard {
        tls: false,
        ..GUARDED
    };
    let Some(redis) = Redis::guarded("who_is_not_let_in", guard, 0).await else {
        return;
    };
    let right = plan(
        &[redis.node().address()],
        RedisMode::Standalone,
        guard,
        PathBuf::new(),
    );
    let node = NodeId::new("a".into());
    for password in [None, Some(Secret::new("wrong"))] {
        let store = RedisStore::new(RedisPlan {
            password,
            ..right.clone()
        });
        let opened = store.open(&node).await;
        assert_eq!(opened.unwrap_err(), StoreError::Unreachable);
        let reason = store.trouble().unwrap().to_lowercase();
        assert!(reason.contains("auth"), "{reason}");
        assert!(!reason.contains("wrong"), "{reason}");
    }
    RedisStore::new(right).open(&node).await.unwrap();
}

/// What stands in Redis after its clock was set back, or where a host whose clock is behind has taken over.
#[tokio::test]
async fn a_clock_that_was_set_back_hides_nobody_who_is_gone() {
    let test = "a_clock_that_was_set_back";
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let node = redis.node();
    let plan = plan(
        &[node.address()],
        RedisMode::Standalone,
        Guard::default(),
        PathBuf::new(),
    );
    let store = RedisStore::new(plan);
    let [alive, gone] = ["alive", "gone"].map(|name| NodeId::new(name.into()));
    let (short, long) = (Duration::from_millis(300), Duration::from_secs(600));
    let _inbox = store.open(&alive).await.unwrap();
    store.renew(&alive, long, true).await.unwrap();
    store.renew(&gone, short, true).await.unwrap();
    let far = "99999999999999";
    let leases = "tidegate:{nodes}:leases";
    node.ask(&["ZADD", leases, far, &gone.to_string()]).await;
    node.ask(&["SET", "tidegate:{nodes}:renewed", far]).await;
    eventually_does("it is missed", async || {
        let standing = store.renew(&alive, long, false).await.unwrap();
        // One with a longer lease keeps it.
        assert!(standing.members.contains(&alive));
        standing.dead.contains(&gone)
    })
    .await;
}

#[tokio::test]
async fn numbers_of_an_emptied_redis_are_others() {
    let test = "numbers_of_an_emptied_redis";
    let Some(redis) = Redis::start(test).await else {
        return;
    };
    let node = redis.node();
    let plan = plan(
        &[node.address()],
        RedisMode::Standalone,
        Guard::default(),
        PathBuf::new(),
    );
    let store = RedisStore::new(plan);
    let _inbox = store.open(&NodeId::new("a".into())).await.unwrap();
    let mut epochs = std::collections::BTreeSet::new();
    for _ in 0..2 {
        assert_eq!(store.revoked(0, 10).await.unwrap().epoch, 0);
        let one = tidegate::cluster::Revocation {
            what: "j:x".into(),
            until: None,
            ends: None,
        };
        store.revoke(vec![one]).await.unwrap();
        epochs.insert(store.revoked(0, 10).await.unwrap().epoch);
        node.ask(&["FLUSHALL"]).await;
    }
    assert_eq!(epochs.len(), 2);
}
