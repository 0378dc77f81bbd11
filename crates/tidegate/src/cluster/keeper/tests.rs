use std::sync::atomic::AtomicUsize;

use futures_util::future::BoxFuture;

use super::super::{
    Ended, Inbox, Member, MemoryStore, NodeId, OnlineUser, Orphan, Revocation, Revoked,
    SessionPage, StateStore, Tally, Verdict,
};
use super::*;
use crate::bus::MemoryBus;
use crate::config::plan::{BusPlan, ClusterPlan};
use crate::handler::Handlers;
use crate::presence::Teller;
use crate::session::clock::Clock;
use crate::session::registry::Registry;
use crate::session::testing::{facts_of, plan_with};
use crate::tls::Loaded;
use crate::worker::Core;

/// A store far away: whoever tells it something waits.
#[derive(Debug, Default)]
struct Far {
    store: MemoryStore,
    renewals: AtomicUsize,
}

const AWAY: Duration = Duration::from_millis(5);

type Done<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

impl StateStore for Far {
    fn open(&self, node: &NodeId) -> Done<'_, Inbox> {
        self.store.open(node)
    }

    fn renew(&self, node: &NodeId, lease: Duration, join: bool) -> Done<'_, Standing> {
        self.renewals.fetch_add(1, Ordering::Relaxed);
        self.store.renew(node, lease, join)
    }

    fn leave(&self, node: &NodeId) -> Done<'_, ()> {
        self.store.leave(node)
    }

    fn members(&self) -> Done<'_, Vec<Member>> {
        self.store.members()
    }

    fn tally<'s>(&'s self, node: &NodeId, of: &'s str, said: &'s str) -> Done<'s, Vec<Tally>> {
        self.store.tally(node, of, said)
    }

    fn record(&self, node: &NodeId, changes: Vec<Change>) -> Done<'_, Vec<Verdict>> {
        let done = self.store.record(node, changes);
        Box::pin(async {
            sleep(AWAY).await;
            done.await
        })
    }

    fn held(&self, node: &NodeId) -> Done<'_, Vec<Entry>> {
        self.store.held(node)
    }

    fn count_out(&self, dead: &NodeId, most: usize) -> Done<'_, bool> {
        self.store.count_out(dead, most)
    }

    fn claim(&self, by: &NodeId, dead: &NodeId, lease: Duration) -> Done<'_, bool> {
        self.store.claim(by, dead, lease)
    }

    fn orphans<'s>(&'s self, dead: &NodeId, after: &'s str, most: usize) -> Done<'s, Vec<Orphan>> {
        self.store.orphans(dead, after, most)
    }

    fn drop_ended<'s>(&'s self, node: &NodeId, ended: &'s [Ended]) -> Done<'s, ()> {
        self.store.drop_ended(node, ended)
    }

    fn forget(&self, dead: &NodeId) -> Done<'_, ()> {
        self.store.forget(dead)
    }

    fn online(&self) -> Done<'_, u64> {
        self.store.online()
    }

    fn users<'s>(&'s self, after: &'s str, most: usize) -> Done<'s, Vec<OnlineUser>> {
        self.store.users(after, most)
    }

    fn sessions_of<'s>(&'s self, user: &'s str) -> Done<'s, Vec<(NodeId, Entry)>> {
        self.store.sessions_of(user)
    }

    fn sessions(&self, cursor: u64, most: usize) -> Done<'_, SessionPage> {
        self.store.sessions(cursor, most)
    }

    fn revoke(&self, revocations: Vec<Revocation>) -> Done<'_, ()> {
        self.store.revoke(revocations)
    }

    fn revoked(&self, after: u64, most: usize) -> Done<'_, Revoked> {
        self.store.revoked(after, most)
    }

    fn send<'s>(&'s self, to: To<'s>, message: &'s [u8]) -> Done<'s, ()> {
        self.store.send(to, message)
    }
}

/// Sessions come and go all the time, sooner than the store is told of them.
#[test]
fn a_lease_is_renewed_however_many_come_and_go() {
    let store = Arc::new(Far::default());
    let plan = ClusterPlan {
        lease: Duration::from_millis(300),
        ..ClusterPlan::default()
    };
    let cluster = Arc::new(Cluster::new(Arc::clone(&store) as _, &"a".into(), &plan));
    let bus = Arc::new(MemoryBus::default());
    let teller = Teller::new(bus, &BusPlan::default(), Some(Arc::clone(&cluster)));
    let teller = Arc::new(teller);
    let core = Core::build(
        &plan_with("", ""),
        &Loaded::default(),
        &Handlers::default(),
        Arc::clone(&teller),
    );
    let core = Arc::new(core.unwrap());
    let wired = Wired {
        core: Arc::clone(&core),
        teller,
        carrier: None,
    };
    let _keeping = Keeping::start(Arc::clone(&cluster), wired, Arc::default()).unwrap();
    let registry = Arc::new(Registry::new(Arc::clone(core.directory())));
    let clock = Clock::default();
    let begun = Instant::now();
    let mut come = 0;
    // The first one is that with which it joins.
    while store.renewals.load(Ordering::Relaxed) < 6 {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "nothing is renewed while {come} come and go"
        );
        let facts = facts_of(&core, Some("u"), [127, 0, 0, 1]);
        drop(registry.register(registry.connection_id(), facts, None, &clock));
        come += 1;
        if come % 100 == 0 {
            thread::sleep(Duration::from_millis(1));
        }
    }
}
