//! The keys that tokens are verified with at this moment: those that are configured, and those that an
//! issuer publishes, fetched anew from time to time (`refresh`).
//!
//! Workers read them without a lock. One that misses a key asks for a fetch and waits for its end; there
//! is one at a time whoever asks, and no more than one in each `cooldown` for that reason.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};

use super::keys::{Algorithm, JwksError, Key, KeySet};
use crate::config::plan::ServicePlan;

/// Where an issuer publishes its keys.
#[derive(Debug, Clone)]
pub struct JwksPlan {
    /// Whom to ask: one endpoint, whose path is left empty.
    pub service: Arc<ServicePlan>,
    /// The path to ask for.
    pub path: Box<str>,
    /// Whether they may come over plain TCP from another host; no.
    pub is_insecure: bool,
    /// How often; 10 min.
    pub refresh: Duration,
    /// How long after a fetch a key that nobody knows brings the next one; 30 s.
    pub cooldown: Duration,
    /// How long keys hold that could not be fetched again; 1 h, which is the most.
    pub max_stale: Duration,
    /// How long a fetch may take; 5 s.
    pub timeout: Duration,
}

/// The keys of one moment.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) set: KeySet,
    /// Another one for each change.
    pub(super) generation: u64,
    /// `None`: for ever. Those that were never fetched are over from the start.
    until: Option<Instant>,
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Keys {
    fixed: Vec<Key>,
    pub(super) plan: Option<JwksPlan>,
    allowed: Vec<Algorithm>,
    held: ArcSwap<Held>,
    state: Mutex<State>,
    /// Wakes the refresher.
    pub(super) asked: Notify,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    /// How many of them failed, and how many did not.
    counts: [AtomicU64; 2],
}

#[derive(Debug, Default)]
struct State {
    is_fetching: bool,
    /// When the last fetch was begun.
    begun: Option<Instant>,
    /// What the last one brought.
    text: Vec<u8>,
}

impl Keys {
    pub(super) fn new(fixed: Vec<Key>, plan: Option<JwksPlan>, allowed: Vec<Algorithm>) -> Self {
        let held = Held {
            set: KeySet::new(fixed.clone()),
            generation: 0,
            until: plan.as_ref().map(|_| Instant::now()),
        };
        let state = State {
            // The first one is begun with the gateway, so whoever comes before it waits for it.
            is_fetching: plan.is_some(),
            ..State::default()
        };
        Self {
            fixed,
            plan,
            allowed,
            held: ArcSwap::from_pointee(held),
            state: Mutex::new(state),
            asked: Notify::new(),
            ended: watch::Sender::new(0),
            counts: Default::default(),
        }
    }

    /// Those that hold at `now`; `None`: there are none, or nobody knows whether they still do.
    pub(super) fn held(&self, now: Instant) -> Option<Arc<Held>> {
        let held = self.held.load_full();
        let holds = held.until.is_none_or(|until| now < until);
        holds.then_some(held)
    }

    /// Whether there are keys that tokens can be verified with now.
    pub(crate) fn count(&self) -> bool {
        self.held(Instant::now()).is_some()
    }

    /// Waits for a fetch: the one that is under way, or one that begins now where the last one is long
    /// enough ago. Else returns at once; in no case later than a fetch may take.
    pub(super) async fn renewed(&self) {
        let Some(plan) = &self.plan else { return };
        let mut ended = self.ended.subscribe();
        {
            let mut state = self.state();
            let is_due = |begun: Instant| begun.elapsed() >= plan.cooldown;
            if !state.is_fetching {
                if !state.begun.is_none_or(is_due) {
                    return;
                }
                state.is_fetching = true;
                self.asked.notify_one();
            }
        }
        // The refresher may be gone, with the gateway.
        let _ = timeout(plan.timeout, ended.changed()).await;
    }

    /// A fetch begins.
    pub(super) fn begin(&self) {
        let mut state = self.state();
        state.is_fetching = true;
        state.begun = Some(Instant::now());
    }

    /// A fetch ended, with this text or without any.
    pub(super) fn end(&self, fetched: Option<Vec<u8>>) -> Result<(), JwksError> {
        let result = fetched.map_or(Ok(false), |text| self.replace(text).map(|()| true));
        self.state().is_fetching = false;
        let succeeded = matches!(result, Ok(true));
        self.counts[usize::from(succeeded)].fetch_add(1, Ordering::Relaxed);
        self.ended.send_modify(|count| *count += 1);
        result.map(|_| ())
    }

    fn replace(&self, text: Vec<u8>) -> Result<(), JwksError> {
        let stale = self
            .plan
            .as_ref()
            .map_or(Duration::ZERO, |plan| plan.max_stale);
        let until = Some(Instant::now() + stale);
        let held = self.held.load_full();
        if self.state().text == text {
            self.held.store(Arc::new(Held {
                set: held.set.clone(),
                generation: held.generation,
                until,
            }));
            return Ok(());
        }
        let set = KeySet::of_jwks(&text, &self.allowed)?;
        self.held.store(Arc::new(Held {
            set: set.behind(&self.fixed),
            generation: held.generation + 1,
            until,
        }));
        self.state().text = text;
        Ok(())
    }

    /// How many fetches failed, and how many did not; `None` where nothing is fetched.
    pub(crate) fn fetches(&self) -> Option<[u64; 2]> {
        self.plan.as_ref()?;
        let counts = &self.counts;
        Some([0, 1].map(|place: usize| counts[place].load(Ordering::Relaxed)))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
