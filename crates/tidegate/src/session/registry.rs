//! The sessions of one worker. A session registers when it starts and its guard unregisters it when
//! it is dropped, whatever the way. Once a second a sweep looks for those whose time has come; an
//! idle session holds no timer.

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

/// What a session shares with those who watch it.
#[derive(Debug)]
pub(crate) struct Handle {
    /// When the last frame passed.
    active: AtomicU32,
    /// After so many seconds without a frame the session ends.
    idle: u32,
    /// When the session must be over, `u32::MAX` while nothing limits it.
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
    /// The deadline that the session set itself has passed.
    Overdue,
}

impl Handle {
    /// A frame passed.
    pub(crate) fn touch(&self, clock: &Clock) {
        self.active.store(clock.now(), Ordering::Relaxed);
    }

    /// Asks for an [`Order::Overdue`] after `seconds`, rounded up to the clock's tick.
    pub(crate) fn set_deadline(&self, clock: &Clock, seconds: u32) {
        self.deadline
            .store(clock.now().saturating_add(seconds), Ordering::Relaxed);
    }

    /// Takes the deadline back.
    pub(crate) fn clear_deadline(&self) {
        self.deadline.store(u32::MAX, Ordering::Relaxed);
    }

    /// Who is woken by an order.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// After how many seconds without a frame the session ends.
    pub(crate) const fn idle_seconds(&self) -> u32 {
        self.idle
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

    /// What was ordered before and is not taken yet goes first.
    fn order_unless_ordered(&self, order: u8) {
        let _ = self
            .order
            .compare_exchange(0, order, Ordering::AcqRel, Ordering::Relaxed);
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

    /// Adds a session that ends after `idle` seconds without a frame.
    pub(crate) fn register(self: &Arc<Self>, clock: &Clock, idle: u32) -> Registered {
        let handle = Arc::new(Handle {
            active: AtomicU32::new(clock.now()),
            idle,
            deadline: AtomicU32::new(u32::MAX),
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

    /// Tells those whose time has come.
    pub(crate) fn sweep(&self, clock: &Clock) {
        let now = clock.now();
        for (_key, handle) in self.lock().iter() {
            if now >= handle.deadline.load(Ordering::Relaxed) {
                handle.clear_deadline();
                handle.order_unless_ordered(OVERDUE);
            } else if now.saturating_sub(handle.active.load(Ordering::Relaxed)) > handle.idle {
                // `>`, because the clock may tick just behind a frame.
                handle.active.store(now, Ordering::Relaxed);
                handle.order_unless_ordered(Cause::IdleTimeout as u8);
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
