//! Schedules, from their seeds to what is wrong.

use std::sync::Arc;

use serde_json::Value;
use tidegate_tests::history::whole;
use tokio::task::JoinSet;

use super::brokers::Brokers;
use super::clients::Receiver;
use super::faults::Fault;
use super::publishers;
use super::settle::{Watches, judge};
use super::world::{Phase, Size, World};

/// The variable that names one seed.
const ONE: &str = "TIDEGATE_SCHEDULE";

/// Runs the first seeds, or those that the environment wants.
pub(super) async fn all(test: &str, count: u64) {
    let one = std::env::var(ONE).ok().map(|seed| seed.parse().unwrap());
    let seeds: Vec<u64> = one.map_or_else(|| (1..=count).collect(), |seed| vec![seed]);
    for seed in seeds {
        let Some(brokers) = Brokers::steady(test, 9).await else {
            return;
        };
        let Some(told) = schedule(test, seed, brokers, 0).await else {
            return;
        };
        if let Err(words) = told {
            panic!("{words}\nTo run it alone: {ONE}={seed}");
        }
    }
}

/// One schedule. `None`: something is missing.
async fn schedule(
    test: &str,
    seed: u64,
    brokers: Arc<Brokers>,
    first_door: usize,
) -> Option<Result<(), String>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let size = Size {
        nodes: random.usize(2..=3),
        users: random.usize(2..=4),
        clients: random.usize(1..=3),
    };
    let world = Arc::new(World::open(test, seed, size, brokers, first_door).await?);
    let mut watches = Watches::open(&world).await;
    let mut clients = JoinSet::new();
    for user in 0..size.users {
        for _ in 0..size.clients {
            clients.spawn(Receiver::new(&world, user, random.fork()).live());
        }
    }
    let mut publishers = JoinSet::new();
    for _ in 0..2 {
        publishers.spawn(publishers::by_http(Arc::clone(&world), random.fork()));
    }
    publishers.spawn(publishers::by_kafka(Arc::clone(&world), random.fork()));
    world.goes_on(10).await;
    let mut may_repeat = false;
    for _ in 0..random.usize(3..=5) {
        let fault = Fault::any(&mut random, size.nodes, false);
        may_repeat |= fault.makes_redis_forget();
        fault.happens(&world, &mut random).await;
        world.goes_on(6).await;
    }
    world.phase.send_replace(Phase::Calm);
    publishers.join_all().await;
    let mut told = judge(&world, &mut watches, may_repeat).await;
    if told.is_ok() {
        world.phase.send_replace(Phase::Leave);
        told = judge(&world, &mut watches, may_repeat).await;
    }
    world.phase.send_replace(Phase::End);
    clients.join_all().await;
    if told.is_err() {
        keep(&world, watches.pushes()).unwrap();
    }
    Some(told)
}

/// For those who look for the reason: what each node said, what was noted of each user, and what stands in
/// the topic, in `target/tmp/schedules/<seed>-*`.
fn keep(world: &World, pushes: Vec<Value>) -> std::io::Result<()> {
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(3).unwrap().join("tmp/schedules");
    std::fs::create_dir_all(&folder)?;
    let file = |name: &str| folder.join(format!("{}-{name}", world.seed));
    for node in &world.nodes {
        std::fs::write(file(&format!("{}.log", node.name)), node.said())?;
    }
    let (history, notes) = (world.history(), world.notes());
    for user in 0..world.size.users {
        let told = whole(&history, user, &notes);
        std::fs::write(file(&format!("u{user}.txt")), told)?;
    }
    let pushes: Vec<String> = pushes.iter().map(Value::to_string).collect();
    std::fs::write(file("topic.txt"), pushes.join("\n"))
}
