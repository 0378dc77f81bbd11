//! The store of one process: its gateways are the nodes.

mod dead;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::ready;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::dead::Dead;
use super::{
    Change, Ended, Entry, Inbox, Member, Membership, NodeId, OnlineUser, Orphan, Revocation,
    Revoked, SessionPage, Standing, StateStore, StoreError, Tally, To, Verdict,
};

/// Shared by the gateways of one process, each with a clone of one `Arc`. Nothing of it outlives the
/// process.
#[derive(Debug, Default)]
pub struct MemoryStore(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When the leases of members lapse.
    leases: BTreeMap<NodeId, Instant>,
    /// When anybody renewed one last.
    renewed: Option<Instant>,
    /// Whose leases have lapsed.
    dead: BTreeMap<NodeId, Dead>,
    /// Of whom nothing is left.
    buried: BTreeSet<NodeId>,
    sessions: BTreeMap<Box<str>, Held>,
    /// Their sessions, in the order of their opening.
    users: BTreeMap<Box<str>, BTreeSet<Place>>,
    tallies: HashMap<Box<str>, BTreeMap<NodeId, Box<str>>>,
    /// Each with its number.
    revoked: HashMap<Box<str>, (u64, Revocation)>,
    revocations: u64,
    epoch: u64,
    inboxes: HashMap<NodeId, mpsc::Sender<Box<[u8]>>>,
}

/// When a session was opened, and its id.
type Place = (SystemTime, Box<str>);

#[derive(Debug)]
struct Held {
    owner: NodeId,
    entry: Entry,
    /// It was counted out: whether its user is offline with it, and when.
    counted_out: Option<(bool, SystemTime)>,
}

impl State {
    fn lapse(&mut self, now: Instant, lease: Duration) {
        let last = self.renewed.replace(now);
        if last.is_some_and(|last| now.saturating_duration_since(last) > lease * 2 / 3) {
            // Nobody could renew: that they are silent says nothing of them.
            self.leases
                .values_mut()
                .for_each(|until| *until = now + lease);
        }
        let lapsed = self.leases.iter().filter(|(_, until)| **until <= now);
        let lapsed: Vec<_> = lapsed.map(|(node, _)| node.clone()).collect();
        for node in lapsed {
            self.leases.remove(&node);
            self.dead.insert(node, Dead::default());
        }
    }

    /// Whether the user is online with this session who was not before.
    fn sit(&mut self, entry: &Entry, since: SystemTime) -> bool {
        let Some(user) = &entry.user else {
            return false;
        };
        let sessions = self.users.entry(user.clone()).or_default();
        if !sessions.iter().any(|(_, id)| *id == entry.session) {
            sessions.insert((since, entry.session.clone()));
        }
        sessions.len() == 1
    }

    /// Whether the user is offline without this session.
    fn rise(&mut self, session: &str, user: Option<&str>) -> bool {
        let Some((user, sessions)) = user.and_then(|user| Some((user, self.users.get_mut(user)?)))
        else {
            return false;
        };
        let before = sessions.len();
        sessions.retain(|(_, id)| **id != *session);
        let is_last = sessions.len() < before && sessions.is_empty();
        if is_last {
            self.users.remove(user);
        }
        is_last
    }

    fn change(&mut self, node: &NodeId, change: Change) -> Verdict {
        let mut time = SystemTime::now();
        let (is_turn, was_known, user) = match change {
            Change::Enter { entry, since } => {
                let before = self.sessions.remove(&entry.session);
                let was_known = before.is_some_and(|one| one.counted_out.is_none());
                let is_turn = self.sit(&entry, since) && !was_known;
                let user = entry.user.clone();
                let held = Held {
                    owner: node.clone(),
                    entry,
                    counted_out: None,
                };
                self.sessions.insert(held.entry.session.clone(), held);
                (is_turn, was_known, user)
            }
            Change::Leave {
                session,
                user,
                is_kept,
            } => {
                let held = self.sessions.get(&session);
                let is_its = held.is_none_or(|held| held.owner == *node);
                let was_known = held.is_some();
                let mut is_turn = false;
                if let Some(known) = held.filter(|_| is_its).and_then(|held| held.counted_out) {
                    (is_turn, time) = known;
                } else if is_its {
                    let _was_last = self.rise(&session, user.as_deref());
                    // Told again, it is the same.
                    is_turn = user
                        .as_ref()
                        .is_some_and(|user| !self.users.contains_key(user));
                    match self.sessions.get_mut(&session) {
                        Some(held) if is_kept => held.counted_out = Some((is_turn, time)),
                        _ => drop(self.sessions.remove(&session)),
                    }
                }
                (is_turn, was_known, user)
            }
        };
        let sessions = user.and_then(|user| self.users.get(&user));
        Verdict {
            is_turn,
            was_known,
            sessions: sessions.map_or(0, |sessions| sessions.len() as u64),
            time,
        }
    }

