//! What a node whose lease has lapsed has left.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use super::{Held, State};
use crate::cluster::{Entry, NodeId, Orphan};

#[derive(Debug, Default)]
pub(super) struct Dead {
    /// Nothing is taken from it any more.
    pub(super) is_fenced: bool,
    /// Who tells of what is left, and until when.
    claim: Option<(NodeId, Instant)>,
}

impl State {
    /// Whether any were open.
    pub(super) fn count_out(&mut self, node: &NodeId, most: usize) -> bool {
        let Some(dead) = self.dead.get_mut(node) else {
            return false;
        };
        dead.is_fenced = true;
        let time = SystemTime::now();
        let its = self.open_of(node).take(most);
        let its: Vec<_> = its.map(|one| one.entry.clone()).collect();
        for Entry { session, user, .. } in &its {
            let is_last = self.rise(session, user.as_deref());
            if let Some(held) = self.sessions.get_mut(session) {
                held.counted_out = Some((is_last, time));
            }
        }
        !its.is_empty()
    }

    pub(super) fn claim(&mut self, by: &NodeId, dead: &NodeId, lease: Duration) -> bool {
        let now = Instant::now();
        let Some(Dead { claim, .. }) = self.dead.get_mut(dead) else {
            return false;
        };
        let is_free = match claim {
            Some((holder, until)) => holder == by || *until <= now,
            None => true,
        };
        if is_free {
            *claim = Some((by.clone(), now + lease));
        }
        is_free
    }

    pub(super) fn orphans(&self, dead: &NodeId, after: &str, most: usize) -> Vec<Orphan> {
        let its = self.sessions.values().filter(|one| one.owner == *dead);
        let its = its.filter_map(Held::orphan);
        let mut its: Vec<_> = its.filter(|one| *one.place > *after).collect();
        its.sort_unstable_by(|one, other| one.place.cmp(&other.place));
        its.truncate(most);
        its
    }
}

impl Held {
    /// What is left of it, where it was counted out.
    fn orphan(&self) -> Option<Orphan> {
        let (is_last, time) = self.counted_out?;
        let since = time.duration_since(UNIX_EPOCH);
        let since = since.unwrap_or_default().as_micros();
        Some(Orphan {
            place: format!("{since:016}{}", self.entry.session).into(),
            entry: self.entry.clone(),
            is_last,
            time,
        })
    }
}
