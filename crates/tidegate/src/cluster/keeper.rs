//! The thread that keeps the store right about this node: it joins, renews its lease, and tells who came and
//! went. Nobody waits for it.
//!
//! What it knows, `live`, is what the gateway has told, in that order. Where the store was away, or has lost
//! what it knew, the two are compared, and only what differs is told: nothing waits for the store in a
//! queue, however long it is away.

mod compare;
mod verdicts;

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::limits::Limits;
use super::node::Fact;
use super::wire::Say;
use super::{
    Change, Cluster, Ended, Ending, Entry, Facts, Membership, Standing, StoreError, To, Wired,
};
use crate::metrics::microseconds;
use crate::presence::Roles;
use crate::session::handle::Handle;
use crate::session::id::SessionId;
use crate::task::{self, Kind, Panics};

/// How long after a failure the store is tried again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long the last words may take.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Changes that are told at once.
const BATCH: usize = 512;
/// Between two looks at what all nodes count together.
const LOOK: Duration = Duration::from_secs(1);
/// Reasons that are said while the store is away.
const MOST_SAID: usize = 8;

/// The running keeper; dropped, it tells what is left and ends.
#[derive(Debug)]
pub(crate) struct Keeping {
    thread: Option<JoinHandle<()>>,
    ended: CancellationToken,
}

#[derive(Debug)]
struct Keeper {
    cluster: Arc<Cluster>,
    wired: Arc<Wired>,
    live: HashMap<SessionId, Seat>,
    /// What the store was told and has not answered.
    in_flight: Vec<(Change, Whom)>,
    /// Whose end was told, and which the store has not dropped yet.
    dropping: Vec<Ended>,
    /// How many have left that the store still keeps.
    kept: usize,
    /// The lease had lapsed, and others may have told the end of what is live.
    is_reborn: bool,
    /// Why the store is away, as was said already.
    said: Vec<Box<str>>,
    /// The last beat that was sent.
    beat: u64,
    /// The one that is to be heard by the next renewal that is due.
    due: u64,
    limits: Limits,
}

/// A session that is open.
#[derive(Debug)]
struct Seat {
    handle: Arc<Handle>,
    roles: Roles,
    /// It was entered as a user's.
    has_user: bool,
    /// The store has said so.
    is_confirmed: bool,
}

/// Whom a change is about.
#[derive(Debug, Clone)]
enum Whom {
    Here(Arc<Handle>, Roles),
    /// It has left, and something may be told of it.
    Left(Arc<Handle>, Option<Arc<Ending>>),
    /// The same, where nothing but what the store knows is left of it.
    Gone(Entry, Arc<Ending>),
}

impl Keeping {
    /// Keeps the store right until the result is dropped. What panics begins anew.
    pub(crate) fn start(
        cluster: Arc<Cluster>,
        wired: Wired,
        panics: Arc<Panics>,
    ) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = CancellationToken::new();
        let (end, wired) = (ended.clone(), Arc::new(wired));
        let kept = async move {
            loop {
                let keeper = Keeper::new(Arc::clone(&cluster), Arc::clone(&wired));
                let kept = task::survive(Kind::Cluster, &panics, keeper.run(end.clone()));
                if kept.await.is_some() || end.is_cancelled() {
                    return;
                }
                cluster.set_up(false);
                cluster.tear();
                sleep(RETRY.1).await;
            }
        };
        let thread = thread::Builder::new().name("tidegate-cluster".into());
        let run = move || runtime.block_on(kept);
        Ok(Self {
            thread: Some(thread.spawn(run)?),
            ended,
        })
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to tell.
            let _ = thread.join();
        }
    }
}

impl Keeper {
    fn new(cluster: Arc<Cluster>, wired: Arc<Wired>) -> Self {
        Self {
            limits: Limits::new(&wired.core),
            cluster,
            wired,
            live: HashMap::new(),
            in_flight: Vec::new(),
            dropping: Vec::new(),
            kept: 0,
            is_reborn: false,
            said: Vec::new(),
            beat: 0,
            due: 0,
        }
    }

