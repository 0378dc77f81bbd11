//! What is kept here of the pushes that may be asked for again, and up to where each partition is with who
//! subscribes. What is older is with the brokers.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{SHA256, digest};
use tidegate::bus::{Bounds, Event, Position, Replay};

use super::murmur;

/// Users who are remembered because their records are where they should not be.
const MOST_ASTRAY: usize = 10_000;
/// How far clocks, and what gateways have read of two partitions, may be apart: milliseconds.
pub(super) const SKEW: i64 = 60_000;
/// The bytes that tell one topic from another.
const EPOCH: usize = 8;

/// Of all topics.
#[derive(Debug, Default)]
pub(super) struct History {
    topics: HashMap<Arc<str>, TopicHistory>,
    /// The most bytes of one topic's events.
    most: usize,
}

/// Of one topic.
#[derive(Debug, Default)]
pub(super) struct TopicHistory {
    /// Which topic it is, whatever it is called; not known at first.
    epoch: Option<[u8; EPOCH]>,
    partitions: BTreeMap<i32, Kept>,
    /// Users with a record outside their partition.
    astray: HashMap<Box<str>, Astray>,
    /// When the last of those was written that are not remembered one by one.
    crowd: Option<i64>,
    /// So far back in time there is more than is ever looked through.
    too_far: Option<i64>,
}

/// A record outside its user's partition: who has not seen more than that may not have it.
#[derive(Debug, Clone, Copy)]
struct Astray {
    /// How far its own one was when it came, and one more.
    number: u64,
    /// When it was written.
    time: i64,
}

/// Of one partition.
#[derive(Debug, Default)]
struct Kept {
    /// All that is behind this and before `given` is among the events.
    since: i64,
    /// The first that was read for who subscribes.
    begun: i64,
    /// Up to here it is with who subscribes.
    given: i64,
    /// All records from here on were looked at for those that belong elsewhere.
    examined: i64,
    /// For who stands here or behind, all other partitions were.
    sure: Option<i64>,
    /// Who stands here or before may have seen what is not there any more, or not have seen what is lost.
    torn: Option<i64>,
    events: VecDeque<(i64, Arc<Event>)>,
    bytes: usize,
}

/// Which history it is, and by partition the offset from which on its records were looked at.
pub(super) type Unexamined = ([u8; EPOCH], Vec<(i32, i64)>);

/// Records of a partition that are looked at: from the first offset up to the second.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) partition: i32,
    pub(super) from: i64,
    pub(super) to: i64,
}

/// What comes again, or what must be read for that.
#[derive(Debug)]
pub(super) enum Answer {
    Replay(Replay),
    /// Who stands there may have a record in another partition that nobody here has seen.
    Examine {
        partition: i32,
        from: i64,
    },
    /// The records of this partition from the first offset up to the second are not here.
    Read {
        partition: i32,
        from: i64,
        to: i64,
    },
}

