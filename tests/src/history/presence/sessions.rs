//! Each session is told as opened and as closed, once.

use super::doubt::{Doubts, SLACK};
use super::{Presence, Told, distinct, in_turn};

pub(super) fn judge(presence: &Presence, faults: &mut Vec<String>) {
    let each = distinct(&presence.of_sessions);
    for (session, told) in &each {
        let one = Session {
            doubts: &presence.doubts,
            told: in_turn(told.clone()),
            all: presence.of_sessions.iter(),
            is_open: presence.open.contains(*session),
        };
        let wrong = one.wrong().into_iter();
        faults.extend(wrong.map(|what| format!("session {session} {what}: {told:?}")));
    }
    let untold = presence.open.iter();
    let untold = untold.filter(|session| !each.contains_key(session.as_str()));
    faults.extend(untold.map(|session| format!("session {session} is open, and nobody was told")));
}

struct Session<'p> {
    doubts: &'p Doubts,
    /// By their times.
    told: Vec<&'p Told>,
    /// Of all sessions, repeats too.
    all: std::slice::Iter<'p, Told>,
    is_open: bool,
}

impl Session<'_> {
    fn wrong(&self) -> Option<&'static str> {
        let (first, last) = (self.told[0], self.told[self.told.len() - 1]);
        let node = first.node.as_deref().unwrap_or_default();
        let begins = self.told.iter().filter(|one| one.is_begin).count();
        let ends = self.told.len() - begins;
        let until = if self.is_open { i64::MAX } else { last.time };
        let rebirths = self.doubts.rebirths(node, first.time, until).count();
        let is_open = usize::from(self.is_open);
        if begins > 1 + rebirths {
            return Some("was told as opened too often");
        }
        if ends > rebirths + 1 - is_open {
            return Some("was told as closed too often");
        }
        if self.is_open {
            return (!last.is_begin).then_some("is open, and was told last as closed");
        }
        if begins == 0 {
            let since = first.since.unwrap_or(first.time);
            let is_forgiven = self.doubts.was_unpublished(node, since);
            return (!is_forgiven).then_some("was never told as opened");
        }
        if last.is_begin {
            let is_forgiven = self.doubts.was_unheard(node, last.time) || self.crossed(node, last);
            return (!is_forgiven).then_some("is gone, and was not told as closed");
        }
        None
    }

    /// Whether its node told its end while it told its opening anew.
    fn crossed(&self, node: &str, reopened: &Told) -> bool {
        let mut rebirths = self.doubts.rebirths(node, reopened.time, reopened.time);
        rebirths.any(|rebirth| {
            let mut ends = self.all.clone().filter(|one| one.whom == reopened.whom);
            ends.any(|end| {
                let is_own = !end.is_begin && !end.is_by_others;
                is_own && rebirth.meets(end.time, end.time + SLACK)
            })
        })
    }
}
