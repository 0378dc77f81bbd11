//! Which topics are read, and what is told of that.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tidegate::bus::{BusState, EventBus as _};

use super::Shared;
use super::topic_id::Identity;
use super::troubles::About;

/// By topic.
#[derive(Debug, Default)]
pub(super) struct Seen {
    topics: HashMap<Arc<str>, TopicSeen>,
    undecodable: HashMap<Arc<str>, u64>,
}

#[derive(Debug, Default)]
struct TopicSeen {
    /// Whether all that is published from now on arrives here.
    is_read: bool,
    /// The brokers do not let us.
    is_refused: bool,
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_read_here(&self, topic: &str) -> bool {
        let seen = self.seen();
        let is_read = |seen: &TopicSeen| seen.is_read || self.is_passed_over(topic, seen);
        seen.topics.get(topic).is_none_or(is_read)
    }

    /// Events that cannot be read here are published all the same, but for pushes: those have clients here.
    fn is_passed_over(&self, topic: &str, seen: &TopicSeen) -> bool {
        seen.is_refused && *topic != *self.topics.push
    }

    /// Somebody subscribes to it.
    pub(super) fn is_awaited(&self, topic: &Arc<str>) {
        self.seen().topics.entry(Arc::clone(topic)).or_default();
    }

    /// The brokers say which partitions it has.
    pub(super) fn is_well(&self, topic: &Arc<str>) {
        let about = About::Reading(Arc::clone(topic));
        if self.troubles.end(&about).is_some() {
            tracing::info!(topic = &**topic, "the topic can be read again");
            if let Some(seen) = self.seen().topics.get_mut(topic) {
                seen.is_refused = false;
            }
        }
    }

    /// The brokers know no such topic.
    pub(super) fn is_missing(&self, topic: &Arc<str>) {
        let about = About::Reading(Arc::clone(topic));
        if self.troubles.begin(&about, "it is not there") {
            tracing::warn!(topic = &**topic, "there is no topic of this name");
        }
    }

    /// Which topic it is, by which cursors of pushes are told from those of another of its name.
    pub(super) fn is_identified(&self, topic: &Arc<str>, identity: &Identity, is_known: bool) {
        let why = match identity {
            _ if *topic != self.topics.push => return,
            Identity::Is(_) => {
                if self.troubles.end(&About::Identity).is_some() {
                    tracing::info!(topic = &**topic, "pushes have cursors again");
                }
                return;
            }
            Identity::Unsaid if is_known => return,
            Identity::Unsaid => "the brokers do not say which topic it is",
            Identity::HasNone => "the brokers give topics no id, as those before Kafka 2.8 do not",
        };
        if self.troubles.begin(&About::Identity, why) {
            tracing::warn!(topic = &**topic, why, "pushes have no cursors");
        }
    }

    /// The brokers do not say which partitions it has.
    pub(super) fn is_refused(&self, topic: &Arc<str>, error: &KafkaError) {
        let about = About::Reading(Arc::clone(topic));
        if self.troubles.begin(&about, &error.to_string()) {
            tracing::warn!(%error, topic = &**topic, "the topic cannot be read");
        }
        let is_refused = matches!(
            error.rdkafka_error_code(),
            Some(RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::InvalidTopic)
        );
        if is_refused && let Some(seen) = self.seen().topics.get_mut(topic) {
            seen.is_refused = true;
        }
        self.look_whether_ready();
        self.reads_more.notify_waiters();
    }

    /// Does all that reads. A panic ends it, and then this node is not ready any more.
    pub(super) async fn survive<T>(&self, all: impl Future<Output = T>) {
        if AssertUnwindSafe(all).catch_unwind().await.is_err() {
            tracing::error!("a panic ended what reads from Kafka: start this process again");
            self.troubles.begin(&About::Reader, "it has panicked");
            self.is_ready.store(false, Ordering::Release);
        }
    }

    /// Whether all that is wanted is read by now.
    fn look_whether_ready(&self) {
        let seen = self.seen();
        let mut topics = seen.topics.iter();
        if topics.all(|(topic, seen)| seen.is_read || self.is_passed_over(topic, seen)) {
            self.is_ready.store(true, Ordering::Release);
        }
    }

    /// Whether somebody here subscribes to it.
    pub(super) fn is_wanted(&self, topic: &str) -> bool {
        self.local.is_watched(topic)
    }

    /// A topic is read from now on.
    pub(super) fn is_read(&self, topic: &Arc<str>) {
        let mut seen = self.seen();
        let of_topic = seen.topics.entry(Arc::clone(topic)).or_default();
        if std::mem::replace(&mut of_topic.is_read, true) {
            return;
        }
        drop(seen);
        self.look_whether_ready();
        self.reads_more.notify_waiters();
    }

    /// A topic is not read any more, unless somebody has come meanwhile: then not before it is again.
    pub(super) fn forget(&self, topic: &Arc<str>) {
        let mut seen = self.seen();
        match self.is_wanted(topic) {
            true => _ = seen.topics.insert(Arc::clone(topic), TopicSeen::default()),
            false => _ = seen.topics.remove(topic),
        }
        drop(seen);
        self.troubles.end(&About::Reading(Arc::clone(topic)));
        self.history().forget(topic);
    }

    pub(super) fn count_undecodable(&self, topic: &str) {
        let topic = self.topic(topic);
        *self.seen().undecodable.entry(topic).or_default() += 1;
    }

    /// Records of a topic that are with the brokers and not with who subscribes here.
    fn lag(&self, topic: &Arc<str>) -> u64 {
        let history = self.history();
        let lag = history.given_up_to(topic).map(|(number, given)| {
            let end = self.context.end(topic, number).unwrap_or(given);
            u64::try_from(end - given).unwrap_or_default()
        });
        lag.sum()
    }

    pub(super) fn state(&self) -> BusState {
        let seen = self.seen();
        let mut state = BusState::default();
        state.is_ready = self.is_ready.load(Ordering::Acquire);
        let topics = seen.topics.keys();
        state.lag = topics
            .map(|topic| (Arc::clone(topic), self.lag(topic)))
            .collect();
        state.undecodable = seen
            .undecodable
            .iter()
            .map(|(topic, count)| (Arc::clone(topic), *count))
            .collect();
        drop(seen);
        state.is_connected = Some(!self.troubles.has(&About::Brokers));
        state.troubles = self.troubles.told();
        let letters = self.dead_letters.as_ref();
        state.dead_letters = letters.map_or_else(Vec::new, |letters| letters.counts().into());
        state.lag.sort_unstable();
        state.undecodable.sort_unstable();
        state
    }
}
