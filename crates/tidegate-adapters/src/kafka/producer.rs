//! The one producer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{Headers as _, OwnedHeaders};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord, Producer as _, PurgeConfig};
use rdkafka::util::Timeout;
use tidegate::bus::BusError;
use tokio::time::Instant;

use super::context::Context;
use super::troubles::{About, Troubles};

/// How long what is left is sent when the gateway ends.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How long no record of a topic is taken in time before a new producer tries.
const RENEWED_AFTER: Duration = Duration::from_secs(15);

/// What goes to the brokers.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) topic: Arc<str>,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: OwnedHeaders,
    pub(super) time: SystemTime,
}

/// The most bytes of a record besides its key, its value and its headers, and of a header besides its name and
/// its value: lengths, mostly.
const AROUND_RECORD: usize = 36;
const AROUND_HEADER: usize = 10;

impl Outgoing {
    /// The most bytes that it takes, as librdkafka counts them.
    pub(super) fn size(&self) -> usize {
        let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let headers = self.headers.iter().map(|header| {
            let value = header.value.map_or(0, <[u8]>::len);
            AROUND_HEADER + header.key.len() + value
        });
        AROUND_RECORD + of(&self.key) + of(&self.value) + headers.sum::<usize>()
    }
}

/// A client that sends, with where it says what it says.
struct Client {
    sends: FutureProducer<Context>,
    context: Context,
}

impl Client {
    fn new(config: &ClientConfig, context: Context) -> KafkaResult<Self> {
        let sends = config.create_with_context(context.clone())?;
        Ok(Self { sends, context })
    }
}

/// Sends records, and says when the brokers have them.
pub(super) struct Producer {
    config: ClientConfig,
    context: Context,
    troubles: Troubles,
    /// One that has failed for good is replaced.
    current: Mutex<Client>,
    /// Since when the records of a topic are all too late.
    late: Mutex<HashMap<Arc<str>, Instant>>,
}

impl Producer {
    pub(super) fn new(config: ClientConfig, troubles: Troubles) -> KafkaResult<Self> {
        let context = Context::new(troubles.clone());
        Ok(Self {
            current: Mutex::new(Client::new(&config, context.next())?),
            config,
            context,
            troubles,
            late: Mutex::default(),
        })
    }

    /// Waits until all replicas in step have it, at most about as long as a record may take; in which
    /// partition it is then, and at what offset.
    pub(super) async fn send(&self, record: &Outgoing) -> Result<(i32, i64), BusError> {
        let delivery = self.hand_over(record)?;
        self.arrived(&record.topic, delivery).await
    }

    /// The same of a record of that topic that was handed over before.
    pub(super) async fn arrived(
        &self,
        topic: &Arc<str>,
        delivery: DeliveryFuture,
    ) -> Result<(i32, i64), BusError> {
        match delivery.await {
            Ok(Ok(delivery)) => {
                self.is_well(topic);
                Ok((delivery.partition, delivery.offset))
            }
            Ok(Err((error, _record))) => Err(self.refused(topic, &error)),
            Err(_ended) => Err(BusError::Unreachable),
        }
    }

    /// Sends it without waiting.
    pub(super) fn hand_over(&self, record: &Outgoing) -> Result<DeliveryFuture, BusError> {
        let since = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = i64::try_from(since.as_millis()).unwrap_or_default();
        let mut outgoing = FutureRecord::<[u8], [u8]>::to(&record.topic)
            .timestamp(time)
            .headers(record.headers.clone());
        if let Some(key) = &record.key {
            outgoing = outgoing.key(key);
        }
        if let Some(value) = &record.value {
            outgoing = outgoing.payload(value);
        }
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let handed = current.sends.send_result(outgoing);
        drop(current);
        handed.map_err(|(error, _record)| self.refused(&record.topic, &error))
    }

    fn is_well(&self, topic: &Arc<str>) {
        if self.troubles.is_none() {
            return;
        }
        self.context.is_back();
        self.lock_late().remove(topic);
        if let Some(refused) = self.troubles.end(&About::Writing(Arc::clone(topic))) {
            tracing::info!(refused, topic = &**topic, "records are published again");
        }
    }

    /// Says it once, however many are not taken.
    fn refused(&self, topic: &Arc<str>, error: &KafkaError) -> BusError {
        let is_late = error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageTimedOut);
        self.replace_if_failed(is_late && self.is_late_for_long(topic));
        let refusal = refusal(error);
        let about = About::Writing(Arc::clone(topic));
        if refusal != BusError::TooBig && self.troubles.begin(&about, &error.to_string()) {
            tracing::warn!(%error, topic = &**topic, "records are not published");
        } else {
            tracing::debug!(%error, topic = &**topic, "a record is not published");
        }
        refusal
    }

    fn lock_late(&self) -> MutexGuard<'_, HashMap<Arc<str>, Instant>> {
        self.late.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a record of that topic, which is too late, is one too many.
    fn is_late_for_long(&self, topic: &Arc<str>) -> bool {
        let mut late = self.lock_late();
        let since = *late.entry(Arc::clone(topic)).or_insert_with(Instant::now);
        let is_long = since.elapsed() > RENEWED_AFTER || self.context.was_stale();
        if is_long {
            // The new one has as long.
            late.clear();
        }
        is_long
    }

    fn replace_if_failed(&self, is_late: bool) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((code, reason)) = current.sends.client().fatal_error() {
            tracing::error!(%code, reason, "the producer has failed, and is made anew");
        } else if is_late {
            // What waits in it fails with it, and nothing of it comes behind what the new one sends.
            tracing::info!("the producer is made anew");
        } else {
            return;
        }
        let old = match Client::new(&self.config, self.context.next()) {
            Ok(new) => std::mem::replace(&mut *current, new),
            Err(error) => return tracing::error!(%error, "there is no new producer"),
        };
        old.context.is_replaced();
        old.sends.purge(PurgeConfig::default().queue().inflight());
        drop(current);
        // Those who wait are told first.
        drop(old);
    }

    /// Sends what is left, for two seconds at most.
    pub(super) fn flush(&self) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = current.sends.flush(Timeout::After(LAST_WORDS)) {
            tracing::warn!(%error, left = current.sends.in_flight_count(), "the last records are not sent");
        }
    }
}

fn refusal(error: &KafkaError) -> BusError {
    match error.rdkafka_error_code() {
        Some(RDKafkaErrorCode::QueueFull) => BusError::Full,
        Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidMessageSize) => {
            BusError::TooBig
        }
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::InvalidTopic,
        ) => BusError::NoTopic,
        Some(RDKafkaErrorCode::TopicAuthorizationFailed) => BusError::Forbidden,
        _ => BusError::Unreachable,
    }
}
