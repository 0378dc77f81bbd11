//! What is kept here of the pushes that may be asked for again, and up to where each partition is with who
//! subscribes. What is older is with the brokers.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use tidegate::bus::{Bounds, Event, Position, Replay};

use super::murmur;

/// Users who are remembered because their records are where they should not be.
const MOST_ASTRAY: usize = 10_000;
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
    /// Users with a record outside their partition, and how far their own one was when that came.
    astray: HashMap<Box<str>, u64>,
}

/// Of one partition.
#[derive(Debug, Default)]
struct Kept {
    /// All that is behind this and before `given` is among the events.
    since: i64,
    /// Up to here it is with who subscribes.
    given: i64,
    events: VecDeque<(i64, Arc<Event>)>,
    bytes: usize,
}

/// What comes again, or what must be read for that.
#[derive(Debug)]
pub(super) enum Answer {
    Replay(Replay),
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
            history.partitions.entry(number).or_insert_with(|| Kept {
                since: next,
                given: next,
                ..Kept::default()
            });
        }
        let count = history.partitions.len();
        if before > 0 && before != count {
            // Keys are elsewhere now.
            history.astray.clear();
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
        if let Some(kept) = self.kept(topic, number) {
            *kept = Kept {
                since: next,
                given: next,
                ..Kept::default()
            };
        }
    }

    fn kept(&mut self, topic: &str, number: i32) -> Option<&mut Kept> {
        self.topics.get_mut(topic)?.partitions.get_mut(&number)
    }

    /// Where the event of a user stands whose record has that key and that offset; `None` where it is in no
    /// user's history.
    pub(super) fn place(
        &mut self,
        topic: &str,
        user: &str,
        key: &[u8],
        (number, offset): (i32, i64),
    ) -> Option<Position> {
        let history = self.topics.get_mut(topic)?;
        let own = history.partition_of(key)?;
        if own == number {
            return history.position(number, offset + 1);
        }
        let given = history.partitions.get(&own)?.given;
        if history.astray.len() >= MOST_ASTRAY {
            history.astray.clear();
            history.epoch = None; // of nobody it can be said what is missing
        }
        // Who has seen no more than that may not have this one.
        history.astray.insert(user.into(), given.unsigned_abs() + 1);
        None
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
            let is_sure = history
                .astray
                .get(user)
                .is_none_or(|at| after.number() >= *at);
            let kept = history.partitions.get(&number).filter(|_| is_sure)?;
            Some((number, kept, i64::try_from(after.number()).ok()?))
        });
        let Some((partition, kept, from)) = found else {
            return Answer::Replay(Replay::incomplete());
        };
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

/// All of these, if they are no more than that.
pub(super) fn bounded<'a>(events: impl Iterator<Item = &'a Arc<Event>>, most: Bounds) -> Replay {
    let (mut replayed, mut bytes) = (Vec::new(), 0);
    for event in events {
        bytes += event.size();
        if replayed.len() == most.events || bytes > most.bytes {
            return Replay::incomplete();
        }
        replayed.push(Arc::clone(event));
    }
    Replay::complete(replayed)
}

impl TopicHistory {
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
mod tests {
    use tidegate::bus::{Payload, PushEvent, PushTarget};

    use super::*;

    const ALL: Bounds = Bounds {
        events: 100,
        bytes: 1 << 20,
    };

    fn event(user: &str, name: &str) -> Event {
        let data = serde_json::value::RawValue::from_string("1".to_owned()).unwrap();
        let push = PushEvent::new([PushTarget::User(user.into())], name, data);
        Event::now("t".into(), Some(user.into()), Payload::Push(Box::new(push)))
    }

    /// A history of a topic with three partitions, each read from 10 on.
    fn history(most: u64) -> History {
        let mut history = History::new(most);
        history.begin(&"t".into(), Some(b"id"), (0..3).map(|number| (number, 10)));
        history
    }

    /// The user whose partition it is.
    fn user_of(number: i32) -> String {
        let users = (0..100).map(|one| format!("u{one}"));
        let mut own = users.filter(|user| murmur::partition(user.as_bytes(), 3) == Some(number));
        own.next().unwrap()
    }