impl History {
    /// Keeps so many bytes of each topic.
    pub(super) fn new(most: u64) -> Self {
        Self {
            topics: HashMap::new(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
        }
    }

    /// That this is the topic, with these partitions read from there on. Where it is another than before,
    /// nothing of that holds any more.
    pub(super) fn begin(
        &mut self,
        topic: &Arc<str>,
        identity: Option<&[u8]>,
        partitions: impl Iterator<Item = (i32, i64)>,
    ) {
        let history = self.topics.entry(Arc::clone(topic)).or_default();
        let before = history.partitions.len();
        for (number, next) in partitions {
            history
                .partitions
                .entry(number)
                .or_insert_with(|| Kept::new(next));
        }
        let count = history.partitions.len();
        if before > 0 && before != count {
            // Keys are elsewhere now, and what was read before that was known is read again by whoever needs it: a
            // record may have stood in its user's new partition already.
            history.astray.clear();
            history.crowd = None;
            for kept in history.partitions.values_mut() {
                kept.forget();
            }
        }
        let Some(identity) = identity else { return };
        let whole = [
            identity,
            b"\0",
            topic.as_bytes(),
            b"\0",
            &count.to_be_bytes(),
        ]
        .concat();
        history.epoch = digest(&SHA256, &whole).as_ref().first_chunk().copied();
    }

    /// Nothing of a topic any more.
    pub(super) fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// What stands behind its records that is lost, where it is read on at `next`.
    pub(super) fn jump(&mut self, topic: &str, number: i32, next: i64) {
        let Some(history) = self.topics.get_mut(topic) else {
            return;
        };
        for kept in history.partitions.values_mut() {
            kept.sure = None;
        }
        let mut kept = Kept::new(next);
        kept.torn = history
            .partitions
            .get(&number)
            .and_then(|before| before.torn);
        history.partitions.insert(number, kept);
    }

    /// The same where the brokers have lost what stood behind `next`, of which this process had read as far
    /// as `read`, and others may stand there.
    pub(super) fn tear(&mut self, topic: &str, number: i32, (next, read): (i64, i64)) {
        self.jump(topic, number, next);
        let history = self.topics.get_mut(topic);
        let kept = history.and_then(|history| history.partitions.get_mut(&number));
        if let Some(kept) = kept {
            kept.torn = kept.torn.max(Some(read));
        }
    }

    /// Whether what stands there is, or will be, read for who subscribes.
    pub(super) fn comes(&self, topic: &str, (number, offset): (i32, i64)) -> bool {
        let topic = self.topics.get(topic);
        let kept = topic.and_then(|topic| topic.partitions.get(&number));
        // One that was not there when we began is read from its beginning.
        kept.is_none_or(|kept| offset >= kept.begun)
    }

    /// Where the event of a user stands whose records have that key, and which was written then; `None`
    /// where it is in no user's history.
    pub(super) fn place(
        &mut self,
        topic: &str,
        (user, key): (&str, &[u8]),
        (number, offset): (i32, i64),
        time: i64,
    ) -> Option<Position> {
        let history = self.topics.get_mut(topic)?;
        let own = history.partition_of(key)?;
        if own == number {
            return history.position(number, offset + 1);
        }
        let given = history.partitions.get(&own)?.given;
        let before = history.astray.get(user).copied();
        if before.is_none() && history.astray.len() >= MOST_ASTRAY {
            history.crowd = history.crowd.max(Some(time));
            return None;
        }
        let astray = Astray {
            number: given.unsigned_abs() + 1,
            time: before.map_or(time, |before| before.time.max(time)),
        };
        history.astray.insert(user.into(), astray);
        None
    }

    /// Whether records of that key belong into that partition.
    pub(super) fn is_home(&self, topic: &str, key: &[u8], number: i32) -> bool {
        let history = self.topics.get(topic);
        history.and_then(|history| history.partition_of(key)) == Some(number)
    }

    /// Which topic it is now, and up to where its partitions are not examined.
    pub(super) fn unexamined(&self, topic: &str) -> Option<Unexamined> {
        let history = self.topics.get(topic)?;
        let partitions = history.partitions.iter();
        let ends = partitions.map(|(number, kept)| (*number, kept.examined));
        Some((history.epoch?, ends.collect()))
    }

    /// These spans have been examined, for who stands at `from` in `partition`; `starts` are where that
    /// needs all others to be.
    pub(super) fn examined(
        &mut self,
        topic: &str,
        epoch: [u8; EPOCH],
        (partition, from): (i32, i64),
        (spans, starts): (&[Span], &[(i32, i64)]),
    ) {
        let history = self.topics.get_mut(topic);
        let Some(history) = history.filter(|history| history.epoch == Some(epoch)) else {
            return;
        };
        for span in spans {
            if let Some(kept) = history.partitions.get_mut(&span.partition)
                && kept.examined == span.to
            {
                kept.examined = span.from;
            }
        }
        let reaches = |(number, start): &(i32, i64)| {
            let kept = history.partitions.get(number);
            kept.is_some_and(|kept| kept.examined <= *start)
        };
        if starts.iter().all(reaches)
            && let Some(kept) = history.partitions.get_mut(&partition)
        {
            kept.sure = Some(kept.sure.map_or(from, |sure| sure.min(from)));
        }
    }

    /// Nobody looks further back than that: there is too much.
    pub(super) fn is_too_far(&mut self, topic: &str, time: i64) {
        if let Some(history) = self.topics.get_mut(topic) {
            history.too_far = history.too_far.max(Some(time));
        }
    }

    /// Whether it is known that nobody looks back so far.
    pub(super) fn reaches_back_to(&self, topic: &str, time: i64) -> bool {
        let too_far = self.topics.get(topic).and_then(|history| history.too_far);
        too_far.is_none_or(|too_far| time > too_far)
    }

    /// When the event at that offset happened, if it is here.
    pub(super) fn time_of(&self, topic: &str, number: i32, offset: i64) -> Option<i64> {
        let kept = self.topics.get(topic)?.partitions.get(&number)?;
        kept.time_of(offset)
    }

    /// Up to `offset`, all of a partition is with who subscribes; and the event that stands there.
    pub(super) fn given(
        &mut self,
        topic: &str,
        number: i32,
        offset: i64,
        event: Option<Arc<Event>>,
    ) {
        let most = self.most;
        let Some(history) = self.topics.get_mut(topic) else {
            return;
        };
        let most = most / history.partitions.len().max(1);
        let Some(kept) = history.partitions.get_mut(&number) else {
            return;
        };
        kept.given = offset + 1;
        if let Some(event) = event {
            kept.bytes += event.size();
            kept.events.push_back((offset, event));
        }
        while kept.bytes > most {
            let Some((offset, event)) = kept.events.pop_front() else {
                break;
            };
            kept.bytes = kept.bytes.saturating_sub(event.size());
            kept.since = offset + 1;
        }
    }

    /// Keeps what was read from `from` up to where the events begin, if all of it has room.
    pub(super) fn extend(
        &mut self,
        topic: &str,
        number: i32,
        from: i64,
        events: Vec<(i64, Arc<Event>)>,
    ) {
        let most = self.most;
        let Some(history) = self.topics.get_mut(topic) else {
            return;
        };
        let most = most / history.partitions.len().max(1);
        let Some(kept) = history.partitions.get_mut(&number) else {
            return;
        };
        let bytes: usize = events.iter().map(|(_, event)| event.size()).sum();
        if from >= kept.since || kept.bytes + bytes > most {
            return;
        }
        kept.since = from;
        kept.bytes += bytes;
        for event in events.into_iter().rev() {
            kept.events.push_front(event);
        }
    }

    /// How far a partition is with who subscribes.
    pub(super) fn given_up_to(&self, topic: &str) -> impl Iterator<Item = (i32, i64)> {
        let history = self.topics.get(topic).into_iter();
        let partitions = history.flat_map(|history| &history.partitions);
        partitions.map(|(number, kept)| (*number, kept.given))
    }

    /// Where the history of a key ends.
    pub(super) fn end(&self, topic: &str, key: &[u8]) -> Option<Position> {
        let history = self.topics.get(topic)?;
        let number = history.partition_of(key)?;
        history.position(number, history.partitions.get(&number)?.given)
    }

    /// What a user has missed behind `after`.
    pub(super) fn replay(&self, topic: &str, user: &str, after: &Position, most: Bounds) -> Answer {
        let found = self.topics.get(topic).and_then(|history| {
            let number = history.number_of(after)?;
            let from = i64::try_from(after.number()).ok()?;
            let kept = history.partitions.get(&number)?;
            if kept.torn.is_some_and(|torn| from <= torn) {
                return None;
            }
            let is_alone = history.partitions.len() == 1;
            history
                .has_all_of(user, kept, from)
                .then_some((number, kept, from, is_alone))
        });
        let Some((partition, kept, from, is_alone)) = found else {
            return Answer::Replay(Replay::incomplete());
        };
        // Where another gateway was further than this one, the brokers are asked whether that is so.
        let is_open = !is_alone || from > kept.given;
        if is_open && kept.sure.is_none_or(|sure| from < sure) {
            return Answer::Examine { partition, from };
        }
        if from < kept.since {
            let to = kept.since;
            return Answer::Read {
                partition,
                from,
                to,
            };
        }
        let behind = kept.events.partition_point(|(offset, _)| *offset < from);
        let events = kept.events.iter().skip(behind).map(|(_, event)| event);
        Answer::Replay(bounded(events.filter(|event| is_for(event, user)), most))
    }

    /// The position of an offset, as an event there has it.
    pub(super) fn position(&self, topic: &str, number: i32, offset: i64) -> Option<Position> {
        self.topics.get(topic)?.position(number, offset + 1)
    }
}

/// Whether it stands in the history of that user.
pub(super) fn is_for(event: &Event, user: &str) -> bool {
    event.key.as_deref() == Some(user)
}

/// All of these, if they are no more than that; what was published again stands there twice, and comes once.
pub(super) fn bounded<'a>(events: impl Iterator<Item = &'a Arc<Event>>, most: Bounds) -> Replay {
    let (mut replayed, mut bytes) = (Vec::new(), 0);
    let mut known = HashSet::new();
    for event in events {
        if !known.insert(event.id) {
            continue;
        }
        bytes += event.size();
        if replayed.len() == most.events || bytes > most.bytes {
            return Replay::incomplete();
        }
        replayed.push(Arc::clone(event));
    }
    Replay::complete(replayed)
}

