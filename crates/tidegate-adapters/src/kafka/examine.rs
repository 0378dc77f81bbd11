//! Records that are not in the partition where their user's history is, as another partitioner leaves
//! them: whoever comes back with a cursor from before this process read them is not to be told that it
//! has everything. So before the first is told so, what the other partitions have since is looked
//! through, once for all who come behind it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::task::{spawn_blocking, yield_now};
use tokio::time::{Instant, sleep, timeout};

use super::backfill::assign;
use super::context::Context;
use super::history::{SKEW, Span};
use super::troubles::About;
use super::{Shared, record};

/// How long it may take, and the most records and bytes that it goes through.
const PATIENCE: Duration = Duration::from_secs(15);
const MOST_RECORDS: usize = 2_000_000;
const MOST_BYTES: usize = 512 * 1024 * 1024;
/// How long the brokers have for one question.
const ANSWERED_WITHIN: Duration = Duration::from_secs(2);
/// How long they are asked again, and how soon.
const CONNECTED_WITHIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(100);

type Reader = Arc<StreamConsumer<Context>>;

/// Why it cannot be said what is there.
enum Unknown {
    /// There is more than is ever looked through.
    TooMuch,
    /// It is gone, or cannot be read now.
    NotThere,
}

/// Looks through all other partitions for who stands at an offset of one, unless that has been done;
/// whether it could.
pub(super) async fn examine(
    shared: &Shared,
    consumer: &Reader,
    topic: &Arc<str>,
    at: (i32, i64),
) -> bool {
    let examined = timeout(PATIENCE, examine_all(shared, consumer, topic, at)).await;
    if !matches!(examined, Ok(Some(()))) {
        let is_late = examined.is_err();
        tracing::debug!(
            topic = &**topic,
            partition = at.0,
            offset = at.1,
            is_late,
            "it cannot be said what is missed behind that"
        );
    }
    if let Err(error) = consumer.unassign() {
        tracing::debug!(%error, "what was examined is not let go");
    }
    matches!(examined, Ok(Some(())))
}

async fn examine_all(
    shared: &Shared,
    consumer: &Reader,
    topic: &Arc<str>,
    at: (i32, i64),
) -> Option<()> {
    let since = match time_before(shared, consumer, topic, at).await {
        Some(time) => time.saturating_sub(SKEW),
        None => i64::MIN,
    };
    let (epoch, mut ends) = shared.history().unexamined(topic)?;
    if !shared.history().reaches_back_to(topic, since) {
        return None;
    }
    ends.retain(|(number, _)| *number != at.0);
    let begun = Instant::now();
    let starts = loop {
        let (reader, name, ends) = (Arc::clone(consumer), Arc::clone(topic), ends.clone());
        let starts = spawn_blocking(move || match reaches(&reader, &name, at) {
            Ok(true) => starts(&reader, &name, since, &ends),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        });
        match starts.await.ok()? {
            Ok(starts) => break starts?,
            // A client that had nothing to do since brokers were away connects only now.
            Err(_) if begun.elapsed() < CONNECTED_WITHIN => sleep(AGAIN).await,
            Err(error) => {
                tracing::debug!(%error, "the brokers do not say where to look");
                if !shared.troubles.has(&About::Brokers) {
                    consumer.context().is_late();
                }
                return None;
            }
        }
    };
    let spans = starts.iter().filter(|span| span.from < span.to).copied();
    let spans: Vec<_> = spans.collect();
    if !spans.is_empty()
        && let Err(unknown) = look_through(shared, consumer, topic, &spans).await
    {
        if let Unknown::TooMuch = unknown {
            tracing::warn!(topic = &**topic, "there is too much to look through");
            shared.history().is_too_far(topic, since);
        }
        return None;
    }
    let needed = starts.iter().map(|span| (span.partition, span.from));
    let needed: Vec<_> = needed.collect();
    shared
        .history()
        .examined(topic, epoch, at, (&spans, &needed));
    Some(())
}

