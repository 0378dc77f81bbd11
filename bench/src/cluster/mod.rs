//! What it takes to reach a user who is on one of several nodes: how long, and how much CPU of each node, over
//! Redis and over Kafka, with one to three nodes; and how long the same takes without a gateway.
//!
//! Everything is started here: brokers, Redis, and all gateways at once, so that a round has them all one
//! after the other. The user is on the first node of each cluster.

mod arrivals;
mod kafka;
mod listener;
mod nodes;
mod pace;
mod redis;
mod rounds;

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tidegate_tests::backing::{Kafka, Redis, Registry};
use tokio::runtime::Builder;

use self::arrivals::Arrivals;
use self::kafka::Topic;
use self::listener::Session;
use self::nodes::{Bus, Node, Wanted};
use self::redis::Pair;
use self::rounds::Rounds;

/// Who is pushed to: the user of this number.
const USER: usize = 0;

/// Measures with gateways of this binary, which has both adapters; prints a line of JSON for each figure of
/// each round. `pushes` are those of each way: so many at a fixed rate, and as many in bursts. Clusters are
/// `BUS=NODES`.
pub(crate) fn run(
    gateway: &Path,
    [rounds, pushes]: [usize; 2],
    clusters: &[&str],
) -> Result<(), String> {
    let named = clusters.iter().map(|word| {
        let (bus, nodes) = word.split_once('=').ok_or("BUS=NODES is due")?;
        let bus = Bus::named(bus).ok_or_else(|| format!("no bus is called {bus}"))?;
        Ok((bus, nodes.parse().map_err(words)?))
    });
    let named: Vec<(Bus, usize)> = named.collect::<Result<_, String>>()?;
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(words)?;
    let behind = runtime.block_on(Behind::start())?;
    let mut clusters = Vec::new();
    for (bus, count) in named {
        clusters.push(runtime.block_on(behind.cluster(gateway, bus, count))?);
    }
    let pair = Pair::open(behind.redis.node().address())?;
    let mut rounds_of = Rounds::new(clusters, pair, pushes)?;
    for round in 0..=rounds {
        rounds_of.measure(round > 0)?;
    }
    Ok(())
}

/// What stands behind the gateways.
struct Behind {
    kafka: Kafka,
    registry: Registry,
    redis: Redis,
}

/// Gateways that are one to their users.
struct Cluster {
    bus: Bus,
    nodes: Vec<Node>,
    /// What the user's session was told.
    told: Arc<Arrivals>,
    /// There where pushes go over Kafka.
    topic: Option<Topic>,
}

impl Behind {
    async fn start() -> Result<Self, String> {
        let missing = || words("Kafka, the registry or Redis is missing");
        Ok(Self {
            kafka: Kafka::start("the bench", 0).await.ok_or_else(missing)?,
            registry: Registry::start("the bench").await.ok_or_else(missing)?,
            redis: Redis::start("the bench").await.ok_or_else(missing)?,
        })
    }

    async fn cluster(&self, binary: &Path, bus: Bus, count: usize) -> Result<Cluster, String> {
        let (brokers, registry) = (self.kafka.brokers(), self.registry.url());
        let wanted = Wanted {
            binary,
            bus,
            brokers: &brokers,
            registry: &registry,
            redis: self.redis.node().address(),
            prefix: &format!("{}-{count}", bus.name()),
        };
        let topics = wanted.topics();
        if bus.has_kafka() {
            kafka::create(&brokers, &topics.each_ref().map(|topic| &**topic)).await?;
        }
        let mut nodes = Vec::new();
        for number in 0..count {
            nodes.push(Node::start(&wanted, &format!("node-{number}")).await?);
        }
        let first = nodes.first().ok_or("a cluster has nodes")?;
        // It registers the schemas.
        first
            .publisher
            .push("{\"user\":\"nobody\",\"event\":\"e\"}")?;
        let user = format!("user-{USER}");
        let topic = match bus.has_kafka() {
            true => Some(Topic::open(&brokers, &topics[0], &self.registry, &user).await?),
            false => None,
        };
        let told = Arc::<Arrivals>::default();
        Session::open(first.public, USER)?.note(Arc::clone(&told));
        Ok(Cluster {
            bus,
            nodes,
            told,
            topic,
        })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "real durations are measured; there is no tokio clock here"
)]
fn now() -> Instant {
    Instant::now()
}

fn words(error: impl Display) -> String {
    error.to_string()
}
