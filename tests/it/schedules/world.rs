//! What a schedule takes place in: nodes, what is behind them, and what is noted of all of it.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tidegate_tests::backing::{Party, Registry};
use tidegate_tests::history::{Class, Clock, History, Life, Moment, Publish, Start};
use tidegate_tests::time::eventually_within;
use tidegate_tests::{Mint, Request, tools};
use tokio::sync::watch;

use super::brokers::Share;
use super::doubts;
use super::faults::Fault;
use super::node::{LONG, Node};
use super::settings::{Topics, handshake, yaml};
use super::store::Store;

/// What all who take part are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    /// Clients come and go, publishers publish.
    Faults,
    /// Nobody goes by itself any more, and nothing new is published.
    Calm,
    /// Some go for good.
    Leave,
    /// All go.
    End,
}

/// How big a schedule is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) nodes: usize,
    pub(super) users: usize,
    /// Clients of each user.
    pub(super) clients: usize,
}

/// The world of one schedule.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) size: Size,
    pub(super) clock: Clock,
    pub(super) nodes: Vec<Node>,
    pub(super) share: Share,
    pub(super) store: Store,
    pub(super) topics: Topics,
    pub(super) binary: PathBuf,
    key_schema: u32,
    pub(super) phase: watch::Sender<Phase>,
    /// How often a publisher was answered, or gave up.
    pub(super) tries: AtomicU64,
    handshakes: Vec<Request>,
    noted: Mutex<Noted>,
    next: AtomicU64,
}

#[derive(Default)]
struct Noted {
    history: History,
    /// What was done to nodes and what is behind them.
    faults: Vec<(Moment, String)>,
    deeds: Vec<Deed>,
}

/// What was done, from when to when, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed {
    pub(super) fault: Fault,
    pub(super) from: i64,
    pub(super) to: Option<i64>,
}

impl World {
    /// Starts all of it; `None`, said aloud: something is missing.
    pub(super) async fn open(test: &str, seed: u64, size: Size, share: Share) -> Option<Self> {
        let binary = tools::tidegate_with(test, "kafka")?;
        let registry = Registry::shared(test).await?;
        let store = Store::start(test, seed, size.nodes).await?;
        let mint = Mint::open(test)?;
        let handshakes = (0..size.users).map(|user| handshake(&mint, user)).collect();
        let topics = Topics::new(seed);
        for topic in [
            &topics.push,
            &topics.connect,
            &topics.disconnect,
            &topics.sessions,
            &topics.dead,
        ] {
            share.brokers.party.create(topic, 3).await;
        }
        let nodes = (0..size.nodes).map(|number| {
            let name = format!("n{number}");
            let door = share.door(number).address().to_string();
            let redis = store.keys(number);
            let yaml = yaml(&name, &topics, (&door, &redis, &registry.url()), seed);
            Node::new(&name, &yaml)
        });
        let world = Self {
            seed,
            size,
            clock: Clock::default(),
            nodes: nodes.collect(),
            store,
            key_schema: registry
                .register(&format!("{}-key", topics.push), "\"string\"")
                .await,
            topics,
            binary,
            phase: watch::Sender::new(Phase::Faults),
            tries: AtomicU64::new(0),
            handshakes,
            noted: Mutex::default(),
            next: AtomicU64::new(1),
            share,
        };
        world.register().await;
        futures_util::future::join_all(world.nodes.iter().map(|node| node.start(&world.binary)))
            .await;
        world.is_whole().await;
        Some(world)
    }

    /// Has the schemas of values registered before anybody writes by them: two who do so at once may be
    /// refused.
    async fn register(&self) {
        let value = json!({"username": "nobody", "baseUrl": "", "uri": "", "body": "0"});
        let topic = &self.topics.push;
        let request =
            json!({"topic": topic, "record": "WebSocketEvent", "key": "nobody", "value": value});
        while let Err(error) = self.party().tries("publish", request.clone()).await {
            assert!(error.contains("409"), "{error}");
        }
    }

    /// A user's key, as all producers write it who register the schema of texts as Java's do. Others may
    /// be given another number for it, and then their keys are others, in other partitions.
    pub(super) fn key(&self, user: &str) -> String {
        let length = u8::try_from(2 * user.len()).unwrap();
        let bytes = [
            &[0],
            &self.key_schema.to_be_bytes()[..],
            &[length],
            user.as_bytes(),
        ]
        .concat();
        STANDARD.encode(bytes)
    }

    /// Waits until all nodes are one cluster.
    pub(super) async fn is_whole(&self) {
        for node in &self.nodes {
            let what = format!("node {} is in the cluster", node.name);
            tidegate_tests::time::eventually_does_within(LONG, &what, async || {
                node.is_connected().await
            })
            .await;
        }
    }

