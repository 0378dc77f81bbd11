//! The way of an event to the brokers: one record; or, where it is for several users in whose order it stands,
//! a copy for each of them, and behind those the record for all.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::producer::DeliveryFuture;
use tidegate::bus::{BusError, Event, Payload, PushTarget};
use tidegate::config::plan::{BusFormat, KafkaBusPlan};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::producer::Outgoing;
use super::registry::NoSchema;
use super::{Shared, avro, framing, record};

/// How much later than a record's own timeout it is told that it failed.
const GRACE: Duration = Duration::from_secs(1);
/// Copies of all pushes that are with the producer at one time, and how many bytes one of them may have
/// without taking the room of several: 16 MiB together.
const MOST_COPIES: u32 = 256;
const BYTES_OF_ONE: usize = 64 * 1024;
/// The most bytes of all copies of one push, and how long they may take.
const MOST_TOGETHER: usize = 256 * 1024 * 1024;
const ALL_WITHIN: Duration = Duration::from_secs(60);
/// After so many copies others have their turn.
const TURN: usize = 8;

/// The room for copies that wait for the brokers. It leaves some of the producer's for all else.
pub(super) struct Room {
    free: Semaphore,
    all: u32,
}

/// A copy that the brokers may not have yet, and its room.
type UnderWay<'s> = (DeliveryFuture, SemaphorePermit<'s>);

impl Room {
    pub(super) fn new(plan: &KafkaBusPlan) -> Self {
        let all = (plan.max_queued / 2).clamp(1, MOST_COPIES);
        let free = Semaphore::new(usize::try_from(all).unwrap_or(usize::MAX));
        Self { free, all }
    }

    fn taken_by(&self, size: usize) -> u32 {
        let taken = u32::try_from(1 + size / BYTES_OF_ONE);
        taken.map_or(self.all, |taken| taken.min(self.all))
    }
}

impl Shared {
    /// Waits until the brokers have it.
    pub(super) async fn publish(&self, event: &Event) -> Result<(), BusError> {
        let users = copied_for(event);
        if !users.is_empty() {
            let published = timeout(ALL_WITHIN, self.publish_to_each(event, &users)).await;
            return published.unwrap_or(Err(BusError::Unreachable));
        }
        let publishing = async {
            let record = self.prepared(event).await?;
            self.producer.send(&record).await
        };
        self.in_time(publishing).await?;
        Ok(())
    }

    /// A step of it, which must not take longer than one record may.
    async fn in_time<T>(
        &self,
        step: impl Future<Output = Result<T, BusError>>,
    ) -> Result<T, BusError> {
        let patience = self.plan.publish_timeout + GRACE;
        let done = timeout(patience, step).await;
        done.unwrap_or(Err(BusError::Unreachable))
    }

    /// The record of an event, once who subscribes here sees all that is accepted.
    async fn prepared(&self, event: &Event) -> Result<Outgoing, BusError> {
        while !self.is_read_here(&event.topic) {
            let more = self.reads_more.notified();
            if self.is_read_here(&event.topic) {
                break;
            }
            more.await;
        }
        self.outgoing(event).await
    }

