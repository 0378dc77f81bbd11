//! Limits on sessions that hold on all nodes together: what this node knows of the others, by which it
//! refuses at the door. `cluster` tells it, off the data path, and ends what is too many all the same.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::plan::{LimitScope, OverSessions, SessionLimits};

/// Users who are known to have as many sessions as they may; of more it is found out when they have opened
/// one too many.
const MOST_KNOWN: usize = 65_536;

/// The limits of the gateway, or of a route, that hold on all nodes together.
#[derive(Debug)]
pub(crate) struct ClusterCaps {
    /// The route; `None`: they are the gateway's.
    pub(crate) route: Option<Arc<str>>,
    /// Of all sessions.
    pub(crate) most: Option<usize>,
    /// Of those of one user.
    pub(crate) per_user: Option<usize>,
    /// What becomes of one too many.
    pub(crate) over: OverSessions,
    /// How many sessions other nodes have.
    elsewhere: AtomicUsize,
    /// Users who have as many as they may, and whether one of them was refused since that was looked at.
    full: Mutex<HashMap<Box<str>, bool>>,
}

impl ClusterCaps {
    /// Those of `limits`, where there are any.
    pub(crate) fn wanted(limits: &SessionLimits, route: Option<&Arc<str>>) -> Option<Arc<Self>> {
        let held = |most: Option<usize>, on| most.filter(|_| on == LimitScope::Cluster);
        let most = held(limits.most, limits.most_on);
        let per_user = held(limits.per_user, limits.per_user_on);
        (most.is_some() || per_user.is_some()).then(|| {
            Arc::new(Self {
                route: route.map(Arc::clone),
                most,
                per_user,
                over: limits.over,
                elsewhere: AtomicUsize::new(0),
                full: Mutex::default(),
            })
        })
    }

    fn refuses(&self) -> bool {
        self.over == OverSessions::Reject
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, bool>> {
        self.full.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether one more than the `here` that this node has is refused.
    pub(super) fn is_full(&self, here: usize) -> bool {
        let all = here.saturating_add(self.elsewhere.load(Ordering::Relaxed));
        self.refuses() && self.most.is_some_and(|most| all >= most)
    }

    /// Whether one more of this user is refused.
    pub(super) fn is_full_for(&self, user: &str) -> bool {
        if self.per_user.is_none() || !self.refuses() {
            return false;
        }
        let mut full = self.lock();
        let was_asked = full.get_mut(user);
        was_asked.map(|was_asked| *was_asked = true).is_some()
    }

    /// Other nodes have so many.
    pub(crate) fn set_elsewhere(&self, count: usize) {
        self.elsewhere.store(count, Ordering::Relaxed);
    }

    /// A user has as many as it may, or fewer; whether that is news.
    pub(crate) fn set_full(&self, user: &str, is_full: bool) -> bool {
        let mut known = self.lock();
        if !is_full {
            return known.remove(user).is_some();
        }
        if let Some(was_asked) = known.get_mut(user) {
            *was_asked = false;
            return false;
        }
        let has_room = known.len() < MOST_KNOWN;
        if has_room {
            known.insert(user.into(), false);
        }
        drop(known);
        has_room && self.refuses()
    }

    /// Those who were refused since that was looked at: it may be wrong.
    pub(crate) fn asked(&self) -> Vec<Box<str>> {
        let full = self.lock();
        let asked = full.iter().filter(|(_, was_asked)| **was_asked);
        asked.map(|(user, _)| user.clone()).collect()
    }

    /// Nothing is known of other nodes any more.
    pub(crate) fn forget(&self) {
        self.set_elsewhere(0);
        *self.lock() = HashMap::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(over: OverSessions) -> Arc<ClusterCaps> {
        let limits = SessionLimits {
            most: Some(3),
            per_user: Some(1),
            most_on: LimitScope::Cluster,
            per_user_on: LimitScope::Cluster,
            over,
            ..SessionLimits::default()
        };
        ClusterCaps::wanted(&limits, None).unwrap()
    }

    #[test]
    fn who_is_full_elsewhere_is_refused_until_it_is_told_otherwise() {
        let caps = caps(OverSessions::Reject);
        assert!(!caps.is_full(2));
        caps.set_elsewhere(1);
        assert!(caps.is_full(2) && !caps.is_full(1));
        assert!(caps.set_full("u", true) && !caps.set_full("u", true));
        assert_eq!(caps.asked(), []);
        assert!(caps.is_full_for("u") && !caps.is_full_for("v"));
        assert_eq!(caps.asked(), ["u".into()]);
        caps.set_full("u", true);
        assert_eq!(caps.asked(), []);
        assert!(caps.set_full("u", false) && !caps.set_full("u", false));
        assert!(!caps.is_full_for("u"));
        caps.set_full("u", true);
        caps.forget();
        assert!(!caps.is_full_for("u") && !caps.is_full(2));
    }

    #[test]
    fn nobody_is_refused_where_the_oldest_goes() {
        let caps = caps(OverSessions::EvictOldest);
        caps.set_elsewhere(9);
        assert!(!caps.is_full(9) && !caps.set_full("u", true) && !caps.is_full_for("u"));
    }

    #[test]
    fn what_is_known_of_users_is_bounded() {
        let caps = caps(OverSessions::Reject);
        for number in 0..=MOST_KNOWN {
            assert_eq!(
                caps.set_full(&number.to_string(), true),
                number < MOST_KNOWN
            );
        }
    }

    #[test]
    fn limits_of_one_node_are_none_of_these() {
        let limits = SessionLimits {
            most: Some(3),
            per_user: Some(1),
            ..SessionLimits::default()
        };
        assert!(ClusterCaps::wanted(&limits, None).is_none());
    }
}
