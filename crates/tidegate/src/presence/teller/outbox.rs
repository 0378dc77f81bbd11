//! What waits for the bus, and who publishes it: one task, event after event.
//!
//! An event that the bus does not take at once holds up only those behind which it has to stay: those of
//! its topic and of its user, by a number that many users share. A topic that is not there stops itself
//! alone, and a bus that is slow has many events in its hands.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::bus::{BusError, Event, EventBus};
use crate::cluster::Ending;

/// Events of a topic that may wait for the bus before nothing more is told of what opens.
const MOST_WAITING: usize = 65_536;
/// Events of a topic that may wait at all: what is told of others has no beginning here whose end it is.
const MOST_KEPT: usize = 4 * MOST_WAITING;
/// Events of a topic that the bus may have in its hands.
const LANES: u64 = 32;
/// Events that are taken before anything else has its turn.
const BATCH: usize = 1024;
/// How long after a failure an event is published again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long what is left is published when the gateway has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Which topic an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum About {
    Sessions,
    Coming,
    Going,
}

/// An event, and whose end is told with it.
#[derive(Debug)]
struct Letter {
    event: Event,
    ending: Option<Arc<Ending>>,
}

/// Events that wait.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Mutex<VecDeque<(About, Letter)>>,
    arrived: Notify,
    /// By topic, those that are with the bus too.
    counts: [AtomicUsize; 3],
    /// By topic: the bus has not taken the last one, which was said.
    is_held_up: [AtomicBool; 3],
    /// Of how many nothing is told, because nothing more could wait.
    untold: AtomicU64,
}

/// Events that stay in their order.
type Lane = (About, u64);
type Sending<'a> = Pin<Box<dyn Future<Output = Lane> + Send + 'a>>;

/// The events that the bus has not taken yet.
struct Lanes<'a> {
    outbox: &'a Outbox,
    bus: &'a dyn EventBus,
    hasher: RandomState,
    busy: FuturesUnordered<Sending<'a>>,
    /// What waits behind those.
    behind: HashMap<Lane, VecDeque<Letter>>,
}

impl Outbox {
    pub(super) fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// Events that the bus has not taken yet.
    pub(super) fn waiting(&self) -> usize {
        let counts = self.counts.iter().map(|one| one.load(Ordering::Relaxed));
        counts.sum()
    }

    /// Whether all of these can wait; it is counted where one cannot.
    pub(super) fn has_room(&self, all: &[About]) -> bool {
        let has_room = |about: &About| self.count(*about) < MOST_WAITING;
        let has_room = all.iter().all(has_room);
        if !has_room {
            self.miss();
        }
        has_room
    }

    fn count(&self, about: About) -> usize {
        self.counts[about as usize].load(Ordering::Relaxed)
    }

    fn miss(&self) {
        if self.untold.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("the bus takes no events: of some sessions nothing is told");
        }
    }

    /// Leaves an event, which is made in the order in which they are published. Where it is of a session's
    /// end, that is done when it is published, or never will be.
    pub(super) fn leave(
        &self,
        about: About,
        ending: Option<&Arc<Ending>>,
        make: impl FnOnce() -> Event,
    ) {
        if self.count(about) >= MOST_KEPT {
            return self.miss();
        }
        let ending = ending.map(Arc::clone);
        if let Some(ending) = &ending {
            ending.begin();
        }
        self.counts[about as usize].fetch_add(1, Ordering::Relaxed);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let event = make();
        waiting.push_back((about, Letter { event, ending }));
        drop(waiting);
        self.arrived.notify_one();
    }

    fn next(&self) -> Option<(About, Letter)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let next = waiting.pop_front();
        if next.is_none() {
            // What a rush took is given back.
            waiting.shrink_to(64);
        }
        next
    }

    /// Nobody publishes any more what the bus had in its hands.
    pub(super) fn lose_those_in_hand(&self) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for about in [About::Sessions, About::Coming, About::Going] {
            let left = waiting.iter().filter(|(one, _)| *one == about).count();
            let before = self.counts[about as usize].swap(left, Ordering::Relaxed);
            let lost = before.saturating_sub(left) as u64;
            self.untold.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Publishes until the end, and what is left then for two seconds more.
    pub(super) async fn publish_all(&self, bus: &dyn EventBus, end: &CancellationToken) {
        let mut lanes = Lanes {
            outbox: self,
            bus,
            hasher: RandomState::new(),
            busy: FuturesUnordered::new(),
            behind: HashMap::new(),
        };
        let mut deadline = None;
        loop {
            let mut left = BATCH;
            while left > 0
                && let Some((about, letter)) = self.next()
            {
                lanes.send(about, letter);
                left -= 1;
            }
            if left == 0 {
                self.arrived.notify_one();
            } else if deadline.is_some() && lanes.busy.is_empty() {
                return;
            }
            let over = async move {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = over => break,
                () = end.cancelled(), if deadline.is_none() => {
                    deadline = Some(Instant::now() + LAST_WORDS);
                }
                Some(lane) = lanes.busy.next() => lanes.go_on(lane),
                () = self.arrived.notified() => {}
            }
        }
        let left = self.waiting();
        tracing::error!(left, "the bus takes no events: the last ones are not told");
    }

    /// Publishes one event that waits, however long that takes.
    async fn publish(&self, bus: &dyn EventBus, about: About, Letter { event, ending }: Letter) {
        self.insist(bus, about, event).await;
        self.counts[about as usize].fetch_sub(1, Ordering::Relaxed);
        if let Some(ending) = ending {
            ending.done();
        }
    }

    /// Publishes one event, however long that takes; one that is too big is given up.
    pub(super) async fn insist(&self, bus: &dyn EventBus, about: About, event: Event) {
        let is_held_up = &self.is_held_up[about as usize];
        let mut pause = RETRY.0;
        loop {
            match bus.publish(event.clone()).await {
                Ok(()) => {
                    if is_held_up.load(Ordering::Relaxed)
                        && is_held_up.swap(false, Ordering::Relaxed)
                    {
                        tracing::info!(topic = &*event.topic, "events are published again");
                    }
                    break;
                }
                Err(error @ BusError::TooBig) => {
                    tracing::error!(%error, topic = &*event.topic, "an event is not told");
                    break;
                }
                Err(error) => {
                    // Once, however many wait.
                    if !is_held_up.swap(true, Ordering::Relaxed) {
                        tracing::warn!(%error, topic = &*event.topic, "events are not published yet");
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(RETRY.1);
        }
    }
}

impl<'a> Lanes<'a> {
    fn send(&mut self, about: About, letter: Letter) {
        let lane = (about, self.hasher.hash_one(&letter.event.key) % LANES);
        match self.behind.get_mut(&lane) {
            Some(behind) => behind.push_back(letter),
            None => {
                self.start(lane, letter);
            }
        }
    }

    /// Whether the bus has taken it at once.
    fn start(&mut self, lane: Lane, letter: Letter) -> bool {
        let (outbox, bus) = (self.outbox, self.bus);
        let mut sending: Sending<'a> = Box::pin(async move {
            outbox.publish(bus, lane.0, letter).await;
            lane
        });
        let is_sent = (&mut sending).now_or_never().is_some();
        if !is_sent {
            self.busy.push(sending);
            self.behind.entry(lane).or_default();
        }
        is_sent
    }

    /// An event was taken: those behind it are next.
    fn go_on(&mut self, lane: Lane) {
        while let Some(letter) = self.behind.get_mut(&lane).and_then(VecDeque::pop_front) {
            if !self.start(lane, letter) {
                return;
            }
        }
        self.behind.remove(&lane);
    }
}

#[cfg(test)]
mod tests;