    async fn run(mut self, end: CancellationToken) {
        // However long the store was away, whoever comes back does so within a lease.
        let longest = RETRY.1.min(self.cluster.lease / 4).max(RETRY.0);
        let mut pause = RETRY.0;
        loop {
            let begun = Instant::now();
            let error = tokio::select! {
                biased;
                () = end.cancelled() => break,
                error = self.connected() => error,
            };
            self.note_cut(error);
            if error == StoreError::Fenced {
                continue;
            }
            if begun.elapsed() > RETRY.1 {
                pause = RETRY.0;
            }
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                () = self.rest(pause) => pause = (pause * 2).min(longest),
            }
        }
        let told = timeout(LAST_WORDS * 2, self.farewell()).await;
        if !matches!(told, Ok(Ok(()))) {
            tracing::warn!("the others are not told that this node ends: they will find out");
        }
        self.cluster.set_up(false);
    }

    fn note_cut(&mut self, error: StoreError) {
        self.limits.forget();
        let was_up = self.cluster.set_up(false);
        if was_up {
            // Whoever comes back until the link is there again is told so.
            self.wired.miss();
        }
        if error == StoreError::Fenced {
            tracing::warn!("this node's lease had lapsed: its sessions are told anew");
            self.cluster.be_reborn();
            self.is_reborn = true;
            // The others tell the end of those.
            self.in_flight.clear();
        } else {
            self.warn(error);
        }
    }

    /// Says why the store is away: once, and when the reason is another one.
    fn warn(&mut self, error: StoreError) {
        let words = self.cluster.store.trouble();
        let reason = words.unwrap_or_else(|| error.to_string().into());
        self.cluster.set_trouble(reason.clone());
        if self.said.len() < MOST_SAID && !self.said.contains(&reason) {
            tracing::warn!(%reason, "this node is on its own until that is over");
            self.said.push(reason);
        }
    }

    /// Waits, and takes what is told meanwhile, so that it needs no room.
    async fn rest(&mut self, pause: Duration) {
        let over = sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return,
                () = self.cluster.arrived.notified() => {
                    while self.take().is_some() {}
                }
            }
        }
    }

    /// Serves until the link is cut.
    async fn connected(&mut self) -> StoreError {
        let (cluster, wired) = (Arc::clone(&self.cluster), Arc::clone(&self.wired));
        let opened = timeout(CONNECT_WITHIN, cluster.store.open(&cluster.id())).await;
        let inbox = match opened {
            Ok(Ok(inbox)) => inbox,
            Ok(Err(error)) => return error,
            Err(_elapsed) => return StoreError::Unreachable,
        };
        // From here on everything is heard.
        wired.miss();
        tokio::select! {
            kept = self.keep() => kept.map_or_else(|error| error, |never| match never {}),
            shared = cluster.share(&wired) => shared.map_or_else(|error| error, |never| match never {}),
            told = cluster.survive(&wired) => told.map_or_else(|error| error, |never| match never {}),
            () = cluster.hear(&wired, inbox) => StoreError::Unreachable,
        }
    }

    async fn keep(&mut self) -> Result<Infallible, StoreError> {
        let cluster = Arc::clone(&self.cluster);
        self.join().await?;
        cluster.tell(To::All, Say::Joined).await?;
        self.sync().await?;
        cluster.set_up(true);
        self.said.clear();
        self.beat = cluster.beat.load(Ordering::Relaxed);
        self.due = self.beat;
        let node = cluster.id();
        tracing::info!(%node, "in the cluster");
        let mut renewal = interval(cluster.lease / 3);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // However many come and go, the lease is renewed.
                biased;
                _ = renewal.tick() => {
                    if cluster.beat.load(Ordering::Relaxed) < self.due {
                        // What is sent does not arrive, although nothing was cut.
                        return Err(StoreError::Unreachable);
                    }
                    self.renew().await?;
                    self.due = self.beat;
                }
                _ = look.tick(), if self.limits.are_any() => self.limits.look(),
                () = cluster.counted.notified() => self.limits.recount(),
                // One who joins may be the first to be known to a store that has lost everything.
                () = cluster.joined.notified() => self.renew().await?,
                () = cluster.arrived.notified() => self.tell().await?,
                () = cluster.ends.arrived.notified() => {}
            }
            self.drop_ended().await?;
            self.limits.settle(&cluster, &self.wired).await?;
        }
    }

    async fn join(&mut self) -> Result<(), StoreError> {
        let (id, lease) = (self.cluster.id(), self.cluster.lease);
        let asked = microseconds();
        let standing = self.cluster.store.renew(&id, lease, true).await?;
        self.limits.set_clock(standing.time, asked);
        if standing.membership == Membership::Dead {
            return Err(StoreError::Fenced);
        }
        self.cluster.note(standing);
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), StoreError> {
        let cluster = Arc::clone(&self.cluster);
        let id = cluster.id();
        let asked = microseconds();
        let standing = cluster.store.renew(&id, cluster.lease, false).await?;
        self.limits.set_clock(standing.time, asked);
        match standing.membership {
            Membership::Dead => return Err(StoreError::Fenced),
            Membership::Unknown => {
                tracing::warn!("the cluster's store has lost what it knew: it is told anew");
                return Err(StoreError::Unreachable);
            }
            Membership::Held => cluster.note(standing),
        }
        self.beat += 1;
        let number = self.beat;
        cluster.tell(To::All, Say::Beat { number }).await
    }

    /// Takes what came of one session, and says what the store is to be told.
    fn take(&mut self) -> Option<Vec<(Change, Whom)>> {
        let (mut facts, is_torn) = self.cluster.take_facts(1);
        if is_torn {
            self.look_around();
        }
        Some(match facts.pop()? {
            Fact::Entered(handle, roles) => self.enter(&handle, &roles),
            Fact::Left(handle, ending) => self.leave(&handle, ending),
        })
    }

    fn enter(&mut self, handle: &Arc<Handle>, roles: &Roles) -> Vec<(Change, Whom)> {
        let entry = Facts::entry(self.cluster.id().name(), handle, roles);
        let has_user = entry.user.is_some();
        let whom = Whom::Here(Arc::clone(handle), Arc::clone(roles));
        let mut changes = Vec::with_capacity(1);
        if let Some(before) = self.live.get(&handle.id) {
            if before.has_user == has_user {
                return changes;
            }
            // It was nobody's.
            let session = entry.session.clone();
            let change = Change::Leave {
                session,
                user: None,
                is_kept: false,
            };
            changes.push((change, Whom::Left(Arc::clone(handle), None)));
        }
        let seat = Seat {
            handle: Arc::clone(handle),
            roles: Arc::clone(roles),
            has_user,
            is_confirmed: false,
        };
        self.live.insert(handle.id, seat);
        let since = self.limits.since(handle);
        changes.push((Change::Enter { entry, since }, whom));
        changes
    }

    fn leave(&mut self, handle: &Arc<Handle>, ending: Option<Arc<Ending>>) -> Vec<(Change, Whom)> {
        let Some(seat) = self.live.remove(&handle.id) else {
            return Vec::new();
        };
        self.limits.leave(handle);
        let user = handle.facts.user().filter(|_| seat.has_user);
        let change = Change::Leave {
            session: handle.id.to_string().into(),
            user: user.map(Box::from),
            is_kept: ending.is_some(),
        };
        vec![(change, Whom::Left(seat.handle, ending))]
    }

    /// There was no room for all that came and went: looks at what is open.
    fn look_around(&mut self) {
        tracing::warn!("sessions came and went faster than that could be taken");
        let open = self.wired.core.sessions().all();
        let is_open: std::collections::HashSet<_> = open.iter().map(|one| one.id).collect();
        self.live.retain(|id, seat| {
            let is_open = is_open.contains(id);
            if !is_open {
                self.limits.leave(&seat.handle);
            }
            is_open
        });
        for handle in open {
            let _told_by_sync = self.enter(&handle, &Roles::default());
        }
        // What was left out is found where the store is compared.
        self.in_flight.clear();
    }

    /// Tells the store some of what is there to be told. If there is more it comes back, behind what is due.
    async fn tell(&mut self) -> Result<(), StoreError> {
        let mut changes = Vec::new();
        while let Some(some) = self.take() {
            changes.extend(some);
            if changes.len() >= BATCH {
                self.cluster.arrived.notify_one();
                break;
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        self.record(changes).await
    }
}

impl Cluster {
    fn note(&self, standing: Standing) {
        self.set_others(standing.members, &standing.dead);
        self.set_dead(standing.dead);
    }
}

#[cfg(test)]
mod tests;
