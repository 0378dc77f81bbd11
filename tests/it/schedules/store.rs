//! The Redis of a schedule: one with a door for each node, or a master and its replica under Sentinels.

use tidegate_tests::backing::{Guard, Proxy, Redis, RedisSentinel};
use tidegate_tests::time::eventually_does_within;

use super::node::LONG;

/// Of so many seeds one has Sentinels: this one.
const SENTINELS: (u64, u64) = (5, 3);

/// What nodes know of each other by.
pub(super) enum Store {
    Alone(Redis),
    Watched(RedisSentinel),
}

impl Store {
    /// Whether a seed's has Sentinels.
    pub(super) const fn is_watched(seed: u64) -> bool {
        seed % SENTINELS.0 == SENTINELS.1
    }

    /// Starts that of a seed.
    pub(super) async fn start(test: &str, seed: u64, nodes: usize) -> Option<Self> {
        let guard = Guard::default();
        match Self::is_watched(seed) {
            true => Some(Self::Watched(RedisSentinel::start(test, guard).await?)),
            false => Some(Self::Alone(Redis::guarded(test, guard, nodes).await?)),
        }
    }

    /// The keys of `cluster.redis` by which a node finds it.
    pub(super) fn keys(&self, node: usize) -> String {
        match self {
            Self::Alone(redis) => format!("url: 'redis://{}'", redis.door(node).address()),
            Self::Watched(redis) => {
                let all = redis.sentinels().iter();
                let urls = all.map(|one| format!("'redis://{}'", one.address()));
                let urls = urls.collect::<Vec<_>>().join(", ");
                let name = redis.name();
                format!("url: [{urls}], mode: {{ sentinel: {{ master: {name} }} }}")
            }
        }
    }

    /// That without Sentinels.
    pub(super) fn alone(&self) -> &Redis {
        match self {
            Self::Alone(redis) => redis,
            Self::Watched(_) => panic!("this one has Sentinels"),
        }
    }

    /// A node's door of that.
    pub(super) fn door(&self, node: usize) -> &Proxy {
        self.alone().door(node)
    }

    /// Kills the master, and does `meanwhile`; then the replica is master, and the other one its replica.
    pub(super) async fn fails_over(&self, meanwhile: impl Future<Output = ()>) {
        let Self::Watched(redis) = self else {
            panic!("this one has no Sentinels");
        };
        let master = redis.master_by(0).await;
        let (old, new): (Vec<_>, Vec<_>) = redis
            .nodes()
            .iter()
            .partition(|one| one.address() == master);
        let (old, new) = (old[0], new[0]);
        old.daemon().kill().await;
        meanwhile.await;
        redis.has_master(new).await;
        old.start_again().await;
        // The Sentinels would tell it in ten seconds.
        let (ip, port) = (new.address().ip(), new.address().port());
        let follow = ["REPLICAOF", &ip.to_string(), &port.to_string()];
        assert_eq!(old.ask(&follow).await.text(), "OK");
        eventually_does_within(LONG, "there is a replica again", async || {
            let role = old.ask(&["INFO", "replication"]).await;
            role.text().contains("master_link_status:up")
        })
        .await;
    }
}
