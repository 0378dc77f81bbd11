//! What a session, its halves and its driver hold together.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Wake, Waker};

use tokio::io::{AsyncRead, AsyncWrite};

use super::inner::Inner;
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
    /// The handler received until nothing was there, and nothing is left to the driver.
    is_tidy: AtomicBool,
}

impl Shared {
    pub(super) fn new(inner: Inner, id: Option<Box<str>>) -> Self {
        Self {
            inner: Mutex::new(inner),
            id: id.map_or_else(OnceLock::new, OnceLock::from),
            in_turn: AtomicBool::new(false),
            is_tidy: AtomicBool::new(false),
        }
    }

    pub(super) fn id(&self) -> &str {
        self.id
            .get_or_init(|| format!("{:016x}", Randomness::next()).into())
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
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

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("id", &self.id())
            .finish_non_exhaustive()
    }
}

/// Who polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seat {
    Driver,
    Receiver,
    Sender,
}

/// Wakes everybody who waits for the connection, which itself keeps one waker per direction.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    driver: Option<Waker>,
    receiver: Option<Waker>,
    senders: Vec<Waker>,
}

impl Wakers {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, seat: Seat, waker: &Waker) {
        let mut slots = self.slots();
        let slot = match seat {
            Seat::Driver => &mut slots.driver,
            Seat::Receiver => &mut slots.receiver,
            Seat::Sender => {
                if !slots.senders.iter().any(|known| known.will_wake(waker)) {
                    slots.senders.push(waker.clone());
                }
                return;
            }
        };
        match slot {
            Some(known) => known.clone_from(waker),
            None => *slot = Some(waker.clone()),
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (driver, receiver, senders) = {
            let mut slots = self.slots();
            (
                slots.driver.clone(),
                slots.receiver.clone(),
                std::mem::take(&mut slots.senders),
            )
        };
        for waker in senders.into_iter().chain(driver).chain(receiver) {
            waker.wake();
        }
    }
}

/// Whose waker the connection is given.
#[derive(Debug, Default)]
pub(super) enum Waiting {
    /// Nobody's yet.
    #[default]
    Nobody,
    /// That of the one task there is.
    One(Waker),
    /// One that wakes all.
    Many(Arc<Wakers>),
}

impl Waiting {
    /// `seat` is about to poll the connection; the waker to do it with, if it is not its own.
    pub(super) fn enter(&mut self, seat: Seat, cx: &Context<'_>) -> Option<Waker> {
        match self {
            Self::Nobody => *self = Self::One(cx.waker().clone()),
            Self::One(waker) if waker.will_wake(cx.waker()) => {}
            Self::One(waker) => {
                let wakers = Arc::new(Wakers::default());
                // Whoever it was waits on.
                wakers.slots().senders.push(waker.clone());
                wakers.register(seat, cx.waker());
                *self = Self::Many(Arc::clone(&wakers));
                return Some(wakers.into());
            }
            Self::Many(wakers) => {
                wakers.register(seat, cx.waker());
                return Some(Arc::clone(wakers).into());
            }
        }
        None
    }

    /// `seat` does not wait any more.
    pub(super) fn leave(&self, seat: Seat, cx: &Context<'_>) {
        if let (Self::Many(wakers), Seat::Sender) = (self, seat) {
            wakers
                .slots()
                .senders
                .retain(|known| !known.will_wake(cx.waker()));
        }
    }

    /// Everybody is to look again.
    pub(super) fn wake(&self) {
        match self {
            Self::Nobody => {}
            Self::One(waker) => waker.wake_by_ref(),
            Self::Many(wakers) => wakers.wake_by_ref(),
        }
    }
}
