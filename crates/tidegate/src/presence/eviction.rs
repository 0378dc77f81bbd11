//! Where one session too many sends the oldest one away: the sessions that count, in the order of their
//! opening.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::plan::{OverSessions, SessionLimits};
use crate::limits::{Client, client_of};
use crate::session::Cause;
use crate::session::handle::{Handle, Rank};

/// The sessions of the gateway, or of a route. One that was sent away counts no more, though it takes
/// its time to end.
#[derive(Debug)]
pub(crate) struct Eviction {
    limits: SessionLimits,
    lines: Mutex<Lines>,
}

/// Who stands where. What has no limit has no line.
#[derive(Debug, Default)]
struct Lines {
    all: BTreeMap<Rank, Arc<Handle>>,
    users: HashMap<Box<str>, Line>,
    clients: HashMap<Client, Line>,
}

/// Sessions in the order of their opening.
type Line = Vec<Arc<Handle>>;

impl Eviction {
    /// One where somebody is to be sent away at all.
    pub(crate) fn wanted(limits: &SessionLimits) -> Option<Self> {
        let is_wanted = limits.are_any() && limits.over == OverSessions::EvictOldest;
        is_wanted.then(|| Self {
            limits: *limits,
            lines: Mutex::default(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more, and sends away whoever has to go for it.
    pub(super) fn enter(&self, handle: &Arc<Handle>) {
        let mut lines = self.lock();
        let mut evicted = Vec::new();
        if let Some(most) = self.limits.most {
            lines.all.insert(handle.rank(), Arc::clone(handle));
            while lines.all.len() > most {
                let oldest = lines.all.first_key_value();
                let Some(oldest) = oldest.map(|(_, oldest)| Arc::clone(oldest)) else {
                    break;
                };
                lines.remove(&oldest);
                evicted.push(oldest);
            }
        }
        if let Some(most) = self.limits.per_address {
            let client = client_of(handle.facts.client());
            evicted.extend(lines.queue(|lines| &mut lines.clients, client, handle, most));
        }
        self.queue_for_user(&mut lines, handle, &mut evicted);
        drop(lines);
        send_away(&evicted);
    }

    /// The same for the user of one that has entered, who is known only now.
    pub(super) fn identify(&self, handle: &Arc<Handle>) {
        let mut evicted = Vec::new();
        self.queue_for_user(&mut self.lock(), handle, &mut evicted);
        send_away(&evicted);
    }

    fn queue_for_user(&self, lines: &mut Lines, handle: &Arc<Handle>, evicted: &mut Line) {
        if let Some((most, user)) = self.limits.per_user.zip(handle.facts.user()) {
            evicted.extend(lines.queue(|lines| &mut lines.users, user.into(), handle, most));
        }
    }

    /// It is over.
    pub(super) fn leave(&self, handle: &Handle) {
        self.lock().remove(handle);
    }
}

impl Lines {
    /// Puts one into a line; who has to go for it.
    fn queue<K: Hash + Eq>(
        &mut self,
        of: impl Fn(&mut Self) -> &mut HashMap<K, Line>,
        key: K,
        handle: &Arc<Handle>,
        most: usize,
    ) -> Line {
        let line = of(self).entry(key).or_default();
        let place = line.partition_point(|one| one.rank() < handle.rank());
        line.insert(place, Arc::clone(handle));
        let over = line.len().saturating_sub(most);
        let evicted: Line = line.iter().take(over).map(Arc::clone).collect();
        for one in &evicted {
            self.remove(one);
        }
        evicted
    }

    /// Takes one out of all lines that it stands in.
    fn remove(&mut self, handle: &Handle) {
        self.all.remove(&handle.rank());
        if let Some(user) = handle.facts.user() {
            leave(&mut self.users, user, handle);
        }
        leave(&mut self.clients, &client_of(handle.facts.client()), handle);
    }
}

fn leave<K, Q>(lines: &mut HashMap<K, Line>, key: &Q, handle: &Handle)
where
    K: Hash + Eq + std::borrow::Borrow<Q>,
    Q: Hash + Eq + ?Sized,
{
    let Some(line) = lines.get_mut(key) else {
        return;
    };
    if let Ok(place) = line.binary_search_by(|one| one.rank().cmp(&handle.rank())) {
        line.remove(place);
    }
    if line.is_empty() {
        lines.remove(key);
        if lines.len() * 4 < lines.capacity() {
            let room = lines.len() * 2;
            lines.shrink_to(room.max(64));
        }
    }
}

fn send_away(evicted: &[Arc<Handle>]) {
    for one in evicted {
        one.order(Cause::Replaced);
    }
}
