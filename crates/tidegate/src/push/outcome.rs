//! What became of an event, for whoever waits for it: how many sessions it was left for, and how many of
//! their clients have said that they have it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};

use crate::bus::EventId;
use crate::metrics::PushSource;

/// Events of which it is still known what became of them when another node asks.
const MOST_PASSED: usize = 1024;

/// Who waits, by event.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    waiting: HashMap<EventId, Waiting>,
    /// What nobody waited for, the last at the end; `None` where no other node asks.
    passed: Option<VecDeque<(EventId, Outcome)>>,
}

#[derive(Debug)]
struct Waiting {
    source: PushSource,
    acks: Option<Arc<Acks>>,
    tell: oneshot::Sender<Outcome>,
}

/// For how many sessions an event was left, and who counts those of their clients that have it.
#[derive(Debug)]
struct Outcome {
    matched: usize,
    acks: Option<Arc<Acks>>,
}

/// What is waited for. Dropped, nobody waits any more.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    outcomes: &'a Outcomes,
    id: EventId,
    matched: Option<usize>,
    acks: Option<Arc<Acks>>,
    /// `None` once it has come, or never will.
    told: Option<oneshot::Receiver<Outcome>>,
}

impl Outcomes {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on other nodes ask what became of events, perhaps later than these come.
    pub(crate) fn remember(&self) {
        self.lock().passed.get_or_insert_default();
    }

    /// Waits for what becomes of an event that is not published yet, and, with `acks`, of its clients'
    /// word that they have it.
    pub(crate) fn expect(&self, id: EventId, source: PushSource, acks: bool) -> Expected<'_> {
        self.wait(&mut self.lock(), id, source, acks)
    }

    /// The same for an event of another node, which may have come already.
    pub(crate) fn expect_of_another(&self, id: EventId, acks: bool) -> Expected<'_> {
        let mut known = self.lock();
        let expected = self.wait(&mut known, id, PushSource::Bus, acks);
        let mut passed = known.passed.iter_mut().flatten();
        if let Some((_, outcome)) = passed.find(|(passed, _)| *passed == id) {
            let (matched, acks) = (outcome.matched, outcome.acks.clone());
            known.tell(id, Outcome { matched, acks });
        }
        expected
    }

    fn wait(&self, known: &mut Known, id: EventId, source: PushSource, acks: bool) -> Expected<'_> {
        let (tell, told) = oneshot::channel();
        let acks = acks.then(Arc::<Acks>::default);
        let waiting = Waiting {
            source,
            acks: acks.clone(),
            tell,
        };
        known.waiting.insert(id, waiting);
        Expected {
            outcomes: self,
            id,
            matched: None,
            acks,
            told: Some(told),
        }
    }

    /// By whom an event was published that somebody waits for, and who counts the clients that have it.
    pub(super) fn of(&self, id: EventId) -> Option<(PushSource, Option<Arc<Acks>>)> {
        let known = self.lock();
        let one = known.waiting.get(&id)?;
        Some((one.source, one.acks.clone()))
    }

    /// Who counts the clients that have an event for which nobody waits here, or not yet; `ack` is whether
    /// they are asked to say so.
    pub(super) fn unasked(&self, ack: bool) -> Option<Arc<Acks>> {
        (ack && self.lock().passed.is_some()).then(Arc::default)
    }

    /// Nobody says what becomes of it: it was left before.
    pub(super) fn forget(&self, id: EventId) {
        self.lock().waiting.remove(&id);
    }

    /// It was left for so many sessions, whose clients `acks` counts.
    pub(super) fn tell(&self, id: EventId, matched: usize, acks: Option<Arc<Acks>>) {
        self.lock().tell(id, Outcome { matched, acks });
    }
}

impl Known {
    fn tell(&mut self, id: EventId, outcome: Outcome) {
        if let Some(waiting) = self.waiting.remove(&id) {
            // Who asked may be gone.
            let _ = waiting.tell.send(outcome);
        } else if let Some(passed) = &mut self.passed {
            if passed.len() == MOST_PASSED {
                passed.pop_front();
            }
            passed.push_back((id, outcome));
        }
    }
}

impl Expected<'_> {
    /// For how many sessions of this node the event was left; `None`: nobody says. Cancelled, it can be
    /// asked again.
    pub(crate) async fn matched(&mut self) -> Option<usize> {
        if let Some(told) = &mut self.told {
            let outcome = told.await.ok();
            self.told = None;
            if let Some(Outcome { matched, acks }) = outcome {
                self.matched = Some(matched);
                self.acks = self.acks.take().and(acks);
            }
        }
        self.matched
    }

    /// Waits until each of these clients has the event, or is known never to say so.
    pub(crate) async fn acked(&mut self) {
        self.matched().await;
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
        self.outcomes.lock().waiting.remove(&self.id);
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
