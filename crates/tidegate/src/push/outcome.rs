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
    tell: oneshot::Sender<usize>,
}

/// What is waited for. Dropped, nobody waits any more.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    outcomes: &'a Outcomes,
    id: EventId,
    acks: Option<Arc<Acks>>,
    told: oneshot::Receiver<usize>,
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

    /// Nobody says what becomes of it: it was left before.
    pub(super) fn forget(&self, id: EventId) {
        self.lock().remove(&id);
    }

    /// It was left for so many sessions.
    pub(super) fn tell(&self, id: EventId, matched: usize) {
        let waiting = self.lock().remove(&id);
        if let Some(waiting) = waiting {
            // Who asked may be gone.
            let _ = waiting.tell.send(matched);
        }
    }
}

impl Expected<'_> {
    /// For how many sessions of this node the event was left; `None`: nobody says.
    pub(crate) async fn matched(&mut self) -> Option<usize> {
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
