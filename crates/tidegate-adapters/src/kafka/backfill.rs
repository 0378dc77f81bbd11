//! What is not kept here is read from the brokers again: by one consumer, for one client after the other. What
//! one needed is kept for those who come behind it, who mostly need the same.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use rdkafka::Message;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tidegate::bus::{Bounds, Event, Position, Replay};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::context::Context;
use super::history::{Answer, bounded, is_for};
use super::{Shared, examine};

/// Clients that may wait for what they missed.
pub(super) const MOST_WAITING: usize = 4096;
/// How long one reading may take, and the most records and bytes that it goes through.
const PATIENCE: Duration = Duration::from_secs(4);
const MOST_RECORDS: usize = 500_000;
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// The most bytes of events that are held until it is known whether they have room.
const MOST_HELD: usize = 16 * 1024 * 1024;

/// What a client asks for.
pub(super) struct Asked {
    pub(super) topic: Arc<str>,
    pub(super) user: Box<str>,
    pub(super) after: Position,
    pub(super) most: Bounds,
    pub(super) answer: oneshot::Sender<Replay>,
}

/// Answers one after the other until the end.
pub(super) async fn run(
    shared: Arc<Shared>,
    consumer: Arc<StreamConsumer<Context>>,
    mut asked: mpsc::Receiver<Asked>,
    end: CancellationToken,
) {
    loop {
        let one = tokio::select! {
            biased;
            () = end.cancelled() => return,
            one = asked.recv() => match one {
                Some(one) => one,
                None => return,
            },
        };
        if one.answer.is_closed() {
            continue;
        }
        let replay = replay(&shared, &consumer, &one);
        let replay = tokio::select! {
            biased;
            () = end.cancelled() => return,
            replay = replay => replay,
        };
        if let Err(error) = consumer.unassign() {
            tracing::debug!(%error, "what was read again is not let go");
        }
        // Whoever asked may be gone.
        let _ = one.answer.send(replay);
    }
}

async fn replay(shared: &Shared, consumer: &Arc<StreamConsumer<Context>>, one: &Asked) -> Replay {
    // Somebody before it may have needed the same.
    let answer = || {
        let history = shared.history();
        history.replay(&one.topic, &one.user, &one.after, one.most)
    };
    let mut answered = answer();
    if let Answer::Examine { partition, from } = answered {
        if !examine::examine(shared, consumer, &one.topic, (partition, from)).await {
            return Replay::incomplete();
        }
        answered = answer();
    }
    let (partition, from, to) = match answered {
        Answer::Replay(replay) => return replay,
        Answer::Examine { .. } => return Replay::incomplete(),
        Answer::Read {
            partition,
            from,
            to,
        } => (partition, from, to),
    };
    let place = Place {
        topic: &one.topic,
        partition,
        from,
        to,
    };
    let reading = read(shared, consumer, &place, &one.user);
    let Ok(Some((mut mine, all))) = timeout(PATIENCE, reading).await else {
        return Replay::incomplete();
    };
    let mut history = shared.history();
    if let Some(all) = all {
        history.extend(&one.topic, partition, from, all);
    }
    // What came meanwhile stands behind it.
    let Some(rest) = history.position(&one.topic, partition, to - 1) else {
        return Replay::incomplete();
    };
    match history.replay(&one.topic, &one.user, &rest, one.most) {
        Answer::Replay(rest) if rest.is_complete => {
            mine.extend(rest.events);
            bounded(mine.iter(), one.most)
        }
        _ => Replay::incomplete(),
    }
}

/// What is read.
struct Place<'a> {
    topic: &'a str,
    partition: i32,
    from: i64,
    to: i64,
}

type Events = Vec<(i64, Arc<Event>)>;

/// The user's events, and those of all users where they are not too many; `None` where not all is there.
async fn read(
    shared: &Shared,
    consumer: &StreamConsumer<Context>,
    place: &Place<'_>,
    user: &str,
) -> Option<(Vec<Arc<Event>>, Option<Events>)> {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(place.topic, place.partition, Offset::Offset(place.from))
        .ok()?;
    consumer.assign(&list).ok()?;
    let (mut mine, mut all, mut held) = (Vec::new(), Some(Vec::new()), 0);
    let (mut records, mut bytes) = (0, 0);
    loop {
        let message = match consumer.recv().await {
            Ok(message) => message,
            Err(KafkaError::PartitionEOF(number)) if number == place.partition => break,
            // It does not reach back so far.
            Err(error) => {
                tracing::debug!(%error, topic = place.topic, "what was missed is not there");
                return None;
            }
        };
        let offset = message.offset();
        if message.partition() != place.partition || offset < place.from {
            continue; // left from one before it
        }
        if offset >= place.to {
            break;
        }
        records += 1;
        bytes += message.payload_len();
        if records > MOST_RECORDS || bytes > MOST_BYTES {
            return None;
        }
        if let Some(event) = shared.kept_event(&message).await? {
            if is_for(&event, user) {
                mine.push(Arc::clone(&event));
            }
            held += event.size();
            if let Some(events) = &mut all {
                events.push((offset, event));
            }
            if held > MOST_HELD {
                all = None;
            }
        }
        if offset + 1 >= place.to {
            break;
        }
        // What is new goes before what is old.
        if records.is_multiple_of(64) {
            yield_now().await;
        }
    }
    Some((mine, all))
}

impl Shared {
    /// The event of a record, if it stands in a user's history; `None` where that cannot be said.
    pub(super) async fn kept_event(&self, message: &impl Message) -> Option<Option<Arc<Event>>> {
        let mut decoded = self.decode(message);
        if let Ok(None) = decoded
            && let Some(asked) = self.schema_of(message)
        {
            asked.await.ok()?;
            decoded = self.decode(message);
        }
        let payload = match decoded {
            Ok(Some(payload)) => payload,
            Ok(None) => return None,
            // It was none when it came, and is skipped again.
            Err(_no_event) => return Some(None),
        };
        let event = self.event(message, payload);
        Some(event.position.is_some().then(|| Arc::new(event)))
    }
}

/// Asks for what is not here; the answer comes when it comes.
pub(super) async fn ask(
    sender: &mpsc::Sender<Asked>,
    asked: Asked,
    answer: oneshot::Receiver<Replay>,
) -> Result<Replay, tidegate::bus::BusError> {
    sender
        .try_send(asked)
        .map_err(|_too_many| tidegate::bus::BusError::Full)?;
    let answered = answer.map(|replay| replay.unwrap_or_else(|_ended| Replay::incomplete()));
    Ok(answered.await)
}
