//! What became of an event, for whoever waits for it: how many sessions it was left for, and how many of
//! their clients have said that they have it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::bus::EventId;
use crate::metrics::PushSource;

/// Who waits, by event.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<HashMap<EventId, Waiting>>);

#[derive(Debug)]
struct Waiting {
    source: PushSource,
    acks: Option<Arc<Acks>>,
    tell: oneshot::Sender<Outcome>,
    /// Users who were told by copies since, and for how many sessions those were left.
    copies: usize,
    matched: usize,
}

/// What became of an event on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was left for so many sessions.
    Left(usize),
    /// It was left before, under the same name, and not again.
    Repeated,
}

/// What is waited for. Dropped, nobody waits any more.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    outcomes: &'a Outcomes,
    id: EventId,
    acks: Option<Arc<Acks>>,
    told: oneshot::Receiver<Outcome>,
}

impl Outcomes {
    fn lock(&self) -> MutexGuard<'_, HashMap<EventId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for what becomes of an event that is not published yet, and, with `acks`, of its clients'
    /// word that they have it.
    pub(crate) fn expect(&self, id: EventId, source: PushSource, acks: bool) -> Expected<'_> {
        let (tell, told) = oneshot::channel();
        let acks = acks.then(Arc::<Acks>::default);
        let waiting = Waiting {
            source,
            acks: acks.clone(),
            tell,
            copies: 0,
            matched: 0,
        };
        self.lock().insert(id, waiting);
        Expected {
            outcomes: self,
            id,
            acks,
            told,
        }
    }

    /// By whom an event was published that somebody waits for, and who counts the clients that have it.
    pub(super) fn of(&self, id: EventId) -> Option<(PushSource, Option<Arc<Acks>>)> {
        let waiting = self.lock();
        let one = waiting.get(&id)?;
        Some((one.source, one.acks.clone()))
    }

    /// It was left before, and is not again.
    pub(super) fn repeat(&self, id: EventId) {
        self.settle(id, |_| Some(Outcome::Repeated));
    }

    /// A copy of it, for one user, was left for so many sessions.
    pub(super) fn tell_of_copy(&self, id: EventId, matched: usize) {
        if let Some(waiting) = self.lock().get_mut(&id) {
            waiting.copies += 1;
            waiting.matched += matched;
        }
    }

    /// It was left for so many sessions, beside those of so many users who were told by copies. Where some
    /// of these came before anybody asked, it is not known for how many it was, and nothing is told.
    pub(super) fn tell(&self, id: EventId, matched: usize, told_by_copies: usize) {
        self.settle(id, |waiting| {
            let is_known = waiting.copies == told_by_copies;
            is_known.then(|| Outcome::Left(matched + waiting.matched))
        });
    }

    fn settle(&self, id: EventId, outcome: impl FnOnce(&Waiting) -> Option<Outcome>) {
        let waiting = self.lock().remove(&id);
        if let Some(waiting) = waiting
            && let Some(outcome) = outcome(&waiting)
        {
            // Who asked may be gone.
            let _ = waiting.tell.send(outcome);
        }
    }
}

impl Expected<'_> {
    /// What became of the event on this node; `None`: nobody says.
    pub(crate) async fn outcome(&mut self) -> Option<Outcome> {
        (&mut self.told).await.ok()
    }

    /// Waits until each of these clients has the event, or is known never to say so.
    pub(crate) async fn acked(&self) {
        if let Some(acks) = &self.acks {
            acks.settled().await;
        }
    }

    /// How many clients have said that they have it.
    pub(crate) fn count(&self) -> Option<usize> {
        self.acks.as_ref().map(|acks| acks.count())
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.outcomes.lock().remove(&self.id);
    }
}

/// Counts the clients that have one event.
#[derive(Debug, Default)]
pub(crate) struct Acks {
    /// Of whom it is not known yet.
    open: AtomicUsize,
    acked: AtomicUsize,
    changed: Notify,
}

impl Acks {
    /// One more can say so.
    pub(super) fn expect(&self) {
        self.open.fetch_add(1, Ordering::AcqRel);
    }

    /// One has said so, or never will.
    pub(super) fn settle(&self, has_it: bool) {
        if has_it {
            self.acked.fetch_add(1, Ordering::AcqRel);
        }
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.changed.notify_waiters();
        }
    }

    fn count(&self) -> usize {
        self.acked.load(Ordering::Acquire)
    }

    async fn settled(&self) {
        loop {
            let changed = self.changed.notified();
            if self.open.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }
}
