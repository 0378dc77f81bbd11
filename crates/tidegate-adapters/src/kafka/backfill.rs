//! What is not kept here is read from the brokers again: by one consumer, one partition after the other, and
//! once for all who wait for it. What they needed is kept for those who come behind them, who mostly need
//! the same.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};
use tidegate::bus::{Bounds, Event, Position, Replay};
use tokio::sync::{mpsc, oneshot};
use tokio::task::yield_now;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::consumer::renew;
use super::context::Context;
use super::history::{Answer, bounded};
use super::troubles::About;
use super::{Shared, examine};

/// Errors and records that may have waited since the last reading.
const MOST_LEFT: usize = 100_000;
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

/// Answers until the end: a partition is read once for all who wait for it.
pub(super) async fn run(
    shared: Arc<Shared>,
    (mut consumer, config): (Arc<StreamConsumer<Context>>, ClientConfig),
    mut asked: mpsc::Receiver<Asked>,
    end: CancellationToken,
) {
    let mut waiting: VecDeque<Asked> = VecDeque::new();
    loop {
        if waiting.is_empty() {
            tokio::select! {
                biased;
                () = end.cancelled() => return,
                one = asked.recv() => match one {
                    Some(one) => waiting.push_back(one),
                    None => return,
                },
            }
        }
        while waiting.len() < MOST_WAITING
            && let Ok(one) = asked.try_recv()
        {
            waiting.push_back(one);
        }
        if consumer.context().is_stale() {
            renew(&config, &mut consumer);
        }
        tokio::select! {
            biased;
            () = end.cancelled() => return,
            () = answer_some(&shared, &consumer, &mut waiting) => {}
        }
        if let Err(error) = consumer.unassign() {
            tracing::debug!(%error, "what was read again is not let go");
        }
    }
}

/// Where somebody stands.
type At = (Arc<str>, i32);

/// Answers the first who waits, with all others who need the same partition; and whoever needs none.
async fn answer_some(
    shared: &Shared,
    consumer: &Arc<StreamConsumer<Context>>,
    waiting: &mut VecDeque<Asked>,
) {
    let mut unsure: Option<(At, i64)> = None;
    let mut group: Option<(At, Group)> = None;
    for one in std::mem::take(waiting) {
        if one.answer.is_closed() {
            continue;
        }
        let answered = shared
            .history()
            .replay(&one.topic, &one.user, &one.after, one.most);
        match answered {
            // Somebody before it may have needed the same. Whoever asked may be gone.
            Answer::Replay(replay) => _ = one.answer.send(replay),
            Answer::Examine { partition, from } => {
                let at = (Arc::clone(&one.topic), partition);
                match &mut unsure {
                    Some((first, least)) if *first == at => *least = from.min(*least),
                    Some(_) => {}
                    None => unsure = Some((at, from)),
                }
                waiting.push_back(one);
            }
            Answer::Read {
                partition,
                from,
                to,
            } => {
                let at = (Arc::clone(&one.topic), partition);
                let (first, group) = group.get_or_insert_with(|| (at.clone(), Group::new(to)));
                match *first == at && group.to == to {
                    true => group.add(one, from),
                    false => waiting.push_back(one),
                }
            }
        }
    }
    if let Some((at, group)) = group {
        serve(shared, consumer, at, group, waiting).await;
    } else if let Some((at, from)) = unsure {
        // Who stands behind that needs no more.
        examine::examine(shared, consumer, &at.0, (at.1, from)).await;
        refuse(shared, &at, from, waiting);
    }
}

/// Where it still cannot be said what they missed who stand there, it is not asked again; those behind may
/// fare better.
fn refuse(shared: &Shared, at: &At, from: i64, waiting: &mut VecDeque<Asked>) {
    for one in std::mem::take(waiting) {
        let answered = shared
            .history()
            .replay(&one.topic, &one.user, &one.after, one.most);
        match answered {
            Answer::Examine {
                partition,
                from: its,
            } if (&one.topic, partition, its) == (&at.0, at.1, from) => {
                let _ = one.answer.send(Replay::incomplete());
            }
            _ => waiting.push_back(one),
        }
    }
}

