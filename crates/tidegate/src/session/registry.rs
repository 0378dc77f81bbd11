//! The sessions of one worker. A session registers when it starts and its guard unregisters it when
//! it is dropped, whatever the way. Each has one deadline, in seconds, and once a second a sweep
//! wakes those whose deadline has passed; what was due is theirs to know. An idle session holds no
//! timer and is not woken before its deadline.

use std::collections::hash_map::RandomState;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use slab::Slab;
use tokio::task::yield_now;

use super::Cause;
use super::clock::Clock;
use super::facts::Facts;
use super::handle::Handle;
use super::id::{ConnectionId, SessionId};
use crate::auth::Identity;
use crate::metrics::microseconds;
use crate::presence::{Directory, Roles};

/// The live sessions of one worker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<Slab<Arc<Handle>>>,
    /// The order that all were given, and that whoever registers later gets too.
    standing: AtomicU8,
    /// What ids are made with.
    keys: RandomState,
    /// How many ids were made so far.
    count: AtomicU64,
    /// Whose sessions these are, of all workers.
    directory: Arc<Directory>,
}

/// A session's place in the registry.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    handle: Arc<Handle>,
}

/// Places that are looked at while the registry is locked. A session that opens or ends then waits
/// for that long: some microseconds.
const SLICE: usize = 256;