impl Kept {
    fn new(next: i64) -> Self {
        Self {
            since: next,
            begun: next,
            given: next,
            examined: next,
            ..Self::default()
        }
    }

    /// What was read is neither kept nor looked at.
    fn forget(&mut self) {
        self.since = self.given;
        self.examined = self.given;
        self.sure = None;
        self.events = VecDeque::new();
        self.bytes = 0;
    }

    fn time_of(&self, offset: i64) -> Option<i64> {
        let place = self.events.binary_search_by_key(&offset, |(at, _)| *at);
        let (_, event) = self.events.get(place.ok()?)?;
        let since = event.time.duration_since(UNIX_EPOCH).ok()?;
        i64::try_from(since.as_millis()).ok()
    }
}

impl TopicHistory {
    /// Whether no record is known outside a user's partition that it may not have who stands there.
    fn has_all_of(&self, user: &str, kept: &Kept, from: i64) -> bool {
        let astray = self.astray.get(user);
        let is_behind = astray.is_none_or(|one| from.unsigned_abs() >= one.number);
        let Some(time) = astray.map(|one| one.time).or(self.crowd) else {
            return true;
        };
        // Another gateway may have been further here than there.
        let seen = kept.time_of(from - 1);
        is_behind && seen.is_some_and(|seen| seen > time.saturating_add(SKEW))
    }

    fn partition_of(&self, key: &[u8]) -> Option<i32> {
        murmur::partition(key, i32::try_from(self.partitions.len()).ok()?)
    }

    /// A number says what comes next: it is one more than the offset of what was last.
    fn position(&self, number: i32, next: i64) -> Option<Position> {
        let name = [&self.epoch?[..], &number.to_be_bytes()].concat();
        Some(Position::new(&name, u64::try_from(next).ok()?))
    }

    /// The partition of a position, if it is of this topic as it is now.
    fn number_of(&self, position: &Position) -> Option<i32> {
        let (epoch, number) = position.history().split_at_checked(EPOCH)?;
        let number = i32::from_be_bytes(number.try_into().ok()?);
        (self.epoch.as_ref().map(<[u8; EPOCH]>::as_slice) == Some(epoch)).then_some(number)
    }
}

#[cfg(test)]
mod tests;