/// Those who need one partition up to the same offset.
struct Group {
    from: i64,
    to: i64,
    all: Vec<Member>,
    by_user: HashMap<Box<str>, Vec<usize>>,
    /// Bytes of what is kept for them.
    held: usize,
}

/// One of them.
struct Member {
    asked: Asked,
    from: i64,
    events: Vec<Arc<Event>>,
    bytes: usize,
    standing: Standing,
}

/// What is done with somebody at the end of a pass.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Standing {
    Served,
    /// There is more than may come again.
    TooMuch,
    /// There was no room for all of them: it has another pass.
    Later,
}

impl Group {
    fn new(to: i64) -> Self {
        Self {
            from: to,
            to,
            all: Vec::new(),
            by_user: HashMap::new(),
            held: 0,
        }
    }

    fn add(&mut self, asked: Asked, from: i64) {
        self.from = self.from.min(from);
        let these = self.by_user.entry(asked.user.clone()).or_default();
        these.push(self.all.len());
        self.all.push(Member {
            asked,
            from,
            events: Vec::new(),
            bytes: 0,
            standing: Standing::Served,
        });
    }

    /// Keeps an event for those whose it is. There is always room for the first of them.
    fn take(&mut self, offset: i64, event: &Arc<Event>, room: usize) {
        let user = event.key.as_deref().unwrap_or_default();
        let these = self.by_user.get(user).map_or(&[][..], Vec::as_slice);
        for &number in these {
            let Some(member) = self.all.get_mut(number) else {
                continue;
            };
            if offset < member.from || member.standing != Standing::Served {
                continue;
            }
            let (most, size) = (member.asked.most, event.size());
            let is_too_much =
                member.events.len() == most.events || member.bytes + size > most.bytes;
            let has_room = number == 0 || self.held + size <= room;
            member.standing = match (is_too_much, has_room) {
                (true, _) => Standing::TooMuch,
                (false, false) => Standing::Later,
                (false, true) => {
                    member.events.push(Arc::clone(event));
                    member.bytes += size;
                    self.held += size;
                    continue;
                }
            };
            self.held -= member.bytes;
            member.bytes = 0;
            member.events = Vec::new();
        }
    }
}

/// Reads once for all of them, and answers those for whom there was room.
async fn serve(
    shared: &Shared,
    consumer: &StreamConsumer<Context>,
    (topic, partition): At,
    mut group: Group,
    waiting: &mut VecDeque<Asked>,
) {
    let (from, to) = (group.from, group.to);
    let has_heard = AtomicBool::new(false);
    let reading = read(
        shared,
        (consumer, &has_heard),
        (&topic, partition),
        &mut group,
    );
    let read = timeout(PATIENCE, reading).await;
    if read.is_err() {
        let has_heard = has_heard.load(Ordering::Relaxed);
        tracing::debug!(
            topic = &*topic,
            partition,
            from,
            to,
            has_heard,
            "what was missed was not read in time"
        );
        if !has_heard && !shared.troubles.has(&About::Brokers) {
            consumer.context().is_late();
        }
    }
    let read = read.ok().flatten();
    let is_read = read.is_some();
    let mut history = shared.history();
    if let Some(Some(all)) = read {
        history.extend(&topic, partition, from, all);
    }
    // What came meanwhile stands behind it.
    let rest = history.position(&topic, partition, to - 1);
    let rest = rest.filter(|_| is_read);
    for mut member in group.all {
        // Where it does not reach back to the first of them, it may to others.
        let has_another = match is_read {
            true => member.standing == Standing::Later,
            false => member.from > from,
        };
        if has_another {
            waiting.push_back(member.asked);
            continue;
        }
        let Asked { user, most, .. } = &member.asked;
        let rest = rest
            .as_ref()
            .filter(|_| member.standing == Standing::Served);
        let rest = rest.map(|rest| history.replay(&topic, user, rest, *most));
        let replay = match rest {
            Some(Answer::Replay(rest)) if rest.is_complete => {
                member.events.extend(rest.events);
                bounded(member.events.iter(), *most)
            }
            _ => Replay::incomplete(),
        };
        // Whoever asked may be gone.
        let _ = member.asked.answer.send(replay);
    }
}

type Events = Vec<(i64, Arc<Event>)>;