    /// The open sessions of a node.
    fn open_of(&self, node: &NodeId) -> impl Iterator<Item = &Held> {
        let all = self.sessions.values();
        all.filter(move |one| one.owner == *node && one.counted_out.is_none())
    }
}

/// Whether an end is at least as late as another one.
fn lasts(end: Option<SystemTime>, other: Option<SystemTime>) -> bool {
    end.is_none_or(|end| other.is_some_and(|other| other <= end))
}

impl MemoryStore {
    /// It has lost what was revoked.
    #[cfg(test)]
    pub(super) fn lose_revocations(&self) {
        let mut state = self.lock();
        state.revoked.clear();
        (state.revocations, state.epoch) = (0, 0);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn done<T: Send + 'static>(
    result: Result<T, StoreError>,
) -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(ready(result))
}

impl StateStore for MemoryStore {
    fn open(&self, node: &NodeId) -> BoxFuture<'_, Result<Inbox, StoreError>> {
        let (sender, inbox) = Inbox::channel();
        let mut state = self.lock();
        state.inboxes.retain(|_, one| !one.is_closed());
        state.inboxes.insert(node.clone(), sender);
        drop(state);
        done(Ok(inbox))
    }

    fn renew(
        &self,
        node: &NodeId,
        lease: Duration,
        join: bool,
    ) -> BoxFuture<'_, Result<Standing, StoreError>> {
        let mut state = self.lock();
        let now = Instant::now();
        state.lapse(now, lease);
        let is_dead = state.dead.contains_key(node) || state.buried.contains(node);
        let membership = match state.leases.contains_key(node) {
            true => Membership::Held,
            false if is_dead => Membership::Dead,
            false => Membership::Unknown,
        };
        if membership == Membership::Held || join && membership == Membership::Unknown {
            state.leases.insert(node.clone(), now + lease);
        }
        done(Ok(Standing {
            membership,
            members: state.leases.keys().cloned().collect(),
            dead: state.dead.keys().cloned().collect(),
            time: SystemTime::now(),
        }))
    }

    fn leave(&self, node: &NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.lock();
        if state.leases.remove(node).is_some() {
            state.dead.insert(node.clone(), Dead::default());
        }
        state.inboxes.remove(node);
        drop(state);
        done(Ok(()))
    }

    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, StoreError>> {
        let (state, now) = (self.lock(), Instant::now());
        let leases = state.leases.iter();
        let leases = leases.map(|(node, until)| (node, Some(until.saturating_duration_since(now))));
        let all = leases.chain(state.dead.keys().map(|node| (node, None)));
        let members = all.map(|(node, lease)| Member {
            node: node.clone(),
            lease,
            sessions: state.open_of(node).count() as u64,
        });
        let members = members.collect();
        drop(state);
        done(Ok(members))
    }

    fn record(
        &self,
        node: &NodeId,
        changes: Vec<Change>,
    ) -> BoxFuture<'_, Result<Vec<Verdict>, StoreError>> {
        let mut state = self.lock();
        if state.dead.get(node).is_some_and(|dead| dead.is_fenced) || state.buried.contains(node) {
            return done(Err(StoreError::Fenced));
        }
        let changes = changes.into_iter();
        let verdicts = changes.map(|change| state.change(node, change)).collect();
        drop(state);
        done(Ok(verdicts))
    }

    fn held(&self, node: &NodeId) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>> {
        let state = self.lock();
        let its = state.open_of(node).map(|one| one.entry.clone()).collect();
        drop(state);
        done(Ok(its))
    }

    fn count_out(&self, dead: &NodeId, most: usize) -> BoxFuture<'_, Result<bool, StoreError>> {
        done(Ok(self.lock().count_out(dead, most)))
    }

    fn claim(
        &self,
        by: &NodeId,
        dead: &NodeId,
        lease: Duration,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        done(Ok(self.lock().claim(by, dead, lease)))
    }

    fn orphans<'s>(
        &'s self,
        dead: &NodeId,
        after: &'s str,
        most: usize,
    ) -> BoxFuture<'s, Result<Vec<Orphan>, StoreError>> {
        done(Ok(self.lock().orphans(dead, after, most)))
    }

    fn drop_ended<'s>(
        &'s self,
        node: &NodeId,
        ended: &'s [Ended],
    ) -> BoxFuture<'s, Result<(), StoreError>> {
        let mut state = self.lock();
        for Ended { session, .. } in ended {
            // Its node may have come back and entered it anew.
            let held = state.sessions.get(session);
            if held.is_some_and(|held| held.owner == *node && held.counted_out.is_some()) {
                state.sessions.remove(session);
            }
        }
        drop(state);
        done(Ok(()))
    }

    fn forget(&self, dead: &NodeId) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.lock();
        if state.dead.remove(dead).is_some() {
            state.buried.insert(dead.clone());
        }
        drop(state);
        done(Ok(()))
    }

    fn online(&self) -> BoxFuture<'_, Result<u64, StoreError>> {
        done(Ok(self.lock().users.len() as u64))
    }

    fn users<'s>(
        &'s self,
        after: &'s str,
        most: usize,
    ) -> BoxFuture<'s, Result<Vec<OnlineUser>, StoreError>> {
        let state = self.lock();
        let behind = (Bound::Excluded(after), Bound::Unbounded);
        let users = state.users.range::<str, _>(behind).take(most);
        let users = users.map(|(user, sessions)| OnlineUser {
            user: user.clone(),
            sessions: sessions.len() as u64,
        });
        done(Ok(users.collect()))
    }

    fn sessions_of<'s>(
        &'s self,
        user: &'s str,
    ) -> BoxFuture<'s, Result<Vec<(NodeId, Entry)>, StoreError>> {
        let state = self.lock();
        let ids = state.users.get(user).into_iter().flatten();
        let found = ids.filter_map(|(_, id)| state.sessions.get(id));
        let found = found.filter(|one| one.counted_out.is_none());
        let found = found.map(|one| (one.owner.clone(), one.entry.clone()));
        done(Ok(found.collect()))
    }

    fn sessions(&self, cursor: u64, most: usize) -> BoxFuture<'_, Result<SessionPage, StoreError>> {
        let state = self.lock();
        let from = usize::try_from(cursor).unwrap_or(usize::MAX);
        let all = state.sessions.values();
        let found = all.skip(from).take(most);
        let found: Vec<_> = found
            .filter(|one| one.counted_out.is_none())
            .map(|one| (one.owner.clone(), one.entry.clone()))
            .collect();
        let next = cursor.saturating_add(most as u64);
        let next = Some(next).filter(|next| *next < state.sessions.len() as u64);
        done(Ok(SessionPage {
            sessions: found,
            next,
        }))
    }

    fn tally<'s>(
        &'s self,
        node: &NodeId,
        of: &'s str,
        said: &'s str,
    ) -> BoxFuture<'s, Result<Vec<Tally>, StoreError>> {
        let mut state = self.lock();
        let State {
            tallies, leases, ..
        } = &mut *state;
        let tally = tallies.entry(of.into()).or_default();
        tally.insert(node.clone(), said.into());
        tally.retain(|node, _| leases.contains_key(node));
        let all = tally.iter();
        let all = all
            .map(|(node, said)| Tally {
                node: node.clone(),
                said: said.clone(),
            })
            .collect();
        drop(state);
        done(Ok(all))
    }

    fn revoke(&self, revocations: Vec<Revocation>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.lock();
        if state.epoch == 0 {
            state.epoch = NodeId::new("".into()).incarnation() | 1;
        }
        for mut one in revocations {
            if let Some((_, known)) = state.revoked.get(&one.what) {
                // What is no news is not told again.
                let lasts = lasts(known.ends, one.ends);
                if lasts && known.until >= one.until {
                    continue;
                }
                one.until = one.until.max(known.until);
                one.ends = if lasts { known.ends } else { one.ends };
            }
            state.revocations += 1;
            let number = state.revocations;
            state.revoked.insert(one.what.clone(), (number, one));
        }
        drop(state);
        done(Ok(()))
    }

    fn revoked(&self, after: u64, most: usize) -> BoxFuture<'_, Result<Revoked, StoreError>> {
        let mut state = self.lock();
        let now = SystemTime::now();
        state
            .revoked
            .retain(|_, (_, one)| one.ends.is_none_or(|ends| ends > now));
        let behind = state.revoked.values();
        let behind = behind.filter(|(number, _)| *number > after);
        let mut behind: Vec<_> = behind.cloned().collect();
        behind.sort_unstable_by_key(|(number, ..)| *number);
        let is_all = behind.len() <= most;
        behind.truncate(most);
        let last = match behind.last() {
            Some((number, ..)) if !is_all => *number,
            _ => state.revocations,
        };
        done(Ok(Revoked {
            revocations: behind.into_iter().map(|(_, one)| one).collect(),
            last,
            epoch: state.epoch,
        }))
    }

    fn send<'s>(&'s self, to: To<'s>, message: &'s [u8]) -> BoxFuture<'s, Result<(), StoreError>> {
        let state = self.lock();
        let mut to: Vec<_> = match to {
            To::All => state.inboxes.values().cloned().collect(),
            To::Node(node) => state.inboxes.get(node).cloned().into_iter().collect(),
        };
        drop(state);
        let message: Box<[u8]> = message.into();
        Box::pin(async move {
            for inbox in &mut to {
                // One that is gone hears nothing.
                let _gone = inbox.send(message.clone()).await;
            }
            Ok(())
        })
    }
}
