//! Limits on sessions that hold on all nodes together.
//!
//! Nobody waits for the store: a session is refused at the door by what is known here of the others, and
//! what is too many all the same is ended as soon as the store has told. Of a user's sessions the store
//! knows the order, and whoever has entered one too many says which has to go. Of `max_sessions` each
//! node says how many it has, and how old those are that would go first; all judge by that alike, and
//! each ends its own.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::try_join_all;

use super::clock::StoreClock;
use super::share_out::{Said, Share};
use super::wire::Say;
use super::{Cluster, Entry, Facts, NodeId, StoreError, To, Wired};
use crate::config::plan::OverSessions;
use crate::limits::ClusterCaps;
use crate::metrics::microseconds;
use crate::session::Cause;
use crate::session::handle::{Handle, Rank};
use crate::worker::Core;

/// Users whose sessions are looked at at once.
const LOOKED_AT: usize = 64;
/// Rounds in which a node ends what it has too many of before it looks at anything else.
const ROUNDS: usize = 8;

/// A user on a route, or on all of them.
type Named = (Option<Box<str>>, Box<str>);

/// What is counted here.
#[derive(Debug)]
pub(super) struct Limits {
    lines: Vec<Line>,
    /// Users whose sessions are to be looked at now, and with the next look.
    crowded: HashSet<Box<str>>,
    later: HashSet<Box<str>>,
    /// What others are to be told.
    full: Vec<Named>,
    roomy: Vec<Named>,
    clock: StoreClock,
}

/// Sessions that one `max_sessions` counts.
#[derive(Debug)]
struct Line {
    caps: Arc<ClusterCaps>,
    /// Those that are here, in the order of their opening, and when that was by the store's clock, in
    /// microseconds. One that was sent away is not among them.
    seats: BTreeMap<Rank, (u64, Arc<Handle>)>,
    is_due: bool,
    was_full: bool,
}

impl Limits {
    pub(super) fn new(core: &Core) -> Self {
        let lines = core.cluster_caps().map(|caps| Line {
            caps: Arc::clone(caps),
            seats: BTreeMap::new(),
            is_due: true,
            was_full: false,
        });
        Self {
            lines: lines.collect(),
            crowded: HashSet::new(),
            later: HashSet::new(),
            full: Vec::new(),
            roomy: Vec::new(),
            clock: StoreClock::default(),
        }
    }

    /// Whether there is any such limit.
    pub(super) const fn are_any(&self) -> bool {
        !self.lines.is_empty()
    }

    /// The store has told the time since it was asked, in [`microseconds`].
    pub(super) fn set_clock(&mut self, time: SystemTime, asked: u64) {
        self.clock.note(time, asked, microseconds());
    }

    /// When a session was opened, by the store's clock.
    pub(super) fn since(&self, handle: &Handle) -> SystemTime {
        let since = self.clock.time_at(handle.rank().0);
        since.unwrap_or_else(|| handle.opened())
    }

    /// The store has a session; its user has so many.
    pub(super) fn enter(&mut self, handle: &Arc<Handle>, sessions: u64) {
        for line in self.lines.iter_mut().filter(|line| line.counts(handle)) {
            if line.caps.most.is_some() {
                let since = self.clock.at(handle.rank().0).unwrap_or_default();
                // Told anew, it is as old as it was.
                let seat = line.seats.entry(handle.rank());
                seat.or_insert_with(|| (since, Arc::clone(handle)));
                line.is_due = true;
            }
            let most = line.caps.per_user.map(|most| most as u64);
            if let Some(user) = handle.facts.user()
                && most.is_some_and(|most| sessions >= most)
            {
                self.crowded.insert(user.into());
            }
        }
    }

    /// A session is over.
    pub(super) fn leave(&mut self, handle: &Handle) {
        for line in self.lines.iter_mut().filter(|line| line.counts(handle)) {
            line.is_due |= line.seats.remove(&handle.rank()).is_some();
            if let Some(user) = handle.facts.user()
                && line.caps.set_full(user, false)
            {
                self.roomy.push(line.named(user));
            }
        }
    }

    /// The store cannot be reached: this node counts for itself.
    pub(super) fn forget(&mut self) {
        for line in &mut self.lines {
            line.caps.forget();
            (line.is_due, line.was_full) = (true, false);
        }
        self.full.clear();
        self.roomy.clear();
    }

    /// Time to look at everything.
    pub(super) fn look(&mut self) {
        self.recount();
        self.crowded.extend(self.later.drain());
        // Who was refused was perhaps refused for nothing.
        for line in &self.lines {
            self.crowded.extend(line.caps.asked());
        }
    }

    /// Others have told that something has changed.
    pub(super) fn recount(&mut self) {
        for line in &mut self.lines {
            line.is_due = line.caps.most.is_some();
        }
    }

    /// Ends what is too many, and tells others what they need to know.
    pub(super) async fn settle(
        &mut self,
        cluster: &Cluster,
        wired: &Wired,
    ) -> Result<(), StoreError> {
        if !self.are_any() {
            return Ok(());
        }
        self.settle_users(cluster, wired).await?;
        let mut is_news = false;
        let me = cluster.id();
        for line in self.lines.iter_mut().filter(|line| line.is_due) {
            is_news |= line.settle(&me, cluster).await?;
        }
        if is_news {
            cluster.tell(To::All, Say::Counted).await?;
        }
        if !self.full.is_empty() || !self.roomy.is_empty() {
            let (full, roomy) = (&mut self.full, &mut self.roomy);
            let (full, roomy) = (std::mem::take(full), std::mem::take(roomy));
            cluster.tell(To::All, Say::Full { full, roomy }).await?;
        }
        Ok(())
    }

