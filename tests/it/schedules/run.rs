//! Schedules, from their seeds to what is wrong.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use serde_json::Value;
use tidegate_tests::history::whole;
use tokio::task::{JoinSet, LocalSet, spawn_local};

use super::brokers::{AT_ONCE, MOST_NODES, Share};
use super::clients::Receiver;
use super::faults::Fault;
use super::publishers;
use super::settle::{Watches, judge};
use super::store::Store;
use super::world::{Phase, Size, World};

/// The variable that names one seed.
const ONE: &str = "TIDEGATE_SCHEDULE";
/// That says how many there are.
const MANY: &str = "TIDEGATE_SCHEDULES";
/// That names a file in which a line is left of each.
const LOG: &str = "TIDEGATE_SCHEDULES_LOG";
/// Of so many seeds one stops its brokers.
const STOPS_BROKERS: u64 = 5;

/// Runs the first seeds, or those that the environment wants.
pub(super) async fn all(test: &str, count: u64) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds: Vec<u64> = match (number(ONE), number(MANY)) {
        (Some(seed), _) => vec![seed],
        (None, many) => (1..=many.unwrap_or(count)).collect(),
    };
    let run = Run {
        test: test.to_owned(),
        seeds,
        next: Cell::new(0),
        wrong: RefCell::default(),
    };
    let run = std::rc::Rc::new(run);
    let workers = (0..AT_ONCE).map(|worker| {
        let run = std::rc::Rc::clone(&run);
        async move { run.work(worker).await }
    });
    LocalSet::new().run_until(join_all(workers)).await;
    let wrong = run.wrong.borrow();
    let names: Vec<String> = wrong
        .iter()
        .map(|(seed, _)| format!("{ONE}={seed}"))
        .collect();
    if let Some((seed, words)) = wrong.first() {
        panic!(
            "seed {seed}: {words}\nEach of these runs alone: {}",
            names.join(", ")
        );
    }
}

struct Run {
    test: String,
    seeds: Vec<u64>,
    next: Cell<usize>,
    wrong: RefCell<Vec<(u64, String)>>,
}

impl Run {
    /// Takes one seed after the other.
    async fn work(&self, worker: usize) {
        while let Some(seed) = self
            .seeds
            .get(self.next.replace(self.next.get() + 1))
            .copied()
        {
            let test = self.test.clone();
            let begun = Instant::now();
            // A wait that ends in vain panics, and the others go on.
            let told = spawn_local(async move { schedule(&test, seed, worker).await }).await;
            let told = match told {
                Ok(None) => return,
                Ok(Some(told)) => told,
                Err(panicked) => Err(format!("it came to no end: {panicked}")),
            };
            let seconds = begun.elapsed().as_secs();
            let line = match &told {
                Ok(words) => format!("seed {seed}: right after {seconds} s: {words}"),
                Err(words) => format!("seed {seed}: WRONG after {seconds} s: {words}"),
            };
            log(&line);
            if let Err(words) = told {
                self.wrong.borrow_mut().push((seed, words));
            }
        }
    }
}

fn log(line: &str) {
    if let Some(path) = std::env::var_os(LOG) {
        let mut file = std::fs::File::options();
        let mut file = file.append(true).create(true).open(path).unwrap();
        writeln!(file, "{line}").unwrap();
    }
}

/// One schedule: what came of it, or what is wrong. `None`: something is missing.
async fn schedule(test: &str, seed: u64, worker: usize) -> Option<Result<String, String>> {
    let mut random = fastrand::Rng::with_seed(seed);
    let share = match seed % STOPS_BROKERS {
        0 => Share::alone(test).await?,
        _ => Share::steady(test, worker).await?,
    };
    let size = Size {
        nodes: random.usize(2..=MOST_NODES),
        users: random.usize(2..=4),
        clients: random.usize(1..=3),
    };
    let has = (share.is_alone(), Store::is_watched(seed));
    let steps = Fault::schedule(&mut random, size.nodes, has);
    let world = Arc::new(World::open(test, seed, size, share).await?);
    let mut watches = Watches::open(&world).await;
    let clients = enter(&world, &mut random);
    let mut publishers = JoinSet::new();
    for _ in 0..2 {
        publishers.spawn(publishers::by_http(Arc::clone(&world), random.fork()));
    }
    publishers.spawn(publishers::by_kafka(Arc::clone(&world), random.fork()));
    world.goes_on(10).await;
    for step in &steps {
        let each = step.iter().map(|fault| {
            let mut random = random.fork();
            let world = &world;
            async move { fault.happens(world, &mut random).await }
        });
        join_all(each).await;
        world.goes_on(6).await;
    }
    world.phase.send_replace(Phase::Calm);
    while let Some(ended) = publishers.join_next().await {
        ended.unwrap();
    }
    let mut told = judge(&world, &mut watches).await;
    if told.is_ok() {
        world.phase.send_replace(Phase::Leave);
        told = judge(&world, &mut watches).await;
    }
    world.phase.send_replace(Phase::End);
    clients.join_all().await;
    if told.is_ok() {
        // Nobody is there any more.
        told = judge(&world, &mut watches).await;
    }
    if told.is_err() {
        keep(&world, &mut watches).unwrap();
    }
    Some(
        told.map(|()| summary(&world, &steps))
            .map_err(|words| format!("{steps:?}\n{words}")),
    )
}

fn enter(world: &Arc<World>, random: &mut fastrand::Rng) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for user in 0..world.size.users {
        for _ in 0..world.size.clients {
            clients.spawn(Receiver::new(world, user, random.fork()).live());
        }
    }
    clients
}

/// What there was of it, so that nobody takes nothing for something.
fn summary(world: &World, steps: &[Vec<Fault>]) -> String {
    use tidegate_tests::history::Begin;
    let history = world.history();
    let sockets = || history.lives.iter().flat_map(|life| &life.sockets);
    let begun = |begin| sockets().filter(|socket| socket.begin == begin).count();
    let acked = history
        .published
        .values()
        .filter(|push| push.acked.is_some());
    let unsure = history.published.values().filter(|push| !push.is_ordered);
    let lost = || sockets().filter(|socket| socket.begin == Begin::Lost);
    let mut text = String::new();
    let _ = write!(
        text,
        "{} nodes, {} pushes ({} unsure), {} came; {} sockets recovered, {} told of a loss ({} had no cursor); {steps:?}",
        world.size.nodes,
        acked.count(),
        unsure.count(),
        sockets().map(|socket| socket.got.len()).sum::<usize>(),
        begun(Begin::Recovered),
        lost().count(),
        lost().filter(|socket| !socket.had_cursor).count(),
    );
    text
}

/// For those who look for the reason: what each node said, what was noted of each user, and what stands in
/// the topic, in `target/tmp/schedules/<seed>-*`.
fn keep(world: &World, watches: &mut Watches) -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("schedules");
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
    let presence = watches.presence(world, &history);
    let doubts = presence.doubts.all.iter().map(|one| format!("{one:?}"));
    let told = presence.of_sessions.iter().chain(&presence.of_users);
    let told: Vec<String> = told.map(|one| format!("{one:?}")).chain(doubts).collect();
    std::fs::write(file("told.txt"), told.join("\n"))?;
    let pushes: Vec<String> = watches.pushes().iter().map(Value::to_string).collect();
    std::fs::write(file("topic.txt"), pushes.join("\n"))
}
