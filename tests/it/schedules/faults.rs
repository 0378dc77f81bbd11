//! What is done to nodes and to what is behind them, as a seed says.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tidegate_tests::backing::Daemon;
use tidegate_tests::history::Class;
use tidegate_tests::time::eventually_within;

use super::node::{LONG, Node};
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
    FailOver,
    StopBroker,
    PauseBroker,
    Grow,
    BadRecord,
    WrongPartition,
}

impl Fault {
    /// What a seed makes of it: one after the other, or two at once.
    pub(super) fn schedule(
        random: &mut fastrand::Rng,
        nodes: usize,
        (has_brokers, has_sentinels): (bool, bool),
    ) -> Vec<Vec<Self>> {
        let mut steps = Vec::new();
        if has_brokers {
            // What the brokers of this schedule are for.
            steps.push(vec![Self::StopBroker]);
        }
        if has_sentinels {
            steps.push(vec![Self::FailOver]);
        }
        for _ in 0..random.usize(3..=4) {
            let mut any = || match Self::any(random, nodes, has_brokers) {
                fault if !has_sentinels => fault,
                Self::CutRedis(_) | Self::HoldRedis(_) | Self::RestartRedis => Self::FailOver,
                fault => fault,
            };
            let (first, other) = (any(), any());
            let mut step = vec![first];
            if random.u8(..4) == 0 && other.whose() != step[0].whose() {
                step.push(other);
            }
            steps.push(step);
        }
        random.shuffle(&mut steps);
        if random.u8(..5) == 0 {
            steps.push(vec![Self::Grow]);
        }
        steps
    }

    /// Any of them; those that hurt all who use the brokers, only where nobody else does.
    fn any(random: &mut fastrand::Rng, nodes: usize, has_brokers: bool) -> Self {
        let node = random.usize(..nodes);
        match random.u8(..if has_brokers { 14 } else { 12 }) {
            0 | 1 => Self::Kill(node),
            2 => Self::Stop(node, random.bool()),
            3 => Self::Drain(node),
            4 | 5 => Self::CutKafka(node),
            6 => Self::HoldKafka(node),
            7 => Self::CutRedis(node),
            8 => Self::HoldRedis(node),
            9 => Self::RestartRedis,
            10 => Self::BadRecord,
            11 => Self::WrongPartition,
            12 => Self::StopBroker,
            _ => Self::PauseBroker,
        }
    }

    /// What it is done to: of two at once, each has its own.
    const fn whose(self) -> usize {
        match self {
            Self::Kill(node)
            | Self::Stop(node, _)
            | Self::Drain(node)
            | Self::CutKafka(node)
            | Self::HoldKafka(node)
            | Self::CutRedis(node)
            | Self::HoldRedis(node) => node,
            Self::RestartRedis | Self::FailOver => 10,
            Self::StopBroker | Self::PauseBroker => 11,
            Self::Grow | Self::BadRecord | Self::WrongPartition => 12,
        }
    }

    /// Does it, and mends it after a while.
    pub(super) async fn happens(self, world: &World, random: &mut fastrand::Rng) {
        let deed = world.does(self);
        match self {
            Self::Kill(node) => {
                world.nodes[node].kill().await;
                world.goes_on(MEANWHILE).await;
                world.starts(node).await;
            }
            Self::Drain(node) => {
                world.nodes[node].drain().await;
                world.starts(node).await;
            }
            Self::Stop(node, until_missed) => stop(world, node, until_missed).await,
            Self::CutKafka(node) => {
                world.share.door(node).cut();
                world.goes_on(MEANWHILE).await;
                world.share.door(node).mend();
            }
            Self::HoldKafka(node) => {
                world.share.door(node).hold();
                world.goes_on(MEANWHILE).await;
                world.share.door(node).mend();
            }
            Self::CutRedis(node) => {
                world.store.door(node).cut();
                world.goes_on(MEANWHILE).await;
                world.store.door(node).mend();
            }
            Self::HoldRedis(node) => {
                world.store.door(node).hold();
                world.goes_on(MEANWHILE).await;
                world.store.door(node).mend();
            }
            Self::RestartRedis => {
                end(world.store.alone().node().daemon(), random).await;
                world.goes_on(MEANWHILE).await;
                world.store.alone().node().start_again().await;
            }
            Self::FailOver => world.store.fails_over(world.goes_on(MEANWHILE)).await,
            Self::StopBroker => {
                end(world.share.brokers.kafka.daemon(), random).await;
                world.goes_on(MEANWHILE).await;
                world.share.brokers.kafka.start_again().await;
            }
            Self::PauseBroker => {
                world.share.brokers.kafka.daemon().pause();
                world.goes_on(MEANWHILE).await;
                world.share.brokers.kafka.daemon().resume();
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
        world.has_done(deed);
    }
}

/// Kills it, or has it end by itself.
async fn end(daemon: &Daemon, random: &mut fastrand::Rng) {
    if random.bool() {
        daemon.kill().await;
    } else {
        daemon.stop().await;
    }
}

async fn stop(world: &World, node: usize, until_missed: bool) {
    let missed = || {
        let said = world.nodes.iter().map(Node::said);
        said.map(|said| said.matches("a node is gone").count())
            .sum::<usize>()
    };
    let before = missed();
    world.nodes[node].stop();
    world.goes_on(MEANWHILE).await;
    if until_missed {
        let what = "the others have noticed that a node does not answer";
        eventually_within(LONG, what, || missed() > before).await;
    }
    world.nodes[node].go_on();
}

/// A record with a user's key that is not where that key belongs, in each partition but one.
async fn wrong_partition(world: &World, random: &mut fastrand::Rng) {
    let user = random.usize(..world.size.users);
    for partition in 0..3 {
        let push = world.begins(vec![user], Class::Resumable, (world.number(), 0), true);
        record(world, &push, Some(partition)).await;
    }
}
