use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use futures_util::future::BoxFuture;
use tokio::sync::watch;
use tokio::time::{advance, interval};

use super::*;
use crate::bus::{BusError, EventBus, MemoryBus, Subscription, Topics};
use crate::cluster::{Change, Entry, MemoryStore, StateStore as _};
use crate::config::plan::{BusPlan, ClusterPlan};
use crate::handler::Handlers;
use crate::presence::Teller;
use crate::session::testing::plan_with;
use crate::tls::Loaded;
use crate::worker::Core;

const LEASE: Duration = Duration::from_secs(30);

/// Keeps what it takes; what it does not take it refuses, or it waits.
#[derive(Debug)]
struct Bus {
    refused: Mutex<Option<(Arc<str>, BusError)>>,
    is_shut: watch::Sender<bool>,
    taken: Mutex<Vec<Event>>,
    busy: AtomicUsize,
    most: AtomicUsize,
}

impl EventBus for Bus {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            let busy = self.busy.fetch_add(1, Ordering::Relaxed) + 1;
            self.most.fetch_max(busy, Ordering::Relaxed);
            let mut is_shut = self.is_shut.subscribe();
            is_shut.wait_for(|is_shut| !is_shut).await.unwrap();
            self.busy.fetch_sub(1, Ordering::Relaxed);
            match &*self.refused.lock().unwrap() {
                Some((topic, error)) if *topic == event.topic => return Err(*error),
                _ => {}
            }
            self.taken().push(event);
            Ok(())
        })
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        MemoryBus::default().subscribe_to(topics)
    }
}

impl Bus {
    fn new(is_shut: bool, refused: Option<(Arc<str>, BusError)>) -> Arc<Self> {
        Arc::new(Self {
            refused: Mutex::new(refused),
            is_shut: watch::Sender::new(is_shut),
            taken: Mutex::default(),
            busy: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
        })
    }

    fn taken(&self) -> MutexGuard<'_, Vec<Event>> {
        self.taken.lock().unwrap()
    }

    fn count(&self, topic: &str) -> usize {
        let taken = self.taken();
        taken.iter().filter(|event| *event.topic == *topic).count()
    }

    /// Events of sessions and of users; each was taken once.
    fn assert_told_once(&self, sessions: usize, users: usize) {
        let Topics {
            sessions: closed,
            user_disconnect: offline,
            ..
        } = Topics::default();
        assert_eq!(
            (self.count(&closed), self.count(&offline)),
            (sessions, users)
        );
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for event in &*self.taken() {
            *times.entry(event.id.to_string()).or_default() += 1;
        }
        assert_eq!(times.len(), sessions + users);
    }
}

fn survivor(store: &Arc<MemoryStore>, bus: &Arc<Bus>, name: &str) -> (Arc<Cluster>, Wired) {
    let plan = ClusterPlan {
        lease: LEASE,
        ..ClusterPlan::default()
    };
    let store = Arc::clone(store);
    let cluster = Arc::new(Cluster::new(store, &name.into(), &plan));
    let teller = Teller::new(
        Arc::clone(bus) as _,
        &BusPlan::default(),
        Some(Arc::clone(&cluster)),
    );
    let teller = Arc::new(teller);
    let core = Core::build(
        &plan_with("", ""),
        &Loaded::default(),
        &Handlers::default(),
        Arc::clone(&teller),
    );
    let wired = Wired {
        core: Arc::new(core.unwrap()),
        teller,
        carrier: None,
    };
    (cluster, wired)
}

/// A node that is gone, and had so many sessions of so many users.
async fn gone(store: &MemoryStore, name: &str, sessions: usize, users: usize) -> NodeId {
    let dead = NodeId::new(name.into());
    store.renew(&dead, LEASE, true).await.unwrap();
    let all = (0..sessions).map(|number| {
        let user = format!("{name} {}", number % users);
        let facts = format!(
            r#"{{"node":"{name}","user":"{user}","route":"r","client":"127.0.0.1","opened":1}}"#
        );
        Change::Enter {
            entry: Entry {
                session: format!("{name} {number}").into(),
                user: Some(user.into()),
                facts: facts.into(),
            },
            since: UNIX_EPOCH,
        }
    });
    store.record(&dead, all.collect()).await.unwrap();
    store.leave(&dead).await.unwrap();
    dead
}

