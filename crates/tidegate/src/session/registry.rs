//! The sessions of one worker. A session registers when it starts and its guard unregisters it when
//! it is dropped, whatever the way. Each has one deadline, in seconds, and once a second a sweep
//! wakes those whose deadline has passed; what was due is theirs to know. An idle session holds no
//! timer and is not woken before its deadline.

use std::collections::hash_map::RandomState;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomic_waker::AtomicWaker;
use slab::Slab;

use super::facts::Facts;
use super::id::{ConnectionId, SessionId};
use super::{Cause, Ending, Initiator};

/// The coarse clock of a worker: seconds since it started, moved once a second.
#[derive(Debug, Default)]
pub(crate) struct Clock(AtomicU32);

impl Clock {
    pub(crate) fn now(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the time, and tells it.
    pub(crate) fn set(&self, now: u32) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// A deadline that never comes.
pub(crate) const NEVER: u32 = u32::MAX;

/// What a session shares with those who watch it.
#[derive(Debug)]
pub(crate) struct Handle {
    /// When the session wants to be woken.
    deadline: AtomicU32,
    /// What the session is told: a `Cause` or nothing (0), and beside it `OVERDUE`.
    order: AtomicU8,
    /// Why it has begun to end, a `Cause`, and whose doing that was, an `Initiator`; or nothing (0).
    ended: AtomicU16,
    waker: AtomicWaker,
    pub(crate) id: SessionId,
    pub(crate) facts: Facts,
    /// When it was opened, in milliseconds since 1970.
    opened: u64,
    /// The same by its worker's clock.
    begun: u32,
    /// When something passed last, by the same clock.
    moved: AtomicU32,
    /// What passed, by the side that sent it.
    passed: [Passed; 2],
    /// What an admin wants the client to be told.
    farewell: OnceLock<Box<Farewell>>,
}

/// What one side of a session sent.
#[derive(Debug, Default)]
struct Passed {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// Messages, and payload bytes.
pub(crate) type Counts = (u64, u64);

/// What a client is told at the end of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// The close code.
    pub(crate) code: u16,
    /// The reason; at most 123 bytes of it are sent.
    pub(crate) reason: Box<str>,
}

const OVERDUE: u8 = 1 << 7;

/// What a session is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orders {
    /// Close both legs for this cause.
    pub(crate) end: Option<Cause>,
    /// The session's own deadline has passed.
    pub(crate) overdue: bool,
}

impl Handle {
    /// Asks to be told that it is [`Orders::overdue`] at the first tick of the clock at or after
    /// `time`, in place of what was asked for before. Once it is told the deadline is [`NEVER`].
    pub(crate) fn set_deadline(&self, time: u32) {
        self.deadline.store(time, Ordering::Relaxed);
    }

    /// Who is woken by an order.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes the orders that were given, if any.
    pub(crate) fn take_orders(&self) -> Orders {
        if self.order.load(Ordering::Relaxed) == 0 {
            return Orders::default();
        }
        let orders = self.order.swap(0, Ordering::Acquire);
        Orders {
            end: Cause::from_byte(orders & !OVERDUE),
            overdue: orders & OVERDUE != 0,
        }
    }

    /// Shows where the session is. Its own thread alone writes this, and nobody waits for it, so
    /// that a few plain stores for each turn of the relay are all that it costs.
    pub(crate) fn publish(&self, moved: u32, counts: [Counts; 2], ended: Option<Ending>) {
        self.moved.store(moved, Ordering::Relaxed);
        for (passed, (messages, bytes)) in self.passed.iter().zip(counts) {
            passed.messages.store(messages, Ordering::Relaxed);
            passed.bytes.store(bytes, Ordering::Relaxed);
        }
        let bytes = |one: Ending| [one.cause as u8, one.initiator as u8];
        let ended = ended.map_or(0, |one| u16::from_be_bytes(bytes(one)));
        self.ended.store(ended, Ordering::Relaxed);
    }

