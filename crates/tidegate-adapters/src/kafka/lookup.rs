//! Which partitions a topic has, and where each is read from. It asks the brokers and waits for them, so it
//! runs on a thread of its own.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::time::Instant;

use super::context::Context;
use super::watchdog::{Ends, Partition};

/// How long the brokers have for one question.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long they have for all of it, where they do not answer at once.
const ALL_WITHIN: Duration = Duration::from_secs(8);

/// What is known of a topic before.
#[derive(Debug, Clone)]
pub(super) enum Known {
    /// Nothing: it is read from its end on.
    Nothing,
    /// It was not there at this time (milliseconds since 1970): it is read from then on.
    Absent(i64),
    /// These partitions are read; others are read from their beginning.
    Partitions(BTreeSet<i32>),
}

/// Why partitions are not known.
#[derive(Debug)]
pub(super) enum Failure {
    /// The brokers do not answer: whatever else is asked fails as well.
    Brokers(KafkaError),
    /// It is this topic's.
    Topic(KafkaError),
}

/// Partitions that are to be read, each with the first offset; `None` where there is no such topic.
pub(super) type Found = Option<Vec<(i32, i64)>>;

/// Looks for partitions of `topic` that are not known.
pub(super) fn look(
    consumer: &Arc<StreamConsumer<Context>>,
    topic: &str,
    known: &Known,
) -> Result<Found, Failure> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE);
    let metadata = metadata.map_err(Failure::Brokers)?;
    let told = metadata.topics().iter().find(|one| one.name() == topic);
    let Some(told) = told else {
        return Ok(None);
    };
    match told.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
            return Ok(None);
        }
        Some(other) => return Err(Failure::Topic(KafkaError::MetadataFetch(other))),
    }
    let numbers: BTreeSet<i32> = told.partitions().iter().map(|one| one.id()).collect();
    if numbers.is_empty() {
        return Ok(None);
    }
    let offset = |number: i32| match known {
        Known::Nothing => Ok(consumer.fetch_watermarks(topic, number, PATIENCE)?.1),
        Known::Absent(since) => from_time(consumer, topic, number, *since),
        Known::Partitions(_) => Ok(consumer.fetch_watermarks(topic, number, PATIENCE)?.0),
    };
    let is_new = |number: &i32| match known {
        Known::Partitions(numbers) => !numbers.contains(number),
        Known::Nothing | Known::Absent(_) => true,
    };
    let found = numbers.into_iter().filter(is_new);
    let found = found.map(|number| Ok((number, offset(number)?)));
    let found = found.collect::<KafkaResult<_>>();
    found.map(Some).map_err(Failure::Topic)
}

/// The offsets behind the last records of partitions, as far as the brokers say: one question for each broker.
/// `None` where none of them says anything at all.
pub(super) fn ends(consumer: &StreamConsumer<Context>, partitions: &[Partition]) -> Option<Ends> {
    let (mut ends, until) = (Ends::new(), Instant::now() + ALL_WITHIN);
    find_ends(consumer, partitions, until, &mut ends);
    // Of a topic that is not there any more they say at least that.
    let (topic, _) = partitions.first()?;
    let is_answered = !ends.is_empty() || can_ask(consumer, topic);
    is_answered.then_some(ends)
}

/// One partition of which nothing can be said is enough, and nothing is said of any: so it is asked for each
/// half again.
fn find_ends(
    consumer: &StreamConsumer<Context>,
    partitions: &[Partition],
    until: Instant,
    ends: &mut Ends,
) {
    let patience = until.saturating_duration_since(Instant::now());
    if patience.is_zero() {
        return;
    }
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for (topic, number) in partitions {
        // A time of -1 is the end. It fails for numbers below zero alone.
        let _ = list.add_partition_offset(topic, *number, Offset::End);
    }
    match consumer.offsets_for_times(list, patience.min(PATIENCE)) {
        Ok(found) => {
            let found = found.elements();
            // They are in the order in which they were asked for.
            let found = partitions.iter().zip(&found).filter_map(|(one, found)| {
                let is_it = (&*one.0, one.1) == (found.topic(), found.partition());
                match (found.error(), found.offset()) {
                    (Ok(()), Offset::Offset(end)) if is_it => Some((one.clone(), end)),
                    _ => None,
                }
            });
            ends.extend(found);
        }
        Err(error) => {
            tracing::debug!(%error, "the brokers do not say how far partitions reach");
            if partitions.len() > 1 {
                let (first, second) = partitions.split_at(partitions.len() / 2);
                find_ends(consumer, first, until, ends);
                find_ends(consumer, second, until, ends);
            }
        }
    }
}

/// Whether the brokers say anything of a topic, and be it that there is none.
pub(super) fn can_ask(consumer: &StreamConsumer<Context>, topic: &str) -> bool {
    consumer.fetch_metadata(Some(topic), PATIENCE).is_ok()
}

/// The offset of the first record that is not older; where there is none, of the one that comes next.
fn from_time(
    consumer: &Arc<StreamConsumer<Context>>,
    topic: &str,
    number: i32,
    since: i64,
) -> KafkaResult<i64> {
    // What comes between both questions is behind this.
    let (_low, end) = consumer.fetch_watermarks(topic, number, PATIENCE)?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, number, Offset::Offset(since))?;
    let found = consumer.offsets_for_times(list, PATIENCE)?;
    let offset = found.find_partition(topic, number).map(|one| one.offset());
    match offset {
        Some(Offset::Offset(offset)) => Ok(offset),
        _ => Ok(end),
    }
}