    /// What is for several is one record, which stands in nobody's partition: where it is kept for users,
    /// each finds a copy in its own, and is told of it by that, in its order.
    async fn publish_to_each(&self, event: &Event, users: &[&str]) -> Result<(), BusError> {
        let mut whole = self.in_time(self.prepared(event)).await?;
        let mut copy = event.clone();
        self.fits(&whole, &mut copy, users).await?;
        let mut places = Vec::with_capacity(users.len());
        let mut under_way: VecDeque<UnderWay<'_>> = VecDeque::new();
        for (number, user) in users.iter().enumerate() {
            let record = self.in_time(self.copy(&mut copy, user)).await?;
            let taken = self.room.taken_by(record.size());
            let permit = loop {
                if let Ok(permit) = self.room.free.try_acquire_many(taken) {
                    break permit;
                }
                let Some(first) = under_way.pop_front() else {
                    break self.room_of(taken).await?; // whoever waits for room takes none
                };
                places.push(self.arrived(&whole, first).await?);
            };
            under_way.push_back((self.producer.hand_over(&record)?, permit));
            if taken > 1 || number % TURN == TURN - 1 {
                yield_now().await;
            }
        }
        for copy in under_way {
            places.push(self.arrived(&whole, copy).await?);
        }
        whole.headers = record::as_copied(whole.headers, &places);
        self.in_time(self.producer.send(&whole)).await?;
        Ok(())
    }
    /// Room for a copy, once somebody else's are done.
    async fn room_of(&self, taken: u32) -> Result<SemaphorePermit<'_>, BusError> {
        let room = async { Ok(self.room.free.acquire_many(taken).await) };
        let room = self.in_time(room).await?;
        room.map_err(|_closed| BusError::Unreachable)
    }

    /// Where a copy is.
    async fn arrived(
        &self,
        whole: &Outgoing,
        (delivery, _permit): UnderWay<'_>,
    ) -> Result<(i32, i64), BusError> {
        let arrived = self.producer.arrived(&whole.topic, delivery);
        self.in_time(arrived).await
    }

    /// Whether all of it has room, so that nobody is told of what others cannot be.
    ///
    /// # Errors
    /// When the record for all, one of its copies or all of them together are larger than that.
    async fn fits(
        &self,
        whole: &Outgoing,
        copy: &mut Event,
        users: &[&str],
    ) -> Result<(), BusError> {
        let longest = users.iter().max_by_key(|user| longest_written(user));
        let longest = longest.copied().unwrap_or_default();
        let copy = self.in_time(self.copy(copy, longest)).await?.size();
        let whole = whole.size() + record::size_of_places(users.len());
        let most = usize::try_from(self.plan.max_message_size).unwrap_or(usize::MAX);
        match whole.max(copy) <= most && copy.saturating_mul(users.len()) <= MOST_TOGETHER {
            true => Ok(()),
            false => Err(BusError::TooBig),
        }
    }

    /// The record that is one user's, of an event whose targets are nobody's any more.
    async fn copy(&self, event: &mut Event, user: &str) -> Result<Outgoing, BusError> {
        event.key = Some(user.into());
        if let Payload::Push(push) = &mut event.payload {
            push.targets = [PushTarget::User(user.into())].into();
        }
        let mut record = self.outgoing(event).await?;
        record.headers = record::as_copy(record.headers);
        Ok(record)
    }

    /// The record of an event.
    async fn outgoing(&self, event: &Event) -> Result<Outgoing, BusError> {
        let key = record::key(event);
        let avro = match self.plan.format {
            BusFormat::Avro => record::to_avro(&event.payload, self.plan.compat_hash),
            BusFormat::Json | BusFormat::CloudEvents => None,
        };
        let (key, value, headers) = match avro {
            Some((record, extra)) => {
                let key = match key {
                    Some(key) => {
                        let subject = format!("{}-key", event.topic);
                        let text = avro::Record::Text(key.to_owned());
                        Some(self.framed(&subject, text).await?)
                    }
                    None => None,
                };
                let value = self.framed(record.kind().subject(), record).await?;
                (key, value, record::headers(event, extra.as_deref()))
            }
            None => {
                let (written, extra) = record::to_json(event);
                let headers = record::headers(event, extra.as_deref());
                let key = key.map(|key| key.as_bytes().to_vec());
                match self.plan.format {
                    BusFormat::CloudEvents => {
                        let written = record::to_cloud_event(event, &self.node, &written);
                        (key, written.into_bytes(), record::as_cloud_event(headers))
                    }
                    BusFormat::Avro | BusFormat::Json => (key, written.into_bytes(), headers),
                }
            }
        };
        Ok(Outgoing {
            topic: Arc::clone(&event.topic),
            key,
            value: Some(value),
            headers,
            time: event.time,
        })
    }

    /// A record of Avro with the id of its schema before it.
    async fn framed(&self, subject: &str, record: avro::Record) -> Result<Vec<u8>, BusError> {
        let registry = self.registry.as_ref().ok_or(BusError::Unreachable)?;
        let kind = record.kind();
        let writer = match registry.known_writer(subject, kind) {
            Some(writer) => writer,
            None => registry.writer(subject, kind).await.map_err(|error| {
                match error {
                    // That has been said of the registry.
                    NoSchema::Away(_) => {
                        tracing::debug!(%error, subject, "there is no schema to write with");
                    }
                    NoSchema::Missing(_) => {
                        tracing::warn!(%error, subject, "there is no schema to write with");
                    }
                }
                BusError::Unreachable
            })?,
        };
        let datum = record.write(&writer.schema).map_err(|error| {
            tracing::error!(
                error,
                subject,
                "an event has no place in the registered schema"
            );
            BusError::Unreachable
        })?;
        Ok(framing::frame(writer.id, &datum))
    }
}

/// The users who find a copy of an event in their order.
fn copied_for(event: &Event) -> Vec<&str> {
    match &event.payload {
        Payload::Push(push) if push.targets.len() > 1 => push.kept_for().collect(),
        _ => Vec::new(),
    }
}

/// The bytes of a name, in whatever format it is written.
fn longest_written(name: &str) -> usize {
    let escaped = name
        .bytes()
        .filter(|byte| *byte < b' ' || b"\"\\".contains(byte));
    name.len() + 5 * escaped.count()
}