    pub(super) fn party(&self) -> &Party {
        &self.share.brokers.party
    }

    pub(super) fn handshake(&self, user: usize) -> &Request {
        &self.handshakes[user]
    }

    /// A node to go to; now and then one that does not answer.
    pub(super) fn any_node(&self, random: &mut fastrand::Rng) -> usize {
        let count = self.nodes.len();
        let first = random.usize(..count);
        let is_up = |number: &usize| self.nodes[*number].is_up();
        let found = (first..first + count)
            .map(|number| number % count)
            .find(is_up);
        match random.u8(..10) {
            0 => first,
            _ => found.unwrap_or(first),
        }
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes what is about to be done.
    pub(super) fn note(&self, words: impl Into<String>) {
        let mut noted = self.noted();
        let at = self.clock.tick();
        noted.faults.push((at, words.into()));
    }

    pub(super) fn notes(&self) -> Vec<(Moment, String)> {
        self.noted().faults.clone()
    }

    /// Something is about to be done; its number.
    pub(super) fn does(&self, fault: Fault) -> usize {
        self.note(format!("{fault:?}"));
        let deeds = &mut self.noted().deeds;
        deeds.push(Deed {
            fault,
            from: wall(),
            to: None,
        });
        deeds.len() - 1
    }

    /// That is over.
    pub(super) fn has_done(&self, number: usize) {
        let deed = {
            let mut noted = self.noted();
            noted.deeds[number].to = Some(wall());
            noted.deeds[number]
        };
        self.note(format!("{:?} is over", deed.fault));
    }

    pub(super) fn deeds(&self) -> Vec<Deed> {
        self.noted().deeds.clone()
    }

    /// A number for something new.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A push that is about to be published.
    pub(super) fn begins(
        &self,
        users: Vec<usize>,
        class: Class,
        request: (u64, usize),
        is_astray: bool,
    ) -> Publish {
        let number = self.number();
        let push = Publish {
            number,
            word: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16,
            users,
            class,
            request,
            begun: self.clock.tick(),
            acked: None,
            // Published again and again it may come at any time.
            is_ordered: !is_astray,
            is_astray,
        };
        self.noted().history.published.insert(number, push.clone());
        push
    }

    /// Nobody knows what became of it: it may come at any time.
    pub(super) fn is_unsure(&self, numbers: &[u64]) {
        self.change(numbers, |push| push.is_ordered = false);
    }

    pub(super) fn is_acked(&self, numbers: &[u64]) {
        let at = self.clock.tick();
        // Asked again, it is answered again.
        self.change(numbers, |push| _ = push.acked.get_or_insert(at));
    }

    fn change(&self, numbers: &[u64], change: impl Fn(&mut Publish)) {
        let mut noted = self.noted();
        for number in numbers {
            noted
                .history
                .published
                .get_mut(number)
                .into_iter()
                .for_each(&change);
        }
    }

    /// A client; its number.
    pub(super) fn enters(&self, user: usize) -> usize {
        let lives = &mut self.noted().history.lives;
        lives.push(Life {
            user,
            sockets: Vec::new(),
        });
        lives.len() - 1
    }

    /// Does something with what is noted of a client.
    pub(super) fn life<T>(&self, number: usize, change: impl FnOnce(&mut Life) -> T) -> T {
        change(&mut self.noted().history.lives[number])
    }

    pub(super) fn grows(&self) {
        let at = self.clock.tick();
        self.noted().history.grown = Some(at);
    }

    /// Starts a node that had ended.
    pub(super) async fn starts(&self, node: usize) {
        let from = self.clock.tick();
        let start = Start {
            node,
            from,
            to: None,
        };
        let number = {
            let starts = &mut self.noted().history.starts;
            starts.push(start);
            starts.len() - 1
        };
        self.nodes[node].start(&self.binary).await;
        let to = self.clock.tick();
        self.noted().history.starts[number].to = Some(to);
    }

    pub(super) fn history(&self) -> History {
        let mut history = self.noted().history.clone();
        history.excuses = doubts::excuses(self);
        history
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Waits until publishers have tried so much more often.
    pub(super) async fn goes_on(&self, tries: u64) {
        let until = self.tries.load(Ordering::Relaxed) + tries;
        eventually_within(LONG, "publishers go on", || {
            self.tries.load(Ordering::Relaxed) >= until
        })
        .await;
    }
}

/// Now, by the clock on the wall, as nodes tell it: milliseconds since 1970.
pub(super) fn wall() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