    fn give(history: &mut History, user: &str, (number, offset): (i32, i64)) -> Option<Position> {
        let position = history.place("t", user, user.as_bytes(), (number, offset));
        let mut event = event(user, &offset.to_string());
        event.position.clone_from(&position);
        let kept = position.is_some().then(|| Arc::new(event));
        history.given("t", number, offset, kept);
        position
    }

    fn replayed(history: &History, user: &str, after: &Position) -> Option<Vec<u64>> {
        match history.replay("t", user, after, ALL) {
            Answer::Replay(replay) if replay.is_complete => {
                let events = replay.events.iter();
                let numbers = events.map(|event| event.position.as_ref().unwrap().number());
                Some(numbers.collect())
            }
            Answer::Replay(_) => None,
            Answer::Read { from, to, .. } => panic!("{from} to {to} must be read"),
        }
    }

    #[test]
    fn a_user_is_told_what_came_behind_its_cursor_and_nobody_elses() {
        let mut history = history(1 << 20);
        let (one, two) = (user_of(1), user_of(2));
        let start = history.end("t", one.as_bytes()).unwrap();
        assert_eq!(start.number(), 10);
        let first = give(&mut history, &one, (1, 10)).unwrap();
        give(&mut history, &two, (2, 10)).unwrap();
        give(&mut history, &one, (1, 13)).unwrap();
        assert_eq!(replayed(&history, &one, &start), Some(vec![11, 14]));
        assert_eq!(replayed(&history, &one, &first), Some(vec![14]));
        let end = history.end("t", one.as_bytes()).unwrap();
        assert_eq!(replayed(&history, &one, &end), Some(vec![]));
        let few = Bounds { events: 1, ..ALL };
        let answer = history.replay("t", &one, &start, few);
        assert!(matches!(answer, Answer::Replay(replay) if !replay.is_complete));
    }

    #[test]
    fn a_cursor_of_another_topic_or_before_more_partitions_is_of_no_use() {
        let mut history = history(1 << 20);
        let one = user_of(1);
        let start = history.end("t", one.as_bytes()).unwrap();
        history.begin(&"t".into(), Some(b"other"), std::iter::empty());
        assert_eq!(replayed(&history, &one, &start), None);
        history.begin(&"t".into(), Some(b"id"), std::iter::empty());
        assert_eq!(replayed(&history, &one, &start), Some(vec![]));
        history.begin(&"t".into(), Some(b"id"), std::iter::once((3, 0)));
        assert_eq!(replayed(&history, &one, &start), None);
    }

    #[test]
    fn what_is_forgotten_is_read_again_and_kept_where_there_is_room() {
        let size = event("u1", "10").size();
        // Room for two in each of three partitions.
        let mut history = history((size * 2 * 3 + 100) as u64);
        let one = user_of(1);
        let start = history.end("t", one.as_bytes()).unwrap();
        for offset in 10..13 {
            give(&mut history, &one, (1, offset)).unwrap();
        }
        let answer = history.replay("t", &one, &start, ALL);
        assert!(matches!(
            answer,
            Answer::Read {
                partition: 1,
                from: 10,
                to: 11
            }
        ));
        // There is no room, and it stays as it is.
        let old = vec![(10, Arc::new(event(&one, "10")))];
        history.extend("t", 1, 10, old.clone());
        let answer = history.replay("t", &one, &start, ALL);
        assert!(matches!(answer, Answer::Read { .. }));
        history.most *= 2;
        history.extend("t", 1, 10, old);
        let Answer::Replay(replay) = history.replay("t", &one, &start, ALL) else {
            panic!("it is here");
        };
        assert_eq!((replay.events.len(), replay.is_complete), (3, true));
    }

    #[test]
    fn who_has_a_record_elsewhere_is_told_that_something_may_be_missing() {
        let mut history = history(1 << 20);
        let one = user_of(1);
        let before = history.end("t", one.as_bytes()).unwrap();
        give(&mut history, &one, (1, 10)).unwrap();
        assert_eq!(give(&mut history, &one, (0, 10)), None);
        assert_eq!(replayed(&history, &one, &before), None);
        let behind = give(&mut history, &one, (1, 11)).unwrap();
        assert_eq!(replayed(&history, &one, &behind), Some(vec![]));
    }
}
