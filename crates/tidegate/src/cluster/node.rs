//! This node, as the rest of the gateway knows it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::ask::{Answers, Asked, Asks};
use super::ending::Ends;
use super::wire::{Message, Order, Push, Say};
use super::{ClusterBus, Ended, Ending, NodeId, StateStore, StoreError, To};
use crate::auth::Authenticator;
use crate::bus::{Event, EventId};
use crate::config::plan::ClusterPlan;
use crate::presence::{Roles, Teller};
use crate::session::handle::Handle;
use crate::worker::Core;

/// Sessions that came or went and wait for the keeper; it takes them at once, whether the store can be
/// reached or not. Behind that it looks at all that are open.
const MOST_WAITING: usize = 262_144;
/// How long who asks from outside waits for the store.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long for the other nodes.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);

/// What came of a session.
#[derive(Debug)]
pub(super) enum Fact {
    Entered(Arc<Handle>, Roles),
    /// With what is told of it, where something is.
    Left(Arc<Handle>, Option<Arc<Ending>>),
}

/// This node in its cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub(super) store: Arc<dyn StateStore>,
    pub(super) lease: Duration,
    id: Mutex<NodeId>,
    facts: Mutex<Waiting>,
    pub(super) arrived: Notify,
    /// Whose end was told.
    pub(super) ends: Arc<Ends>,
    is_up: AtomicBool,
    /// Why it is not.
    trouble: Mutex<Option<Box<str>>>,
    /// The other members, and when there was last a sign of each.
    others: Mutex<HashMap<NodeId, Instant>>,
    dead: Mutex<Vec<NodeId>>,
    pub(super) died: Notify,
    /// Another node has joined.
    pub(super) joined: Notify,
    pub(super) asks: Asks,
    /// Something was revoked elsewhere.
    pub(super) revoked: Notify,
    /// Another node's sessions are to be counted anew.
    pub(super) counted: Notify,
    /// Users online in all of the cluster, as of a second ago.
    pub(super) online: AtomicU64,
    /// The last beat of our own that was heard.
    pub(super) beat: AtomicU64,
}

#[derive(Debug, Default)]
struct Waiting {
    facts: VecDeque<Fact>,
    /// There was no room for some.
    is_torn: bool,
}

/// What the keeper works with.
#[derive(Debug)]
pub(crate) struct Wired {
    pub(crate) core: Arc<Core>,
    pub(crate) teller: Arc<Teller>,
    /// What carries pushes between nodes, where the bus does not.
    pub(crate) carrier: Option<Arc<ClusterBus>>,
}

impl Wired {
    /// Pushes of other nodes may have been missed, where the cluster carries them.
    pub(super) fn miss(&self) {
        if let Some(carrier) = &self.carrier {
            carrier.miss();
            self.core.push().miss();
        }
    }

    pub(super) fn authenticator(&self) -> &Authenticator {
        self.core.authenticator()
    }
}

impl Cluster {
    pub(crate) fn new(store: Arc<dyn StateStore>, name: &Arc<str>, plan: &ClusterPlan) -> Self {
        Self {
            store,
            lease: plan.lease,
            id: Mutex::new(NodeId::new(Arc::clone(name))),
            facts: Mutex::default(),
            arrived: Notify::new(),
            ends: Arc::default(),
            is_up: AtomicBool::new(false),
            trouble: Mutex::default(),
            others: Mutex::default(),
            dead: Mutex::default(),
            died: Notify::new(),
            joined: Notify::new(),
            asks: Asks::default(),
            revoked: Notify::new(),
            counted: Notify::new(),
            online: AtomicU64::new(0),
            beat: AtomicU64::new(0),
        }
    }

    /// Who this node is now.
    pub(crate) fn id(&self) -> NodeId {
        self.lock_id().clone()
    }

    fn lock_id(&self) -> MutexGuard<'_, NodeId> {
        self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of its incarnation.
    pub(crate) fn incarnation(&self) -> u64 {
        self.lock_id().incarnation()
    }

    /// It goes on as another.
    pub(super) fn be_reborn(&self) {
        let mut id = self.lock_id();
        *id = NodeId::new(Arc::clone(id.name()));
    }

    /// Whether the store can be reached.
    pub(crate) fn is_up(&self) -> bool {
        self.is_up.load(Ordering::Acquire)
    }

