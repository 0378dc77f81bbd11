//! What librdkafka says by itself: its log, its errors, and where partitions end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::statistics::Statistics;

/// Of one client.
#[derive(Debug, Clone, Default)]
pub(super) struct Context(Arc<Said>);

#[derive(Debug, Default)]
struct Said {
    /// No broker can be reached, which is said once.
    is_away: AtomicBool,
    /// By topic and partition: the offset behind its last record.
    ends: Mutex<HashMap<Box<str>, HashMap<i32, i64>>>,
}

impl Context {
    /// The offset behind the last record of a partition, as it was a moment ago.
    pub(super) fn end(&self, topic: &str, partition: i32) -> Option<i64> {
        let ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
        ends.get(topic)?.get(&partition).copied()
    }

    /// A broker has answered.
    pub(super) fn is_back(&self) {
        if self.0.is_away.load(Ordering::Relaxed) && self.0.is_away.swap(false, Ordering::Relaxed) {
            tracing::info!("the brokers can be reached again");
        }
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(facility, "{message}");
            }
            // Of a broker that is away there is one such line for each attempt.
            _ => tracing::debug!(facility, "{message}"),
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::AllBrokersDown) => {
                if !self.0.is_away.swap(true, Ordering::Relaxed) {
                    tracing::warn!(reason, "no broker can be reached");
                }
            }
            Some(RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve) => {
                tracing::debug!(%error, reason, "a broker cannot be reached");
            }
            _ => tracing::warn!(%error, reason, "Kafka"),
        }
    }

    fn stats(&self, statistics: Statistics) {
        let mut ends = self.0.ends.lock().unwrap_or_else(PoisonError::into_inner);
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