/// When the record was written that stands before a cursor; `None`: it is not there.
async fn time_before(
    shared: &Shared,
    consumer: &Reader,
    topic: &str,
    (number, from): (i32, i64),
) -> Option<i64> {
    let before = from.checked_sub(1).filter(|before| *before >= 0)?;
    if let Some(time) = shared.history().time_of(topic, number, before) {
        return Some(time);
    }
    let span = Span {
        partition: number,
        from: before,
        to: from,
    };
    assign(consumer, &list(topic, &[span])?)?;
    loop {
        let message = consumer.recv().await.ok()?;
        // What was left from somebody before it is passed over.
        if message.partition() == number && message.offset() >= before {
            let is_it = message.offset() == before;
            return message.timestamp().to_millis().filter(|_| is_it);
        }
    }
}

/// Whether a partition has, or had, what stands before an offset: the brokers may have lost it.
fn reaches(consumer: &Reader, topic: &str, (number, from): (i32, i64)) -> KafkaResult<bool> {
    let (_low, high) = consumer.fetch_watermarks(topic, number, ANSWERED_WITHIN)?;
    Ok(from <= high)
}

/// From where to where each of the partitions is to be looked through; `None` where what was written since
/// then may be gone. It waits for the brokers.
fn starts(
    consumer: &Reader,
    topic: &str,
    since: i64,
    ends: &[(i32, i64)],
) -> KafkaResult<Option<Vec<Span>>> {
    let is_all = since == i64::MIN;
    let mut found = TopicPartitionList::new();
    if !is_all {
        for (number, _) in ends {
            found.add_partition_offset(topic, *number, Offset::Offset(since.max(0)))?;
        }
        found = consumer.offsets_for_times(found, ANSWERED_WITHIN)?;
    }
    let mut spans = Vec::with_capacity(ends.len());
    for (number, end) in ends {
        let (low, high) = consumer.fetch_watermarks(topic, *number, ANSWERED_WITHIN)?;
        let first = found.find_partition(topic, *number).map(|one| one.offset());
        let from = match first {
            Some(Offset::Offset(offset)) => offset,
            Some(_) => *end,
            None => low,
        };
        // What stood before the first that is there may have been written since then, too.
        if low > 0 && from <= low && (is_all || low < high) {
            return Ok(None);
        }
        spans.push(Span {
            partition: *number,
            from: from.min(*end),
            to: *end,
        });
    }
    Ok(Some(spans))
}

fn list(topic: &str, spans: &[Span]) -> Option<TopicPartitionList> {
    let mut list = TopicPartitionList::new();
    for span in spans {
        list.add_partition_offset(topic, span.partition, Offset::Offset(span.from))
            .ok()?;
    }
    Some(list)
}

async fn look_through(
    shared: &Shared,
    consumer: &Reader,
    topic: &str,
    spans: &[Span],
) -> Result<(), Unknown> {
    let list = list(topic, spans).ok_or(Unknown::NotThere)?;
    assign(consumer, &list).ok_or(Unknown::NotThere)?;
    let mut open: HashMap<i32, i64> = spans.iter().map(|one| (one.partition, one.to)).collect();
    let (mut records, mut bytes) = (0_usize, 0);
    while !open.is_empty() {
        let message = match consumer.recv().await {
            Ok(message) => message,
            Err(KafkaError::PartitionEOF(number)) => {
                open.remove(&number);
                continue;
            }
            Err(_gone) => return Err(Unknown::NotThere),
        };
        let number = message.partition();
        let Some(to) = open.get(&number).copied() else {
            continue;
        };
        if message.offset() < to {
            look_at(shared, &message).await.ok_or(Unknown::NotThere)?;
        }
        if message.offset() + 1 >= to {
            // What comes of it still is passed over: paused, it would stay so when it is assigned again.
            open.remove(&number);
        }
        records += 1;
        bytes += message.payload_len();
        if records > MOST_RECORDS || bytes > MOST_BYTES {
            return Err(Unknown::TooMuch);
        }
        if records.is_multiple_of(64) {
            yield_now().await;
        }
    }
    Ok(())
}

/// Notes a record that is not where its user's history is; `None` where that cannot be said.
async fn look_at(shared: &Shared, message: &BorrowedMessage<'_>) -> Option<()> {
    let (topic, number) = (message.topic(), message.partition());
    let key = message.key().and_then(record::key_text);
    let Some(user) = key else { return Some(()) };
    let ours = shared.key_bytes(topic, user);
    let key = ours.as_deref().or(message.key())?;
    if !shared.history().is_home(topic, key, number) {
        // Most keys are of nobody. Whose is, is noted as it is when one comes.
        shared.kept_event(message).await?;
    }
    Some(())
}