    /// Why it could not last, in its own words.
    pub(crate) fn trouble(&self) -> Option<Box<str>> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        trouble.clone()
    }

    pub(super) fn set_trouble(&self, reason: Box<str>) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = Some(reason);
    }

    pub(super) fn set_up(&self, is_up: bool) -> bool {
        self.is_up.swap(is_up, Ordering::AcqRel)
    }

    /// A session has opened, or its user is known only now.
    pub(crate) fn entered(&self, handle: &Arc<Handle>, roles: &Roles) {
        self.leave_fact(Fact::Entered(Arc::clone(handle), Arc::clone(roles)));
    }

    /// A session has closed; what is told of it is told by who has `ending` too.
    pub(crate) fn left(&self, handle: &Arc<Handle>, ending: Option<Arc<Ending>>) {
        self.leave_fact(Fact::Left(Arc::clone(handle), ending));
    }

    /// The end of a session of which something is to be told.
    pub(crate) fn ending(&self, session: Box<str>, user: Option<Box<str>>) -> Arc<Ending> {
        Ending::new(Ended { session, user }, &self.ends)
    }

    fn leave_fact(&self, fact: Fact) {
        let mut waiting = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.facts.len() < MOST_WAITING {
            waiting.facts.push_back(fact);
        } else {
            waiting.is_torn = true;
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// What came of sessions is not known any more: whoever takes it looks at what is open.
    pub(super) fn tear(&self) {
        let mut waiting = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.is_torn = true;
    }

    /// Up to `most` of what came of sessions, and whether there was no room for some of it.
    pub(super) fn take_facts(&self, most: usize) -> (Vec<Fact>, bool) {
        let mut waiting = self.facts.lock().unwrap_or_else(PoisonError::into_inner);
        let most = most.min(waiting.facts.len());
        let facts = waiting.facts.drain(..most).collect();
        if waiting.facts.is_empty() {
            // What a rush took is given back.
            waiting.facts.shrink_to(64);
        }
        (facts, std::mem::take(&mut waiting.is_torn))
    }

    /// Those whose leases have lapsed, as of the last renewal.
    pub(super) fn dead(&self) -> Vec<NodeId> {
        let dead = self.dead.lock().unwrap_or_else(PoisonError::into_inner);
        dead.clone()
    }

    /// The same, as of now.
    pub(super) fn set_dead(&self, nodes: Vec<NodeId>) {
        let is_any = !nodes.is_empty();
        *self.dead.lock().unwrap_or_else(PoisonError::into_inner) = nodes;
        if is_any {
            self.died.notify_one();
        }
    }

    fn lock_others(&self) -> MutexGuard<'_, HashMap<NodeId, Instant>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The other members.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        self.lock_others().keys().cloned().collect()
    }

    /// These are members, as the store says. So is whoever was heard within a lease and is not dead: the
    /// store may have lost what it knew.
    pub(super) fn set_others(&self, members: Vec<NodeId>, dead: &[NodeId]) {
        let (me, now) = (self.id(), Instant::now());
        let mut others = self.lock_others();
        others.retain(|one, sign| {
            let is_heard = now.saturating_duration_since(*sign) < self.lease;
            members.contains(one) || is_heard && !dead.contains(one)
        });
        for member in members.into_iter().filter(|one| *one != me) {
            others.entry(member).or_insert(now);
        }
        let known: Vec<_> = others.keys().cloned().collect();
        drop(others);
        self.asks.keep(&known);
    }

    /// A node has said that it is a member.
    pub(super) fn note_sign(&self, node: NodeId) {
        self.lock_others().insert(node, Instant::now());
    }

    /// A node has said that it is none any more.
    pub(super) fn note_left(&self, node: &NodeId) {
        self.lock_others().remove(node);
    }

    /// Users online in all of the cluster, as of a second ago.
    pub(crate) fn online(&self) -> u64 {
        self.online.load(Ordering::Relaxed)
    }

    /// How long a node that is not heard of is taken to be there.
    pub(crate) const fn lease(&self) -> Duration {
        self.lease
    }

    /// What all nodes share.
    pub(crate) fn store(&self) -> &dyn StateStore {
        &*self.store
    }

    /// What the store is asked from outside, by who does not wait for long.
    pub(crate) async fn look<T>(
        &self,
        ask: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if !self.is_up() {
            return Err(StoreError::Unreachable);
        }
        let looked = timeout(PATIENCE, ask).await;
        looked.unwrap_or(Err(StoreError::Unreachable))
    }

    pub(super) fn say(&self, say: Say) -> Vec<u8> {
        let from = self.id().to_string().into();
        Message { from, say }.written()
    }

    pub(super) async fn tell(&self, to: To<'_>, say: Say) -> Result<(), StoreError> {
        self.store.send(to, &self.say(say)).await
    }

    /// Sends a push to the other nodes.
    pub(super) async fn route(&self, event: &Event) -> Result<(), StoreError> {
        let Some(push) = Push::of(event) else {
            return Ok(());
        };
        if !self.is_up() {
            return Err(StoreError::Unreachable);
        }
        self.tell(To::All, Say::Push(push)).await
    }

    /// A question to all other nodes, to be asked by who publishes an event.
    pub(crate) fn asking(&self) -> Asked<'_> {
        self.asks.ask(self.others())
    }

    /// Has the other nodes tell what becomes of an event that the bus carries.
    pub(crate) async fn expect(
        &self,
        event: EventId,
        asked: &Asked<'_>,
        patience: Option<Duration>,
    ) {
        let expect = Say::Expect {
            event: event.to_string().into(),
            ask: asked.id(),
            patience: patience.map(|one| u64::try_from(one.as_millis()).unwrap_or(u64::MAX)),
        };
        self.ask(expect).await;
    }

    /// Has the other nodes do something; how often they have.
    ///
    /// It goes to all, whoever is known; but only who is known is waited for.
    pub(crate) async fn order(&self, order: Order) -> Answers {
        self.look_who_is_there().await;
        let mut asked = self.asks.ask_all(self.others());
        let ask = Say::Ask {
            ask: asked.id(),
            order,
        };
        let until = Instant::now() + ANSWERED_WITHIN;
        if !self.ask(ask).await {
            return asked.unasked();
        }
        asked.gather(0, until).await
    }

    /// Asks the store for its members: one may have joined a moment ago, and not be heard yet.
    async fn look_who_is_there(&self) {
        let id = self.id();
        let renewed = self.look(self.store.renew(&id, self.lease, false)).await;
        if let Ok(standing) = renewed {
            self.set_others(standing.members, &standing.dead);
        }
    }

    /// Whether it could be sent; where it could not nobody answers, which is told.
    async fn ask(&self, say: Say) -> bool {
        self.is_up() && matches!(timeout(PATIENCE, self.tell(To::All, say)).await, Ok(Ok(())))
    }
}