    /// What the client and the upstream sent, as of a moment ago.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        [&self.passed[0], &self.passed[1]].map(|passed| {
            let messages = passed.messages.load(Ordering::Relaxed);
            (messages, passed.bytes.load(Ordering::Relaxed))
        })
    }

    /// When it was opened.
    pub(crate) fn opened(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.opened)
    }

    /// Seconds since it was opened, and since something passed, by its worker's clock.
    pub(crate) fn ages(&self, clock: &Clock) -> (u32, u32) {
        let now = clock.now();
        let since = |time: u32| now.saturating_sub(time);
        (since(self.begun), since(self.moved.load(Ordering::Relaxed)))
    }

    /// Whether it has begun to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.ended.load(Ordering::Relaxed) != 0
    }

    /// Why it has begun to end, and whose doing that was.
    pub(crate) fn ended(&self) -> Option<(Cause, Initiator)> {
        let [cause, initiator] = self.ended.load(Ordering::Relaxed).to_be_bytes();
        Cause::from_byte(cause).zip(Initiator::from_byte(initiator))
    }

    /// Ends it for an admin. The first farewell counts.
    pub(crate) fn dismiss(&self, farewell: Option<Farewell>) {
        let farewell = farewell.unwrap_or_else(|| Farewell {
            code: Ending::of(Cause::Admin).to_client,
            reason: Cause::Admin.label().into(),
        });
        let _first = self.farewell.set(Box::new(farewell));
        self.order(Cause::Admin);
    }

    /// What an admin wants the client to be told.
    pub(crate) fn farewell(&self) -> Option<&Farewell> {
        self.farewell.get().map(|farewell| &**farewell)
    }

    /// The deadline has passed.
    fn overdue(&self) {
        self.set_deadline(NEVER);
        self.order.fetch_or(OVERDUE, Ordering::AcqRel);
        self.waker.wake();
    }

    /// The first order counts.
    fn order(&self, cause: Cause) {
        let with = |orders: u8| (orders & !OVERDUE == 0).then_some(orders | cause as u8);
        let _before = self
            .order
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, with);
        self.waker.wake();
    }
}

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
    fn lock(&self) -> MutexGuard<'_, Slab<Arc<Handle>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of a connection that was accepted now.
    pub(crate) fn connection_id(&self) -> ConnectionId {
        ConnectionId::new(&self.keys, self.count.fetch_add(1, Ordering::Relaxed))
    }

    /// Adds a session that is opened now, without a deadline; `connection` has become it.
    pub(crate) fn register(
        self: &Arc<Self>,
        connection: ConnectionId,
        facts: Facts,
        clock: &Clock,
    ) -> Registered {
        let opened = SystemTime::now().duration_since(UNIX_EPOCH);
        let opened = opened.unwrap_or_default().as_millis();
        let now = clock.now();
        let mut sessions = self.lock();
        let entry = sessions.vacant_entry();
        let handle = Arc::new(Handle {
            deadline: AtomicU32::new(NEVER),
            order: AtomicU8::new(self.standing.load(Ordering::Acquire)),
            ended: AtomicU16::new(0),
            waker: AtomicWaker::new(),
            id: SessionId::new(connection, entry.key()),
            facts,
            opened: u64::try_from(opened).unwrap_or(u64::MAX),
            begun: now,
            moved: AtomicU32::new(now),
            passed: [Passed::default(), Passed::default()],
            farewell: OnceLock::new(),
        });
        entry.insert(Arc::clone(&handle));
        drop(sessions);
        Registered {
            registry: Arc::clone(self),
            handle,
        }
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

    /// Wakes those whose deadline has passed.
    pub(crate) fn sweep(&self, clock: &Clock) {
        let now = clock.now();
        for (_key, handle) in self.lock().iter() {
            if now >= handle.deadline.load(Ordering::Relaxed) {
                handle.overdue();
            }
        }
    }
}

impl Registered {
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.lock().try_remove(self.handle.id.slot());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::session::testing::facts;

    fn registered(registry: &Arc<Registry>) -> Registered {
        registry.register(registry.connection_id(), facts(), &Clock::default())
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

    /// There is one for each idle session, and its texts beside it.
    #[test]
    fn a_handle_is_small() {
        let size = size_of::<Handle>();
        assert!(size <= 224, "{size} bytes");
    }

    #[test]
    fn the_first_order_and_its_farewell_count() {
        let registry = Arc::new(Registry::default());
        let session = registered(&registry);
        let farewell = |code| {
            let reason = "".into();
            Some(Farewell { code, reason })
        };
        session.handle().dismiss(farewell(4000));
        session.handle().dismiss(farewell(4001));
        session.handle().dismiss(None);
        registry.end_all(Cause::Drain);
        assert_eq!(session.handle().take_orders().end, Some(Cause::Admin));
        assert_eq!(session.handle().farewell().map(|one| one.code), Some(4000));
        let session = registered(&Arc::new(Registry::default()));
        session.handle().dismiss(None);
        session.handle().dismiss(farewell(4000));
        assert_eq!(session.handle().farewell().map(|one| one.code), Some(1008));
    }
}