impl Registry {
    /// One whose sessions enter `directory`.
    pub(crate) fn new(directory: Arc<Directory>) -> Self {
        Self {
            directory,
            ..Self::default()
        }
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Arc<Handle>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a connection that was accepted now.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        ConnectionId::new(&self.keys, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a session that is opened now, without a deadline; `connection` has become it, and `roles`
    /// are what its user is, where that is known.
    pub(crate) fn register(
        self: &Arc<Self>,
        connection: ConnectionId,
        facts: Facts,
        roles: Option<&Roles>,
        clock: &Clock,
    ) -> Registered {
        let mut sessions = self.lock();
        let entry = sessions.vacant_entry();
        let id = SessionId::new(connection, entry.key());
        let standing = self.standing.load(Ordering::Acquire);
        let handle = Arc::new(Handle::new(id, facts, clock, standing));
        entry.insert(Arc::clone(&handle));
        drop(sessions);
        let registered = Registered {
            registry: Arc::clone(self),
            handle,
        };
        self.directory.enter(&registered.handle, roles);
        registered
    }

    /// How many sessions are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// The session with this id.
    pub(crate) fn find(&self, id: SessionId) -> Option<Arc<Handle>> {
        let sessions = self.lock();
        let handle = sessions.get(id.slot()).filter(|handle| handle.id == id);
        handle.map(Arc::clone)
    }

    /// The sessions at a slice of places from `place` on, and the place behind the slice; `None`:
    /// there is none. A session keeps its place, so whoever goes from slice to slice sees each that
    /// stays, and sees none twice.
    pub(crate) fn slice(&self, place: usize) -> (Vec<Arc<Handle>>, Option<usize>) {
        let sessions = self.lock();
        let end = place.saturating_add(SLICE);
        let at = |place| sessions.get(place).map(Arc::clone);
        let handles = (place..end).filter_map(at).collect();
        (handles, (end < sessions.capacity()).then_some(end))
    }

    /// The sessions at each `step`th place from `place` on, of so many as are looked at at a time, and
    /// the place behind them; `None`: there is none.
    pub(crate) fn turn(&self, place: usize, step: usize) -> (Vec<Arc<Handle>>, Option<usize>) {
        let sessions = self.lock();
        let end = place.saturating_add(step.saturating_mul(SLICE));
        let places = (place..end.min(sessions.capacity())).step_by(step.max(1));
        let handles = places.filter_map(|place| sessions.get(place).map(Arc::clone));
        let handles = handles.collect();
        (handles, (end < sessions.capacity()).then_some(end))
    }

    /// Tells every session to end, those that register later too.
    pub(crate) fn end_all(&self, cause: Cause) {
        self.standing.store(cause as u8, Ordering::Release);
        for (_key, handle) in self.lock().iter() {
            handle.order(cause);
        }
    }

    /// Gives notice to every session that was opened behind `since`, in [`microseconds`], and tells up to
    /// when they were.
    pub(crate) fn give_notice(&self, cause: Cause, since: u64) -> u64 {
        let sessions = self.lock();
        let now = microseconds();
        for (_key, handle) in sessions.iter() {
            if (since..now).contains(&handle.rank().0) {
                handle.give_notice(cause);
            }
        }
        now
    }

    /// Tells up to `count` sessions to end, from `place` on, and moves that behind them; how many it
    /// told.
    pub(crate) fn end_next(&self, place: &mut usize, count: usize, cause: Cause) -> usize {
        let sessions = self.lock();
        let mut told = 0;
        while told < count && *place < sessions.capacity() {
            if let Some(handle) = sessions.get(*place) {
                handle.order(cause);
                told += 1;
            }
            *place += 1;
        }
        told
    }

    /// Wakes those whose deadline has passed, and ends those whose token has ended.
    pub(crate) fn sweep(&self, clock: &Clock) {
        let (now, mut wall) = (clock.now(), None);
        for (_key, handle) in self.lock().iter() {
            if handle.is_due(now) {
                handle.overdue();
            }
            if handle.may_expire(now) {
                handle.expire(now, *wall.get_or_insert_with(SystemTime::now));
            }
        }
    }

    /// Ends those whose token is one that `is_revoked` tells, and tells how many there were. Between two
    /// slices of places others have their turn.
    pub(crate) async fn end_revoked(&self, is_revoked: impl Fn(&Identity) -> bool) -> usize {
        let (mut place, mut ended) = (Some(0), 0);
        while let Some(from) = place {
            let (handles, next) = self.slice(from);
            for handle in handles {
                if handle.identity().is_some_and(|one| is_revoked(&one)) {
                    handle.order(Cause::TokenRevoked);
                    ended += 1;
                }
            }
            place = next;
            yield_now().await;
        }
        ended
    }
}

impl Registered {
    pub(crate) const fn handle(&self) -> &Arc<Handle> {
        &self.handle
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let cause = self.handle.ended().map(|(cause, _)| cause);
        if let (Some(cause), Some(identity)) = (cause, self.handle.identity())
            && !self.handle.is_succeeded()
        {
            self.handle.facts.tokens().disconnected(&identity, cause);
        }
        self.registry.directory.leave(&self.handle);
        // Last, so that whoever sees it gone sees what came of that.
        self.registry.lock().try_remove(self.handle.id.slot());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::session::handle::Orders;
    use crate::session::testing::facts;

    fn registered(registry: &Arc<Registry>) -> Registered {
        registry.register(registry.connection_id(), facts(), None, &Clock::default())
    }

    #[test]
    fn a_deadline_is_told_once_and_only_when_it_has_come() {
        let (registry, clock) = (Arc::new(Registry::default()), Clock::default());
        let session = registered(&registry);
        let told = |now: u32| {
            clock.set(now);
            registry.sweep(&clock);
            let orders = session.handle().take_orders();
            assert_eq!(orders.end, None);
            orders.overdue
        };
        assert!(!told(1_000_000), "no deadline was set");
        session.handle().set_deadline(1_000_010);
        assert!(!told(1_000_009));
        assert!(told(1_000_010));
        assert!(!told(1_000_011));
    }

    #[test]
    fn an_order_and_a_deadline_do_not_swallow_each_other() {
        let both = Orders {
            end: Some(Cause::Drain),
            overdue: true,
        };
        for order_first in [true, false] {
            let (registry, clock) = (Arc::new(Registry::default()), Clock::default());
            let session = registered(&registry);
            session.handle().set_deadline(5);
            clock.set(5);
            if order_first {
                registry.end_all(Cause::Drain);
            }
            registry.sweep(&clock);
            registry.end_all(Cause::Drain);
            assert_eq!(session.handle().take_orders(), both, "{order_first}");
            assert_eq!(session.handle().take_orders(), Orders::default());
        }
    }

    #[test]
    fn some_are_told_to_end_and_each_of_them_once() {
        let registry = Arc::new(Registry::default());
        let mut sessions: Vec<_> = (0..5).map(|_| registered(&registry)).collect();
        drop(sessions.remove(1));
        let told = |sessions: &[Registered]| -> Vec<_> {
            let orders = sessions.iter().map(|one| one.handle().take_orders().end);
            orders.map(|end| end.is_some()).collect()
        };
        let mut place = 0;
        assert_eq!(registry.end_next(&mut place, 2, Cause::Drain), 2);
        assert_eq!(told(&sessions), [true, true, false, false]);
        assert_eq!(registry.end_next(&mut place, 3, Cause::Drain), 2);
        assert_eq!(told(&sessions), [false, false, true, true]);
        assert_eq!(registry.end_next(&mut place, 3, Cause::Drain), 0);
    }

    #[test]
    fn who_comes_after_the_end_of_all_is_told_too() {
        let registry = Arc::new(Registry::default());
        registry.end_all(Cause::Drain);
        let orders = registered(&registry).handle().take_orders();
        assert_eq!(orders.end, Some(Cause::Drain));
        assert_eq!(registry.len(), 0);
    }

    #[test]
    fn an_id_finds_its_session_and_none_after_it() {
        let registry = Arc::new(Registry::default());
        let (first, second) = (registered(&registry), registered(&registry));
        let id = first.handle().id;
        assert_eq!(registry.find(id).unwrap().id, id);
        drop(first);
        let third = registered(&registry);
        assert_eq!(
            third.handle().id.slot(),
            id.slot(),
            "the place is taken again"
        );
        assert!(registry.find(id).is_none());
        assert_eq!(
            registry.find(second.handle().id).unwrap().id,
            second.handle().id
        );
    }

    #[test]
    fn whoever_stays_is_seen_once_while_others_come_and_go() {
        let registry = Arc::new(Registry::default());
        let mut others: Vec<_> = (0..3 * SLICE).map(|_| registered(&registry)).collect();
        let staying: Vec<_> = (0..500).map(|_| registered(&registry)).collect();
        let (mut seen, mut place) = (Vec::new(), Some(0));
        while let Some(from) = place {
            let (handles, next) = registry.slice(from);
            assert!(handles.len() <= SLICE);
            seen.extend(handles.iter().map(|handle| handle.id.to_string()));
            others.truncate(others.len().saturating_sub(200));
            others.extend((0..100).map(|_| registered(&registry)));
            place = next.filter(|_| seen.len() < 100_000);
        }
        let distinct: HashSet<_> = seen.iter().collect();
        assert_eq!(distinct.len(), seen.len(), "one was seen twice");
        for session in &staying {
            assert!(distinct.contains(&session.handle().id.to_string()));
        }
    }

    #[test]
    fn each_has_its_turn_once_and_as_many_in_one_second_as_in_another() {
        let registry = Arc::new(Registry::default());
        let period = 7;
        let sessions: Vec<_> = (0..7 * SLICE + 3).map(|_| registered(&registry)).collect();
        let mut seen = HashSet::new();
        for second in 0..period {
            let (mut place, mut count) = (Some(second), 0);
            while let Some(from) = place {
                let (handles, next) = registry.turn(from, period);
                count += handles.len();
                seen.extend(handles.iter().map(|handle| handle.id.to_string()));
                place = next;
            }
            assert!((SLICE..=SLICE + 1).contains(&count), "{count}");
        }
        assert_eq!(seen.len(), sessions.len());
    }

    #[test]
    fn the_first_order_and_its_farewell_count() {
        let registry = Arc::new(Registry::default());
        let session = registered(&registry);
        session.handle().dismiss(Some(4000), Some("".into()));
        session.handle().dismiss(Some(4001), None);
        session.handle().dismiss(None, None);
        registry.end_all(Cause::Drain);
        assert_eq!(session.handle().take_orders().end, Some(Cause::Admin));
        assert_eq!(
            session.handle().farewell(Cause::Admin).map(|one| one.code),
            Some(4000)
        );
        let session = registered(&Arc::new(Registry::default()));
        session.handle().dismiss(None, None);
        session.handle().dismiss(Some(4000), None);
        assert_eq!(
            session.handle().farewell(Cause::Admin).map(|one| one.code),
            Some(1008)
        );
    }
}
