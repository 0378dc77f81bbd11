//! What is done to nodes and to what is behind them, as a seed says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tidegate_tests::history::Class;
use tidegate_tests::time::eventually_does_within;

use super::node::LONG;
use super::publishers::record;
use super::world::World;

/// How often publishers try while something is wrong.
const MEANWHILE: u64 = 12;

/// Something that goes wrong, and is right again in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Kill(usize),
    /// For a moment, or until the others have noticed.
    Stop(usize, bool),
    Drain(usize),
    CutKafka(usize),
    HoldKafka(usize),
    CutRedis(usize),
    HoldRedis(usize),
    RestartRedis,
    StopBroker,
    PauseBroker,
    Grow,
    BadRecord,
    WrongPartition,
}

impl Fault {
    /// Any of them; those that hurt all who use the brokers, only where nobody else does.
    pub(super) fn any(random: &mut fastrand::Rng, nodes: usize, has_brokers: bool) -> Self {
        let node = random.usize(..nodes);
        match random.u8(..if has_brokers { 14 } else { 11 }) {
            0 | 1 => Self::Kill(node),
            2 => Self::Stop(node, random.bool()),
            3 => Self::Drain(node),
            4 => Self::CutKafka(node),
            5 => Self::HoldKafka(node),
            6 => Self::CutRedis(node),
            7 => Self::HoldRedis(node),
            8 => Self::RestartRedis,
            9 => Self::BadRecord,
            10 => Self::WrongPartition,
            11 | 12 => Self::StopBroker,
            _ => Self::PauseBroker,
        }
    }

    /// Whether after it users may be told as online who were.
    pub(super) const fn makes_redis_forget(self) -> bool {
        matches!(
            self,
            Self::RestartRedis | Self::CutRedis(_) | Self::HoldRedis(_) | Self::Stop(..)
        )
    }

    /// Does it, and mends it after a while.
    pub(super) async fn happens(self, world: &World, random: &mut fastrand::Rng) {
        world.note(format!("{self:?}"));
        match self {
            Self::Kill(node) => {
                world.nodes[node].kill().await;
                world.goes_on(MEANWHILE).await;
                world.nodes[node].start(&world.binary).await;
            }
            Self::Drain(node) => {
                world.nodes[node].drain().await;
                world.nodes[node].start(&world.binary).await;
            }
            Self::Stop(node, until_missed) => stop(world, node, until_missed).await,
            Self::CutKafka(node) => {
                world.door(node).cut();
                world.goes_on(MEANWHILE).await;
                world.door(node).mend();
            }
            Self::HoldKafka(node) => {
                world.door(node).hold();
                world.goes_on(MEANWHILE).await;
                world.door(node).mend();
            }
            Self::CutRedis(node) => {
                world.redis.door(node).cut();
                world.goes_on(MEANWHILE).await;
                world.redis.door(node).mend();
            }
            Self::HoldRedis(node) => {
                world.redis.door(node).hold();
                world.goes_on(MEANWHILE).await;
                world.redis.door(node).mend();
            }
            Self::RestartRedis => {
                let daemon = world.redis.node().daemon();
                if random.bool() {
                    daemon.kill().await
                } else {
                    daemon.stop().await
                }
                world.goes_on(MEANWHILE).await;
                world.redis.node().start_again().await;
            }
            Self::StopBroker => {
                let daemon = world.brokers.kafka.daemon();
                if random.bool() {
                    daemon.kill().await
                } else {
                    daemon.stop().await
                }
                world.goes_on(MEANWHILE).await;
                world.brokers.kafka.start_again().await;
            }
            Self::PauseBroker => {
                world.brokers.kafka.daemon().pause();
                world.goes_on(MEANWHILE).await;
                world.brokers.kafka.daemon().resume();
            }
            Self::Grow => {
                world.grows();
                world.party().grow(&world.topics.push, 5).await;
            }
            Self::BadRecord => {
                let value = STANDARD.encode([0, 0, 0, 0, 1, 0xff, 0xff, 0xff]);
                let request = json!({"topic": world.topics.push, "value": value});
                world.party().tries("publish_bytes", request).await.ok();
            }
            Self::WrongPartition => wrong_partition(world, random).await,
        }
        world.note(format!("{self:?} is over"));
    }
}

async fn stop(world: &World, node: usize, until_missed: bool) {
    world.nodes[node].stop();
    world.goes_on(MEANWHILE).await;
    if until_missed {
        let other = &world.nodes[(node + 1) % world.nodes.len()];
        let what = "the others have noticed that a node does not answer";
        eventually_does_within(LONG, what, async || {
            // Who cannot say so does not count: another fault may be at work.
            let said = other.said();
            !other.is_up() || said.lines().any(|line| line.contains("a node is gone"))
        })
        .await;
    }
    world.nodes[node].go_on();
}

/// A record with a user's key that is not where that key belongs, in each partition but one.
async fn wrong_partition(world: &World, random: &mut fastrand::Rng) {
    let user = random.usize(..world.size.users);
    for partition in 0..3 {
        let push = world.begins(vec![user], Class::Resumable, (world.number(), 0), false);
        record(world, &push, Some(partition)).await;
    }
}
