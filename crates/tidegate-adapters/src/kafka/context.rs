//! What librdkafka says by itself: its log, its errors, and where partitions end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

use super::troubles::{About, Troubles};
use super::watchdog::Ends;

/// Of one client, and of those that come after it.
#[derive(Debug, Clone, Default)]
pub(super) struct Context {
    said: Arc<Said>,
    /// Another client has come after it: what it says still is nobody's concern.
    is_over: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Said {
    troubles: Troubles,
    /// What a broker that could not be reached said last.
    reason: Mutex<Option<Box<str>>>,
    is_explained: AtomicBool,
    /// It was told of a partition that has no leader, or was late.
    is_stale: AtomicBool,
    /// By topic and partition, as it was a moment ago.
    fetching: Mutex<HashMap<Box<str>, HashMap<i32, Fetching>>>,
    /// The offset behind the last record of each, as the brokers say when they are asked.
    ends: Mutex<Ends>,
}

/// What librdkafka does of one partition.
#[derive(Debug)]
struct Fetching {
    /// The offset behind its last record, as a broker said with what was fetched; below zero: none has.
    end: i64,
    /// What is fetched next; below zero: nothing.
    next: i64,
    state: String,
    leader: i32,
}

impl Context {
    pub(super) fn new(troubles: Troubles) -> Self {
        let said = Said {
            troubles,
            ..Said::default()
        };
        Self {
            said: Arc::new(said),
            is_over: Arc::default(),
        }
    }

    /// That of the next client.
    pub(super) fn next(&self) -> Self {
        Self {
            said: Arc::clone(&self.said),
            is_over: Arc::default(),
        }
    }

    /// The next client is there: what made this one stale does not count any more.
    pub(super) fn is_replaced(&self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.said.is_stale.store(false, Ordering::Relaxed);
        for topic in lock(&self.said.fetching).values_mut() {
            for partition in topic.values_mut() {
                partition.next = -1;
            }
        }
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The offset behind the last record of a partition, as it was a moment ago.
    pub(super) fn end(&self, topic: &Arc<str>, partition: i32) -> Option<i64> {
        let ends = lock(&self.said.ends);
        let asked = ends.get(&(Arc::clone(topic), partition)).copied();
        drop(ends);
        let fetched = self.fetching(topic, partition, |one| one.end);
        fetched.filter(|end| *end >= 0).max(asked)
    }

    /// How far a partition that is being fetched has been, whether it has arrived or not; below zero: not at all.
    pub(super) fn fetched(&self, topic: &str, partition: i32) -> i64 {
        let next = self.fetching(topic, partition, |one| match &*one.state {
            "active" => one.next,
            _ => -1,
        });
        next.unwrap_or(-1)
    }

    /// What librdkafka does of a partition, in its words.
    pub(super) fn what_it_does(&self, topic: &str, partition: i32) -> String {
        let words = self.fetching(topic, partition, |one| {
            let Fetching {
                next,
                state,
                leader,
                ..
            } = one;
            format!("{state}, leader {leader}, next offset {next}")
        });
        words.unwrap_or_else(|| "nothing".to_owned())
    }

    fn fetching<T>(&self, topic: &str, number: i32, of: impl Fn(&Fetching) -> T) -> Option<T> {
        let fetching = lock(&self.said.fetching);
        let partition = fetching.get(topic)?.get(&number)?;
        Some(of(partition))
    }

    /// What the brokers say now of how far partitions reach.
    pub(super) fn saw(&self, ends: Ends) {
        lock(&self.said.ends).extend(ends);
    }

    /// Whether the client was told, since that was asked last, that a partition has no leader. While it had none,
    /// librdkafka (up to 2.14) may have taken it for one that it need not ask about again, and neither reads it
    /// nor writes to it any more: only a new client does (confluentinc/librdkafka#5430).
    pub(super) fn was_stale(&self) -> bool {
        self.said.is_stale.swap(false, Ordering::Relaxed)
    }

    /// It has not read in time what is there: a new client is to.
    pub(super) fn is_late(&self) {
        self.said.is_stale.store(true, Ordering::Relaxed);
    }

    /// As [`was_stale`](Self::was_stale), without the question counting.
    pub(super) fn is_stale(&self) -> bool {
        self.said.is_stale.load(Ordering::Relaxed)
    }

    /// The brokers have told what they were asked.
    pub(super) fn has_answered(&self) {
        lock(&self.said.reason).take();
        self.is_back();
    }

    /// A broker has done its work.
    pub(super) fn is_back(&self) {
        if self.said.troubles.end(&About::Brokers).is_some() {
            tracing::info!("the brokers can be reached again");
        }
    }

    /// None of the brokers has, which is said once.
    pub(super) fn is_away(&self, why: &str) {
        // Which of them, and why, is told before.
        let last = lock(&self.said.reason).clone();
        let reason = last.as_deref().unwrap_or(why);
        if self.said.troubles.begin(&About::Brokers, reason) {
            self.said
                .is_explained
                .store(last.is_some(), Ordering::Relaxed);
            tracing::warn!(reason, "no broker can be reached");
        }
    }

    /// What one broker says, or why it says nothing.
    fn explain(&self, reason: &str) {
        *lock(&self.said.reason) = Some(reason.into());
        if self.said.troubles.has(&About::Brokers) {
            self.said.troubles.begin(&About::Brokers, reason);
            // It may come later than that they are away.
            if !self.said.is_explained.swap(true, Ordering::Relaxed) {
                tracing::warn!(reason, "why no broker can be reached");
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            _ if self.is_over() => tracing::debug!(facility, "{message}"),
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "{message}");
            }
            // Of a broker that is away there is one such line for each attempt.
            _ => {
                if facility == "FAIL" {
                    // Which of its threads says it, is nobody's concern.
                    let reason = message
                        .split_once("]: ")
                        .map_or(message, |(_, reason)| reason);
                    self.explain(reason);
                }
                if facility == "METADATAUPDATE" {
                    self.said.is_stale.store(true, Ordering::Relaxed);
                }
                tracing::debug!(facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if self.is_over() {
            return;
        }
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                self.is_away(reason);
            }
            Some(
                RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::SSL,
            ) => {
                self.explain(reason);
                tracing::debug!(%error, reason, "a broker cannot be reached");
            }
            _ => tracing::warn!(%error, reason, "Kafka"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        if self.is_over() {
            return;
        }
        let mut fetching = lock(&self.said.fetching);
        for (name, topic) in statistics.topics {
            let of_topic = fetching.entry(name.into()).or_default();
            let partitions = topic.partitions.into_values();
            // It has one below zero, for what belongs to none.
            for one in partitions.filter(|one| one.partition >= 0) {
                // A client that has fetched nothing yet does not know how far it reaches.
                let before = of_topic.get(&one.partition).map(|before| before.end);
                let end = Some(one.hi_offset).filter(|end| *end >= 0).or(before);
                let now = Fetching {
                    end: end.unwrap_or(-1),
                    next: one.next_offset,
                    state: one.fetch_state,
                    leader: one.leader,
                };
                of_topic.insert(one.partition, now);
            }
        }
    }
}

impl ConsumerContext for Context {}