/// Gives the group what is theirs; and the events of all users where they are not too many. `None` where
/// not all is there.
async fn read(
    shared: &Shared,
    (consumer, has_heard): (&StreamConsumer<Context>, &AtomicBool),
    (topic, partition): (&str, i32),
    group: &mut Group,
) -> Option<Option<Events>> {
    let (from, to) = (group.from, group.to);
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(from))
        .ok()?;
    assign(consumer, &list)?;
    let room = usize::try_from(shared.plan.history_memory).unwrap_or(usize::MAX);
    let (mut all, mut held) = (Some(Vec::new()), 0);
    let (mut records, mut bytes) = (0, 0);
    loop {
        let received = consumer.recv().await;
        has_heard.store(true, Ordering::Relaxed);
        let message = match received {
            Ok(message) => message,
            Err(KafkaError::PartitionEOF(number)) if number == partition => break,
            // It does not reach back so far.
            Err(error) => {
                tracing::debug!(%error, topic, "what was missed is not there");
                return None;
            }
        };
        let offset = message.offset();
        if message.partition() != partition || offset < from {
            continue; // left from one before it
        }
        if offset >= to {
            break;
        }
        records += 1;
        bytes += message.payload_len();
        if records > MOST_RECORDS || bytes > MOST_BYTES {
            return None;
        }
        if let Some(event) = shared.kept_event(&message).await? {
            group.take(offset, &event, room.min(MOST_HELD));
            held += event.size();
            if let Some(events) = &mut all {
                events.push((offset, event));
            }
            if held > MOST_HELD {
                all = None;
            }
        }
        if offset + 1 >= to {
            break;
        }
        // What is new goes before what is old.
        if records.is_multiple_of(64) {
            yield_now().await;
        }
    }
    Some(all)
}

/// Has partitions read. What waits of those before, errors too, is nobody's any more.
pub(super) fn assign(consumer: &StreamConsumer<Context>, list: &TopicPartitionList) -> Option<()> {
    for _ in 0..MOST_LEFT {
        if consumer.recv().now_or_never().is_none() {
            break;
        }
    }
    consumer.assign(list).ok()
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

#[cfg(test)]
mod tests {
    use tidegate::bus::{Payload, PushEvent, PushTarget};

    use super::*;

    fn event(user: &str) -> Arc<Event> {
        let data = serde_json::value::RawValue::from_string("1".to_owned()).unwrap();
        let push = PushEvent::new([PushTarget::User(user.into())], "e", data);
        let payload = Payload::Push(Box::new(push));
        Arc::new(Event::now("t".into(), Some(user.into()), payload))
    }

    fn asked(user: &str, events: usize) -> Asked {
        let most = Bounds {
            events,
            bytes: usize::MAX,
        };
        Asked {
            topic: "t".into(),
            user: user.into(),
            after: Position::new(&[], 0),
            most,
            answer: oneshot::channel().0,
        }
    }

    #[test]
    fn one_pass_is_for_all_from_where_each_of_them_stands() {
        let mut group = Group::new(10);
        group.add(asked("a", 9), 5);
        group.add(asked("b", 9), 2);
        group.add(asked("a", 1), 3);
        assert_eq!((group.from, group.to), (2, 10));
        for (offset, user) in (2..10).zip(["a", "b"].into_iter().cycle()) {
            group.take(offset, &event(user), usize::MAX);
        }
        let counts = group.all.iter().map(|one| (one.events.len(), one.standing));
        assert!(counts.eq([
            (2, Standing::Served),
            (4, Standing::Served),
            (0, Standing::TooMuch)
        ]));
    }

    #[test]
    fn who_finds_no_room_has_another_pass_and_the_first_never() {
        let mut group = Group::new(10);
        group.add(asked("a", 9), 0);
        group.add(asked("b", 9), 0);
        let room = 3 * event("a").size();
        for (offset, user) in (0..10).zip(["b", "a"].into_iter().cycle()) {
            group.take(offset, &event(user), room);
        }
        let counts = group.all.iter().map(|one| (one.events.len(), one.standing));
        assert!(counts.eq([(5, Standing::Served), (0, Standing::Later)]));
        assert_eq!(group.held, 5 * event("a").size());
    }
}
