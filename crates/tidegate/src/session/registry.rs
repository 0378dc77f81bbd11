//! The sessions of one worker. A session registers when it starts and its guard unregisters it when
//! it is dropped, whatever the way. Each has one deadline, in seconds, and once a second a sweep
//! wakes those whose deadline has passed; what was due is theirs to know. An idle session holds no
//! timer and is not woken before its deadline.

use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use slab::Slab;

use super::Cause;

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
    /// What the session is told: a `Cause`, `OVERDUE`, or nothing (0).
    order: AtomicU8,
    waker: AtomicWaker,
}

const OVERDUE: u8 = u8::MAX;

/// What a session is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Close both legs for this cause.
    End(Cause),
    /// The session's own deadline has passed.
    Overdue,
}

impl Handle {
    /// Asks for an [`Order::Overdue`] at the first tick of the clock at or after `time`, in place of
    /// what was asked for before. Once it is given the deadline is [`NEVER`].
    pub(crate) fn set_deadline(&self, time: u32) {
        self.deadline.store(time, Ordering::Relaxed);
    }

    /// Who is woken by an order.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes the order that was given, if any.
    pub(crate) fn take_order(&self) -> Option<Order> {
        if self.order.load(Ordering::Relaxed) == 0 {
            return None;
        }
        match self.order.swap(0, Ordering::Acquire) {
            OVERDUE => Some(Order::Overdue),
            cause => Cause::from_byte(cause).map(Order::End),
        }
    }

    /// The deadline has passed. An order that is not taken yet goes first, and the deadline stays
    /// for the next sweep.
    fn overdue(&self) {
        let nothing = self
            .order
            .compare_exchange(0, OVERDUE, Ordering::AcqRel, Ordering::Relaxed);
        if nothing.is_ok() {
            self.set_deadline(NEVER);
        }
        self.waker.wake();
    }

    fn order(&self, order: u8) {
        self.order.store(order, Ordering::Release);
        self.waker.wake();
    }
}

/// The live sessions of one worker.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    sessions: Mutex<Slab<Arc<Handle>>>,
    /// The order that all were given, and that whoever registers later gets too.
    standing: AtomicU8,
}

/// A session's place in the registry.
#[derive(Debug)]
pub(crate) struct Registered {
    registry: Arc<Registry>,
    key: usize,
    handle: Arc<Handle>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Slab<Arc<Handle>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session, without a deadline.
    pub(crate) fn register(self: &Arc<Self>) -> Registered {
        let handle = Arc::new(Handle {
            deadline: AtomicU32::new(NEVER),
            order: AtomicU8::new(self.standing.load(Ordering::Acquire)),
            waker: AtomicWaker::new(),
        });
        let key = self.lock().insert(Arc::clone(&handle));
        Registered {
            registry: Arc::clone(self),
            key,
            handle,
        }
    }

    /// How many sessions are open.
    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Tells every session to end, those that register later too.
    pub(crate) fn end_all(&self, cause: Cause) {
        self.standing.store(cause as u8, Ordering::Release);
        for (_key, handle) in self.lock().iter() {
            handle.order(cause as u8);
        }
    }

    /// Tells up to `count` sessions to end, from `place` on, and moves that behind them; how many it
    /// told.
    pub(crate) fn end_next(&self, place: &mut usize, count: usize, cause: Cause) -> usize {
        let sessions = self.lock();
        let mut told = 0;
        while told < count && *place < sessions.capacity() {
            if let Some(handle) = sessions.get(*place) {
                handle.order(cause as u8);
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
        self.registry.lock().try_remove(self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_told_once_and_only_when_it_has_come() {
        let (registry, clock) = (Arc::new(Registry::default()), Clock::default());
        let session = registry.register();
        let told = |now: u32| {
            clock.set(now);
            registry.sweep(&clock);
            session.handle().take_order()
        };
        assert_eq!(told(1_000_000), None, "no deadline was set");
        session.handle().set_deadline(1_000_010);
        assert_eq!(told(1_000_009), None);
        assert_eq!(told(1_000_010), Some(Order::Overdue));
        assert_eq!(told(1_000_011), None);
    }

    #[test]
    fn an_order_that_is_not_taken_yet_does_not_swallow_a_deadline() {
        let (registry, clock) = (Arc::new(Registry::default()), Clock::default());
        let session = registry.register();
        session.handle().set_deadline(5);
        registry.end_all(Cause::Drain);
        clock.set(5);
        registry.sweep(&clock);
        let order = session.handle().take_order();
        assert_eq!(order, Some(Order::End(Cause::Drain)));
        registry.sweep(&clock);
        assert_eq!(session.handle().take_order(), Some(Order::Overdue));
    }

    #[test]
    fn some_are_told_to_end_and_each_of_them_once() {
        let registry = Arc::new(Registry::default());
        let mut sessions: Vec<_> = (0..5).map(|_| registry.register()).collect();
        drop(sessions.remove(1));
        let told = |sessions: &[Registered]| -> Vec<_> {
            let orders = sessions.iter().map(|one| one.handle().take_order());
            orders.map(|order| order.is_some()).collect()
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
        let order = registry.register().handle().take_order();
        assert_eq!(order, Some(Order::End(Cause::Drain)));
        assert_eq!(registry.len(), 0);
    }
}