    async fn settle_users(&mut self, cluster: &Cluster, wired: &Wired) -> Result<(), StoreError> {
        let users: Vec<_> = self.crowded.iter().cloned().collect();
        for some in users.chunks(LOOKED_AT) {
            let looks = some.iter().map(|user| cluster.store.sessions_of(user));
            let found = try_join_all(looks).await?;
            let mut over: HashMap<(NodeId, bool), Vec<Box<str>>> = HashMap::new();
            for (user, sessions) in some.iter().zip(found) {
                self.crowded.remove(user);
                if self.judge(user, &sessions, &mut over) {
                    self.later.insert(user.clone());
                }
            }
            for ((node, for_newer), sessions) in over {
                if node == cluster.id() {
                    end(wired, &sessions, for_newer);
                    continue;
                }
                let say = Say::Over {
                    sessions,
                    for_newer,
                };
                cluster.tell(To::Node(&node), say).await?;
            }
        }
        Ok(())
    }

    /// Finds what a user has too many of; whether there is any.
    fn judge(
        &mut self,
        user: &str,
        sessions: &[(NodeId, Entry)],
        over: &mut HashMap<(NodeId, bool), Vec<Box<str>>>,
    ) -> bool {
        let mut is_any = false;
        for line in &self.lines {
            let Some(most) = line.caps.per_user else {
                continue;
            };
            let its = sessions.iter().filter(|(_, entry)| line.has(entry));
            let its: Vec<_> = its.collect();
            let many = its.len().saturating_sub(most);
            let for_newer = line.caps.over == OverSessions::EvictOldest;
            let behind = if for_newer { 0 } else { most };
            for (node, entry) in its.iter().skip(behind).take(many) {
                let of_node = over.entry((node.clone(), for_newer)).or_default();
                of_node.push(entry.session.clone());
            }
            is_any |= many > 0;
            let is_full = its.len() >= most;
            if line.caps.set_full(user, is_full) {
                let news = if is_full {
                    &mut self.full
                } else {
                    &mut self.roomy
                };
                news.push(line.named(user));
            }
        }
        is_any
    }
}

impl Line {
    /// Whether a session counts.
    fn counts(&self, handle: &Handle) -> bool {
        let route = self.caps.route.as_deref();
        route.is_none_or(|route| *route == *handle.facts.route())
    }

    /// The same of one of whatever node.
    fn has(&self, entry: &Entry) -> bool {
        self.caps
            .route
            .as_deref()
            .is_none_or(|route| Facts::parse(entry).is_some_and(|facts| *facts.route == *route))
    }

    fn named(&self, user: &str) -> Named {
        (self.caps.route.as_deref().map(Box::from), user.into())
    }

    /// Under what all nodes count it.
    fn name(&self) -> String {
        let route = self.caps.route.as_deref();
        route.map_or_else(|| "all".into(), |route| format!("route:{route}"))
    }

    /// Ends what is too many here; whether others want to know what has changed.
    async fn settle(&mut self, me: &NodeId, cluster: &Cluster) -> Result<bool, StoreError> {
        let Some(most) = self.caps.most else {
            return Ok(false);
        };
        let (name, over) = (self.name(), self.caps.over);
        let mut is_news = false;
        for _ in 0..ROUNDS {
            let opened = self.seats.values().map(|(since, _)| *since);
            let mine = Said::of(opened, over);
            let told = cluster.store.tally(me, &name, &mine.written()).await?;
            let others = told.into_iter().filter(|one| one.node != *me);
            let others = others.filter_map(|one| Some((one.node, Said::parse(&one.said)?)));
            let share = Share::of((me, &mine), &others.collect::<Vec<_>>(), most, over);
            self.caps.set_elsewhere(share.elsewhere);
            let is_full = share.elsewhere + mine.open >= most;
            is_news |= share.is_over || is_full != self.was_full;
            self.was_full = is_full;
            if share.mine == 0 {
                break;
            }
            self.send_away(share.mine);
        }
        self.is_due = false;
        Ok(is_news)
    }

    fn send_away(&mut self, count: usize) {
        for _ in 0..count {
            let (gone, cause) = match self.caps.over {
                OverSessions::EvictOldest => (self.seats.pop_first(), Cause::Replaced),
                OverSessions::Reject => (self.seats.pop_last(), Cause::TooManySessions),
            };
            let Some((_, (_, handle))) = gone else { return };
            handle.order(cause);
        }
    }
}

/// Ends sessions that are too many, as far as they are here.
pub(super) fn end(wired: &Wired, sessions: &[Box<str>], for_newer: bool) {
    let cause = match for_newer {
        true => Cause::Replaced,
        false => Cause::TooManySessions,
    };
    for session in sessions {
        let found = session.parse().ok();
        let found = found.and_then(|id| wired.core.sessions().find(id));
        if let Some((handle, _)) = found {
            handle.order(cause);
        }
    }
}

/// Another node says which users have as many sessions as they may, and which have fewer.
pub(super) fn note(wired: &Wired, full: &[Named], roomy: &[Named]) {
    for (all, is_full) in [(full, true), (roomy, false)] {
        for (route, user) in all {
            let caps = wired.core.cluster_caps();
            let its = caps.filter(|caps| caps.route.as_deref() == route.as_deref());
            for caps in its {
                caps.set_full(user, is_full);
            }
        }
    }
}
