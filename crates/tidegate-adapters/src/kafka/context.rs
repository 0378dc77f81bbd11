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

/// Of one client.
#[derive(Debug, Clone, Default)]
pub(super) struct Context(Arc<Said>);

#[derive(Debug, Default)]
struct Said {
    troubles: Troubles,
    /// What a broker that could not be reached said last.
    reason: Mutex<Option<Box<str>>>,
    is_explained: AtomicBool,
    /// It was told of a partition that has no leader.
    is_stale: AtomicBool,
    /// By topic and partition: the offset behind its last record.
    ends: Mutex<HashMap<Box<str>, HashMap<i32, i64>>>,
    /// The same of partitions that are held up, as the brokers say when they are asked.
    asked: Mutex<HashMap<(Arc<str>, i32), i64>>,
}

impl Context {
    pub(super) fn new(troubles: Troubles) -> Self {
        Self(Arc::new(Said {
            troubles,
            ..Said::default()
        }))
    }

    /// The offset behind the last record of a partition, as it was a moment ago.
    pub(super) fn end(&self, topic: &Arc<str>, partition: i32) -> Option<i64> {
        let asked = lock(&self.0.asked)
            .get(&(Arc::clone(topic), partition))
            .copied();
        let ends = lock(&self.0.ends);
        let read = ends.get(&**topic).and_then(|ends| ends.get(&partition));
        read.copied().max(asked)
    }

    /// What the brokers say of the partitions that are held up now.
    pub(super) fn saw(&self, ends: HashMap<(Arc<str>, i32), i64>) {
        *lock(&self.0.asked) = ends;
    }

    /// Whether the client was told, since that was asked last, that a partition has no leader. While it had none,
    /// librdkafka (up to 2.14) may have taken it for one that it need not ask about again, and neither reads it
    /// nor writes to it any more: only a new client does (confluentinc/librdkafka#5430).
    pub(super) fn was_stale(&self) -> bool {
        self.0.is_stale.swap(false, Ordering::Relaxed)
    }

    /// The same, without the question counting.
    pub(super) fn is_stale(&self) -> bool {
        self.0.is_stale.load(Ordering::Relaxed)
    }

    /// The brokers have told what they were asked.
    pub(super) fn has_answered(&self) {
        lock(&self.0.reason).take();
        self.is_back();
    }

    /// A broker has done its work.
    pub(super) fn is_back(&self) {
        if self.0.troubles.end(&About::Brokers).is_some() {
            tracing::info!("the brokers can be reached again");
        }
    }

    /// None of the brokers has, which is said once.
    pub(super) fn is_away(&self, why: &str) {
        // Which of them, and why, is told before.
        let last = lock(&self.0.reason).clone();
        let reason = last.as_deref().unwrap_or(why);
        if self.0.troubles.begin(&About::Brokers, reason) {
            self.0.is_explained.store(last.is_some(), Ordering::Relaxed);
            tracing::warn!(reason, "no broker can be reached");
        }
    }

    /// What one broker says, or why it says nothing.
    fn explain(&self, reason: &str) {
        *lock(&self.0.reason) = Some(reason.into());
        if self.0.troubles.has(&About::Brokers) {
            self.0.troubles.begin(&About::Brokers, reason);
            // It may come later than that they are away.
            if !self.0.is_explained.swap(true, Ordering::Relaxed) {
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
                    self.0.is_stale.store(true, Ordering::Relaxed);
                }
                tracing::debug!(facility, "{message}");
            }
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
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
        let mut ends = lock(&self.0.ends);
        for (name, topic) in statistics.topics {
            let of_topic = ends.entry(name.into()).or_default();
            for partition in topic.partitions.into_values() {
                if partition.partition >= 0 && partition.hi_offset >= 0 {
                    of_topic.insert(partition.partition, partition.hi_offset);
                }
            }
        }
    }
}

impl ConsumerContext for Context {}