/// What goes on as long as a node is linked: renewals tell of the dead.
async fn linked((cluster, wired): &(Arc<Cluster>, Wired)) {
    let renewals = async {
        let mut renewal = interval(LEASE / 3);
        loop {
            renewal.tick().await;
            let id = cluster.id();
            let standing = cluster.store.renew(&id, LEASE, true).await.unwrap();
            cluster.set_dead(standing.dead);
        }
    };
    tokio::select! {
        never = cluster.survive(wired) => panic!("{never:?}"),
        () = renewals => {}
    }
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < 100 * LEASE, "never {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

async fn is_forgotten(store: &MemoryStore, dead: &NodeId) -> bool {
    let members = store.members().await.unwrap();
    members.iter().all(|member| member.node != *dead)
}

#[test]
fn a_node_is_buried_once_whatever_a_late_renewal_tells() {
    let [one, two] = ["a", "b"].map(|name| NodeId::new(name.into()));
    let mut buried = HashSet::from([one.clone()]);
    let first = unburied(vec![one, two.clone()], &mut buried);
    assert_eq!(first, std::slice::from_ref(&two));
    assert_eq!(unburied(vec![two.clone()], &mut buried), [two]);
    assert!(buried.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_not_there_holds_up_no_other() {
    let store = Arc::new(MemoryStore::default());
    let topics = Topics::default();
    let refused = (Arc::clone(&topics.sessions), BusError::NoTopic);
    let bus = Bus::new(false, Some(refused));
    let dead = gone(&store, "b", 1000, 700).await;
    let one = survivor(&store, &bus, "a");
    let judge = async {
        eventually("offline", async || {
            bus.count(&topics.user_disconnect) == 700
        })
        .await;
        assert_eq!(store.online().await.unwrap(), 0);
        assert_eq!(bus.count(&topics.sessions), 0);
        // What is not told is kept, and another one that dies does not wait for it.
        assert_eq!(store.orphans(&dead, "", 2000).await.unwrap().len(), 1000);
        gone(&store, "c", 1, 1).await;
        eventually("offline", async || {
            bus.count(&topics.user_disconnect) == 701
        })
        .await;
        *bus.refused.lock().unwrap() = None;
        eventually("told", async || is_forgotten(&store, &dead).await).await;
        eventually("told", async || bus.count(&topics.sessions) == 1001).await;
    };
    tokio::select! {
        () = linked(&one) => {}
        () = judge => {}
    }
    bus.assert_told_once(1001, 701);
    // Many at once, but not all.
    let most = bus.most.load(Ordering::Relaxed);
    assert!((PAGE / 2..=2 * PAGE).contains(&most), "{most}");
    // Those of a user one behind the other.
    let mut last: BTreeMap<_, _> = BTreeMap::new();
    for event in bus.taken().iter() {
        let before = last.insert((event.topic.clone(), event.key.clone()), event.time);
        assert!(before.is_none_or(|before| before <= event.time));
    }
}

#[tokio::test(start_paused = true)]
async fn what_no_bus_takes_is_given_up() {
    let store = Arc::new(MemoryStore::default());
    let refused = (Topics::default().sessions, BusError::TooBig);
    let bus = Bus::new(false, Some(refused));
    let dead = gone(&store, "b", 10, 10).await;
    let one = survivor(&store, &bus, "a");
    tokio::select! {
        () = linked(&one) => {}
        () = eventually("over", async || is_forgotten(&store, &dead).await) => {}
    }
    bus.assert_told_once(0, 10);
}

/// Whoever has the claim keeps it for as long as that takes.
#[tokio::test(start_paused = true)]
async fn of_two_one_tells_however_long_the_bus_is_away() {
    let store = Arc::new(MemoryStore::default());
    let bus = Bus::new(true, None);
    let dead = gone(&store, "b", 1000, 700).await;
    let [one, two] = ["a", "c"].map(|name| survivor(&store, &bus, name));
    let judge = async {
        eventually("counted out", async || store.online().await.unwrap() == 0).await;
        sleep(5 * LEASE).await;
        assert_eq!(bus.taken().len(), 0);
        bus.is_shut.send_replace(false);
        eventually("told", async || is_forgotten(&store, &dead).await).await;
        // Whoever else has something under way has it taken by now.
        sleep(5 * LEASE).await;
    };
    tokio::select! {
        () = linked(&one) => {}
        () = linked(&two) => {}
        () = judge => {}
    }
    bus.assert_told_once(1000, 700);
}

/// The bus is back before it knows of its claim.
#[tokio::test(start_paused = true)]
async fn who_was_stopped_tells_no_more_before_it_knows_that_it_may() {
    let store = Arc::new(MemoryStore::default());
    let bus = Bus::new(true, None);
    let dead = gone(&store, "b", 600, 600).await;
    let (cluster, wired) = survivor(&store, &bus, "a");
    let judge = async {
        cluster.set_dead(vec![dead.clone()]);
        eventually("under way", async || bus.busy.load(Ordering::Relaxed) > 0).await;
        bus.is_shut.send_replace(false);
        advance(2 * LEASE).await;
        sleep(2 * LEASE).await;
    };
    tokio::select! {
        // Who was stopped sees what time it is before anything else.
        biased;
        never = cluster.survive(&wired) => panic!("{never:?}"),
        () = judge => {}
    }
    assert_eq!(bus.taken().len(), 0);
    assert_eq!(store.online().await.unwrap(), 0);
}

/// It has events in the hands of a bus that does not take them.
#[tokio::test(start_paused = true)]
async fn who_is_cut_tells_no_more_and_another_tells_the_same() {
    let store = Arc::new(MemoryStore::default());
    let bus = Bus::new(true, None);
    let dead = gone(&store, "b", 3, 2).await;
    let [one, two] = ["a", "c"].map(|name| survivor(&store, &bus, name));
    let is_busy = |times: usize| {
        let busy = &bus.busy;
        async move || busy.load(Ordering::Relaxed) == times
    };
    tokio::select! {
        () = linked(&one) => {}
        () = eventually("under way", is_busy(4)) => {}
    }
    let left = store.orphans(&dead, "", 10).await.unwrap();
    let cut = Instant::now();
    let judge = async {
        eventually("under way again", is_busy(8)).await;
        assert!(cut.elapsed() >= LEASE - LEASE / 3, "{:?}", cut.elapsed());
        bus.is_shut.send_replace(false);
        eventually("told", async || is_forgotten(&store, &dead).await).await;
    };
    tokio::select! {
        () = linked(&two) => {}
        () = judge => {}
    }
    bus.assert_told_once(3, 2);
    for event in bus.taken().iter() {
        let of = |orphan: &&Orphan| {
            let session = &orphan.entry.session;
            let named = |kind| EventId::derived(kind, dead.incarnation(), session);
            [named("closed"), named("offline")].contains(&event.id)
        };
        let orphan = left.iter().find(of).unwrap();
        assert_eq!(event.time, orphan.time);
    }
}
