//! Events that were routed lately: what a bus carries twice is left once.

use std::collections::HashSet;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Events that are remembered at least, of so many that come one behind the other; twice that at most.
const REMEMBERED: usize = 32_768;
/// For how long, at least.
const AGE: Duration = Duration::from_secs(5 * 60);
/// For how long at the most: generations change when something comes.
pub(super) const LONGEST: Duration = Duration::from_secs(3 * AGE.as_secs());

/// Two generations: what falls out of the older one may be routed again.
#[derive(Debug)]
pub(super) struct Seen<K> {
    young: HashSet<K>,
    old: HashSet<K>,
    since: Instant,
}

impl<K: Hash + Eq> Seen<K> {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            young: HashSet::new(),
            old: HashSet::new(),
            since: now,
        }
    }

    /// Whether an event is seen for the first time.
    pub(super) fn is_new(&mut self, id: K, now: Instant) -> bool {
        let age = now.saturating_duration_since(self.since);
        if age >= AGE || self.young.len() >= REMEMBERED {
            self.old = std::mem::take(&mut self.young);
            if age >= 2 * AGE {
                self.old = HashSet::new();
            }
            self.since = now;
        }
        !self.old.contains(&id) && self.young.insert(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::EventId;

    #[test]
    fn what_comes_again_soon_is_known() {
        let begun = Instant::now();
        let mut seen = Seen::new(begun);
        let (one, two) = (EventId::next(), EventId::next());
        assert!(seen.is_new(one, begun));
        assert!(!seen.is_new(one, begun));
        assert!(seen.is_new(two, begun + AGE));
        assert!(!seen.is_new(one, begun + AGE));
        assert!(!seen.is_new(two, begun + 2 * AGE));
        assert!(seen.is_new(one, begun + 4 * AGE));
        assert!(seen.is_new(two, begun + 8 * AGE), "nothing came for long");
    }

    /// Longer than an answer is kept, no event is known that was asked for under the same key.
    #[test]
    fn nothing_is_known_for_longer_than_that() {
        let (begun, moment) = (Instant::now(), Duration::from_millis(1));
        let mut seen = Seen::new(begun);
        assert!(seen.is_new(1, begun));
        assert!(seen.is_new(2, begun + 2 * AGE - moment));
        assert!(!seen.is_new(1, begun + 3 * AGE - 2 * moment));
        assert!(seen.is_new(1, begun + LONGEST));
    }

    #[test]
    fn it_holds_so_many_and_no_more() {
        let now = Instant::now();
        let mut seen = Seen::new(now);
        let ids: Vec<_> = (0..5 * REMEMBERED).map(|_| EventId::next()).collect();
        for id in &ids {
            assert!(seen.is_new(*id, now));
            assert!(seen.young.len() + seen.old.len() <= 2 * REMEMBERED);
        }
        for id in &ids[4 * REMEMBERED..] {
            assert!(!seen.is_new(*id, now));
        }
    }
}
