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
    passed: Option<VecDeque<(EventId, Told)>>,
}

#[derive(Debug)]
struct Waiting {
    source: PushSource,
    acks: Option<Arc<Acks>>,
    tell: oneshot::Sender<Told>,
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

/// What became of it, and who counts the clients that have it.
#[derive(Debug, Clone)]
struct Told {
    outcome: Outcome,
    acks: Option<Arc<Acks>>,
}

/// What is waited for. Dropped, nobody waits any more.
#[derive(Debug)]
pub(crate) struct Expected<'a> {
    outcomes: &'a Outcomes,
    id: EventId,
    outcome: Option<Outcome>,
    acks: Option<Arc<Acks>>,
    /// `None` once it has come, or never will.
    told: Option<oneshot::Receiver<Told>>,
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
        let mut passed = known.passed.iter().flatten();
        let told = passed.find(|(passed, _)| *passed == id);
        let told = told.map(|(_, told)| told.clone());
        if let Some(told) = told
            && let Some(waiting) = known.waiting.remove(&id)
        {
            let _ = waiting.tell.send(told);
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
            copies: 0,
            matched: 0,
        };
        known.waiting.insert(id, waiting);
        Expected {
            outcomes: self,
            id,
            outcome: None,
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

    /// It was left before, and is not again.
    pub(super) fn repeat(&self, id: EventId) {
        let waiting = self.lock().waiting.remove(&id);
        if let Some(waiting) = waiting {
            let (outcome, acks) = (Outcome::Repeated, None);
            let _ = waiting.tell.send(Told { outcome, acks });
        }
    }

    /// A copy of it, for one user, was left for so many sessions.
    pub(super) fn tell_of_copy(&self, id: EventId, matched: usize) {
        if let Some(waiting) = self.lock().waiting.get_mut(&id) {
            waiting.copies += 1;
            waiting.matched += matched;
        }
    }

    /// It was left for so many sessions, whose clients `acks` counts, beside those of so many users who were
    /// told by copies. Where some of these came before anybody asked, it is not known for how many it was,
    /// and nothing is told.
    pub(super) fn tell(
        &self,
        id: EventId,
        (matched, told_by_copies): (usize, usize),
        acks: Option<Arc<Acks>>,
    ) {
        let mut known = self.lock();
        let waiting = known.waiting.remove(&id);
        let copies = waiting.as_ref().map_or(0, |waiting| waiting.copies);
        if copies != told_by_copies {
            return;
        }
        let more = waiting.as_ref().map_or(0, |waiting| waiting.matched);
        let outcome = Outcome::Left(matched + more);
        let told = Told { outcome, acks };
        if let Some(waiting) = waiting {
            // Who asked may be gone.
            let _ = waiting.tell.send(told);
        } else if let Some(passed) = &mut known.passed {
            if passed.len() == MOST_PASSED {
                passed.pop_front();
            }
            passed.push_back((id, told));
        }
    }
}

impl Expected<'_> {
    /// What became of the event on this node; `None`: nobody says. Cancelled, it can be asked again.
    pub(crate) async fn outcome(&mut self) -> Option<Outcome> {
        if let Some(told) = &mut self.told {
            let told = told.await.ok();
            self.told = None;
            if let Some(told) = told {
                self.outcome = Some(told.outcome);
                // Those who count may have begun before anybody asked.
                if let (Some(own), Some(acks)) = (&mut self.acks, told.acks) {
                    *own = acks;
                }
            }
        }
        self.outcome
    }

    /// Waits until each of these clients has the event, or is known never to say so.
    pub(crate) async fn acked(&mut self) {
        self.outcome().await;
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
