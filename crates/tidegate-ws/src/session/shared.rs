//! What a session, its halves and its driver hold together.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::io::{AsyncRead, AsyncWrite};

use super::inner::Inner;
use super::waiting::Ticket;
use crate::codec::Randomness;

/// A connection, whatever it is.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

pub(super) struct Shared {
    inner: Mutex<Inner>,
    /// Drawn when it is first asked for, if it was not given.
    id: OnceLock<Box<str>>,
    /// The driver polls the handler and writes afterwards, so that what the handler sends need not
    /// be written one by one.
    in_turn: AtomicBool,
    /// The session itself is used as a sink, and was told that there is room.
    sink_has_turn: AtomicBool,
    /// The handler received until nothing was there, and nothing is left to the driver.
    is_tidy: AtomicBool,
}

impl Shared {
    pub(super) fn new(inner: Inner, id: Option<Box<str>>) -> Self {
        Self {
            inner: Mutex::new(inner),
            id: id.map_or_else(OnceLock::new, OnceLock::from),
            in_turn: AtomicBool::new(false),
            sink_has_turn: AtomicBool::new(false),
            is_tidy: AtomicBool::new(false),
        }
    }

    pub(super) fn id(&self) -> &str {
        self.id
            .get_or_init(|| format!("{:016x}", Randomness::next()).into())
    }

    /// Does something with the state; who is to be woken for it is woken behind the lock.
    #[inline(always)]
    pub(super) fn locked<T>(&self, act: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let value = act(&mut inner);
        if !inner.calls.is_none() {
            wake_behind(inner);
        }
        value
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // This mark is that of who has the session.

    pub(super) fn sink_has_turn(&self) -> bool {
        self.sink_has_turn.load(Ordering::Relaxed)
    }

    /// Whether it had one.
    pub(super) fn sink_takes_turn(&self, takes: bool) -> bool {
        self.sink_has_turn.swap(takes, Ordering::Relaxed)
    }

    /// The session is used as a sink no more.
    pub(super) fn leave_sink(&self) {
        if self.sink_takes_turn(false) {
            self.locked(Inner::give_turn_back);
        }
        self.leave(Ticket::SINK);
    }

    // Both marks are those of one task, in which the driver polls the handler: what others do is
    // never left to the driver without waking it.

    pub(super) fn begin_turn(&self) {
        self.in_turn.store(true, Ordering::Relaxed);
    }

    /// Whether the driver has nothing to see to.
    pub(super) fn end_turn(&self) -> bool {
        self.in_turn.store(false, Ordering::Relaxed);
        let is_tidy = self.is_tidy.load(Ordering::Relaxed);
        self.is_tidy.store(false, Ordering::Relaxed);
        is_tidy
    }

    pub(super) fn is_in_turn(&self) -> bool {
        self.in_turn.load(Ordering::Relaxed)
    }

    pub(super) fn tidy(&self, is_tidy: bool) {
        self.is_tidy.store(is_tidy, Ordering::Relaxed);
    }
}

#[cold]
fn wake_behind(mut inner: MutexGuard<'_, Inner>) {
    let wakers = inner.called();
    drop(inner);
    for waker in wakers.into_iter().flatten() {
        waker.wake();
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}
