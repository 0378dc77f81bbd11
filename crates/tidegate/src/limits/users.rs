//! How much of something each user has in use: calls, in all of its sessions together, or sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::Gauge;

/// Users, and what each has in use.
#[derive(Debug)]
pub(crate) struct Users {
    /// What one of them may have in use; `None`: any number.
    most: Option<usize>,
    gauges: Mutex<HashMap<Box<str>, Weak<Gauge>>>,
}

impl Users {
    pub(crate) fn new(most: Option<usize>) -> Self {
        Self {
            most,
            gauges: Mutex::default(),
        }
    }

    /// What counts for `user`, the same for all of its sessions; `None` where there is no bound.
    pub(crate) fn gauge(&self, user: &str) -> Option<Arc<Gauge>> {
        let most = self.most?;
        let mut gauges = self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gauge) = gauges.get(user).and_then(Weak::upgrade) {
            return Some(gauge);
        }
        // Before it would grow, it gives back what users took that are gone.
        if gauges.len() == gauges.capacity() {
            gauges.retain(|_, gauge| gauge.strong_count() > 0);
            let room = gauges.len() * 2;
            gauges.shrink_to(room);
        }
        let gauge = Arc::new(Gauge::new(most));
        gauges.insert(user.into(), Arc::downgrade(&gauge));
        drop(gauges);
        Some(gauge)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_of_a_user_share_what_it_may() {
        let users = Users::new(Some(2));
        let (one, two) = (users.gauge("a").unwrap(), users.gauge("a").unwrap());
        let held = (one.take(), two.take());
        assert!(held.0.is_some() && held.1.is_some() && one.take().is_none());
        assert!(users.gauge("b").unwrap().take().is_some());
        // What is under way counts, be its session closed.
        drop((one, two));
        assert!(users.gauge("a").unwrap().take().is_none());
        drop(held);
        assert!(users.gauge("a").unwrap().take().is_some());
        assert!(Users::new(None).gauge("a").is_none());
    }

    #[test]
    fn nothing_is_kept_of_users_who_are_gone() {
        let users = Users::new(Some(1));
        for number in 0..10_000 {
            users.gauge(&number.to_string());
        }
        assert!(users.gauges.lock().unwrap().capacity() < 64);
    }
}
