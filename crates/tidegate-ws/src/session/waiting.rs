//! Who waits for a session, and how they are woken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// One who waits, among all who do. Each future has one of its own, so that it takes back what it
/// left, and nothing else. It is drawn when something is left.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl Ticket {
    /// That of the one who receives, whatever future it does it with.
    pub(super) const RECEIVER: Self = Self(1);
    /// That of a session which is used as a sink.
    pub(super) const SINK: Self = Self(2);
    const FIRST: u64 = 3;
    const BLANK: u64 = 1 << 63;

    /// Nothing is left with it yet.
    pub(super) const fn blank(self) -> Self {
        Self(self.0 | Self::BLANK)
    }

    /// Whether nothing was left with it.
    pub(super) const fn is_blank(&self) -> bool {
        self.0 == 0 || self.0 & Self::BLANK != 0
    }

    /// What is left with it is for others to take back.
    pub(super) const fn forget(&mut self) {
        *self = match self.0 {
            Self::FIRST..Self::BLANK => Self(0),
            fixed => Self(fixed).blank(),
        };
    }

    const fn draw(&mut self, latest: &mut u64) {
        if self.0 == 0 {
            self.0 = Self::FIRST + *latest;
            *latest += 1;
        }
        self.0 &= !Self::BLANK;
    }
}

/// Wakes everybody who waits for the connection, which itself keeps one waker per direction.
#[derive(Debug, Default)]
pub(super) struct Wakers(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    /// It is woken for as long as it is there: whoever waits may leave things to it.
    driver: Option<Waker>,
    /// These are woken once.
    waiting: Vec<(u64, Waker)>,
    /// The latest ticket that was given out.
    latest: u64,
}

impl Wakers {
    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver waits with this waker from now on; gives back the one that it had.
    fn enter_driver(&self, waker: &Waker) -> Spent {
        let driver = &mut self.slots().driver;
        if driver.as_ref().is_some_and(|known| known.will_wake(waker)) {
            return None;
        }
        driver.replace(waker.clone())
    }

    /// `ticket` waits with this waker; gives back the one that it had.
    fn enter(&self, ticket: &mut Ticket, waker: &Waker) -> Spent {
        let mut slots = self.slots();
        ticket.draw(&mut slots.latest);
        let known = slots.waiting.iter_mut().find(|(id, _)| *id == ticket.0);
        match known {
            Some((_, known)) if known.will_wake(waker) => None,
            Some((_, known)) => Some(std::mem::replace(known, waker.clone())),
            None => {
                slots.waiting.push((ticket.0, waker.clone()));
                None
            }
        }
    }

    fn leave(&self, ticket: &Ticket) -> Spent {
        let mut slots = self.slots();
        let place = slots.waiting.iter().position(|(id, _)| *id == ticket.0)?;
        Some(slots.waiting.swap_remove(place).1)
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (driver, waiting) = {
            let mut slots = self.slots();
            (slots.driver.clone(), std::mem::take(&mut slots.waiting))
        };
        for waker in waiting.into_iter().map(|(_, waker)| waker).chain(driver) {
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

/// A waker that is of no use any more. To let go of one may end a task, and what that held, so it
/// is done when the session is not locked.
pub(super) type Spent = Option<Waker>;

impl Waiting {
    /// Whether the one task there is polls.
    #[inline]
    pub(super) fn is_for(&self, cx: &Context<'_>) -> bool {
        matches!(self, Self::One(waker) if waker.will_wake(cx.waker()))
    }

    /// Who has this ticket is about to poll the connection; the waker to do it with, if it is not
    /// its own. `driver`: who is woken whatever happens.
    pub(super) fn enter(
        &mut self,
        ticket: &mut Ticket,
        driver: Option<&Waker>,
        cx: &Context<'_>,
        spent: &mut Spent,
    ) -> Option<Waker> {
        if !self.is_many(driver, cx) {
            return None;
        }
        let Self::Many(wakers) = self else {
            return None;
        };
        *spent = wakers.enter(ticket, cx.waker());
        Some(Arc::clone(wakers).into())
    }

    /// The driver is about to poll the connection.
    pub(super) fn enter_driver(&mut self, cx: &Context<'_>, spent: &mut Spent) -> Option<Waker> {
        if !self.is_many(None, cx) {
            return None;
        }
        let Self::Many(wakers) = self else {
            return None;
        };
        *spent = wakers.enter_driver(cx.waker());
        Some(Arc::clone(wakers).into())
    }

    /// Whether there are several tasks, this one among them.
    fn is_many(&mut self, driver: Option<&Waker>, cx: &Context<'_>) -> bool {
        match self {
            Self::One(waker) if waker.will_wake(cx.waker()) => false,
            Self::Nobody => {
                *self = Self::One(cx.waker().clone());
                false
            }
            Self::One(waker) => {
                let wakers = Wakers::default();
                // Whoever it was waits on.
                wakers.enter(&mut Ticket::default(), waker);
                if let Some(driver) = driver {
                    wakers.enter_driver(driver);
                }
                *self = Self::Many(Arc::new(wakers));
                true
            }
            Self::Many(_) => true,
        }
    }

    /// Who has this ticket does not wait any more.
    pub(super) fn leave(&self, ticket: &mut Ticket) -> Spent {
        let spent = match self {
            Self::Many(wakers) if !ticket.is_blank() => wakers.leave(ticket),
            _ => None,
        };
        ticket.forget();
        spent
    }

    /// Nobody drives the session any more.
    pub(super) fn leave_driver(&self) -> Spent {
        match self {
            Self::Many(wakers) => wakers.slots().driver.take(),
            _ => None,
        }
    }

    /// What wakes everybody.
    fn waker(&self) -> Option<Waker> {
        match self {
            Self::Nobody => None,
            Self::One(waker) => Some(waker.clone()),
            Self::Many(wakers) => Some(Arc::clone(wakers).into()),
        }
    }
}

/// Who is to be woken once the session is not locked any more.
#[derive(Debug, Default)]
pub(super) struct Calls {
    all: bool,
    driver: bool,
}

impl Calls {
    pub(super) const fn all(&mut self) {
        self.all = true;
    }

    pub(super) const fn driver(&mut self) {
        self.driver = true;
    }

    pub(super) const fn is_none(&self) -> bool {
        !self.all && !self.driver
    }

    /// The wakers of them.
    #[cold]
    pub(super) fn take(&mut self, waiting: &Waiting, driver: Option<&Waker>) -> [Spent; 2] {
        let all = std::mem::take(self).all;
        let all = all.then(|| waiting.waker()).flatten();
        let is_among = |driver: &Waker| match &all {
            // Those of several are woken with the driver.
            Some(one) => matches!(waiting, Waiting::Many(_)) || driver.will_wake(one),
            None => false,
        };
        let driver = driver.filter(|driver| !is_among(driver)).cloned();
        [all, driver]
    }
}
