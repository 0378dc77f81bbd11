//! What the bus of memory keeps of resumable pushes to users, for those who come back: bounded for each
//! user by count and by a share of the bytes, and over all users by bytes and by age. The oldest is
//! forgotten first.
//!
//! Up to which number something of a user was forgotten is remembered, so that who comes back is told
//! exactly whether something is missing. Only where that is remembered of too many users whose pushes
//! are all forgotten, the oldest are taken together: then something may be said to be missing of which
//! nothing is, and never the other way round.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::BuildHasher as _;
use std::sync::Arc;

use tokio::time::Instant;

use super::{Bounds, Event, Payload, Position, Replay};
use crate::config::plan::BusHistory;

/// The most users of whom it is remembered that something was forgotten, and nothing else.
const MOST_GONE: usize = 16_384;
/// One user has at most this part of the bytes.
const SHARE: u64 = 16;
/// About what an event takes for each of its users.
const ENTRY: usize = 64;

/// What is kept, of all topics.
#[derive(Debug)]
pub(super) struct History {
    plan: BusHistory,
    /// Which history this is: numbers begin anew with each.
    epoch: [u8; 8],
    /// The number that was given last.
    last: u64,
    bytes: usize,
    events: BTreeMap<u64, Kept>,
    /// By topic, then by name.
    users: HashMap<Arc<str>, HashMap<Arc<str>, Past>>,
    /// Users of whom nothing is kept, by the number of what was forgotten last.
    gone: BTreeSet<Gone>,
    most_gone: usize,
    /// Up to here something was forgotten of users who are not remembered any more.
    forgotten: u64,
}

/// The number of what was forgotten last, the topic, and the user.
type Gone = (u64, Arc<str>, Arc<str>);

#[derive(Debug)]
struct Kept {
    event: Arc<Event>,
    since: Instant,
    /// In how many users' pasts it is.
    users: usize,
    /// What each of them is charged.
    share: usize,
}

/// What is kept of one user.
#[derive(Debug)]
struct Past {
    /// Of its events, in order.
    numbers: VecDeque<u64>,
    /// What it is charged.
    bytes: usize,
    /// Up to here something was forgotten.
    lost: u64,
}

impl History {
    pub(super) fn new(plan: BusHistory) -> Self {
        Self {
            plan,
            epoch: RandomState::new().hash_one(0).to_be_bytes(),
            last: 0,
            bytes: 0,
            events: BTreeMap::new(),
            users: HashMap::new(),
            gone: BTreeSet::new(),
            most_gone: MOST_GONE,
            forgotten: 0,
        }
    }

    /// Forgets everything, as another history.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::new(self.plan);
    }

    /// Gives the event its position and keeps it, where it is one that is kept.
    pub(super) fn place(&mut self, mut event: Event) -> Arc<Event> {
        let users = match &event.payload {
            Payload::Push(push) => push.kept_for().count(),
            _ => 0,
        };
        if users == 0 {
            event.position = None;
            return Arc::new(event);
        }
        self.last += 1;
        event.position = Some(Position::new(&self.epoch, self.last));
        let event = Arc::new(event);
        self.keep(&event, users);
        self.forget(Instant::now());
        event
    }

    fn keep(&mut self, event: &Arc<Event>, users: usize) {
        let number = self.last;
        let share = event.size() / users + ENTRY;
        let mut count = 0;
        let pasts = self.users.entry(Arc::clone(&event.topic)).or_default();
        for user in users_of(event) {
            let past = if let Some(past) = pasts.get_mut(user) {
                // One that is named twice has it once.
                if past.numbers.back() == Some(&number) {
                    continue;
                }
                if past.numbers.is_empty() {
                    let gone = (past.lost, Arc::clone(&event.topic), user.into());
                    self.gone.remove(&gone);
                }
                past
            } else {
                let new = || Past::new(self.forgotten);
                pasts.entry(user.into()).or_insert_with(new)
            };
            past.numbers.push_back(number);
            past.bytes += share;
            count += 1;
        }
        self.bytes += event.size() + count * ENTRY;
        let kept = Kept {
            event: Arc::clone(event),
            since: Instant::now(),
            users: count,
            share,
        };
        self.events.insert(number, kept);
        for user in users_of(event) {
            self.hold_to_share(&event.topic, user);
        }
    }

    fn past(&self, topic: &str, user: &str) -> Option<&Past> {
        self.users.get(topic)?.get(user)
    }

    /// Forgets the oldest of a user that has more than its part.
    fn hold_to_share(&mut self, topic: &Arc<str>, user: &str) {
        let most = (self.plan.bytes / SHARE) as usize;
        while let Some(past) = self.past(topic, user)
            && (past.numbers.len() > self.plan.events || past.bytes > most)
            && let Some(oldest) = past.numbers.front().copied()
            && let Some(kept) = self.events.get_mut(&oldest)
        {
            let share = kept.share;
            kept.users -= 1;
            if kept.users == 0
                && let Some(kept) = self.events.remove(&oldest)
            {
                self.bytes = self.bytes.saturating_sub(kept.event.size());
            }
            self.strike(topic, user, (oldest, share));
        }
    }

    /// Forgets what is too old or too much.
    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.events.first_entry() {
            let age = now.saturating_duration_since(oldest.get().since);
            if age < self.plan.age && self.bytes as u64 <= self.plan.bytes {
                return;
            }
            let (number, kept) = oldest.remove_entry();
            self.bytes = self.bytes.saturating_sub(kept.event.size());
            for user in users_of(&kept.event) {
                self.strike(&kept.event.topic, user, (number, kept.share));
            }
        }
    }

    /// The event of that number is none of this user's any more, if it was the oldest.
    fn strike(&mut self, topic: &Arc<str>, user: &str, (number, share): (u64, usize)) {
        let pasts = self.users.get_mut(topic);
        let Some(past) = pasts.and_then(|pasts| pasts.get_mut(user)) else {
            return;
        };
        if past.numbers.front() != Some(&number) {
            return;
        }
        past.numbers.pop_front();
        past.bytes = past.bytes.saturating_sub(share);
        past.lost = number;
        self.bytes = self.bytes.saturating_sub(ENTRY);
        if past.numbers.is_empty() {
            past.numbers = VecDeque::new();
            self.gone.insert((number, Arc::clone(topic), user.into()));
            self.forget_gone();
        }
    }

    /// Lets go of users of whom nothing is kept, where they are too many.
    fn forget_gone(&mut self) {
        while self.gone.len() > self.most_gone
            && let Some((lost, topic, user)) = self.gone.pop_first()
        {
            self.forgotten = self.forgotten.max(lost);
            if let Some(pasts) = self.users.get_mut(&topic) {
                pasts.remove(&user);
                if pasts.is_empty() {
                    self.users.remove(&topic);
                }
            }
        }
    }

    /// What was published to `topic` for `user` behind `after`.
    pub(super) fn replay(
        &mut self,
        topic: &str,
        user: &str,
        after: &Position,
        most: Bounds,
    ) -> Replay {
        self.forget(Instant::now());
        if after.history() != self.epoch || after.number() > self.last {
            return Replay::incomplete();
        }
        let past = self.past(topic, user);
        if after.number() < past.map_or(self.forgotten, |past| past.lost) {
            return Replay::incomplete();
        }
        let numbers = past.map(|past| {
            let behind = past.numbers.partition_point(|one| *one <= after.number());
            past.numbers.range(behind..)
        });
        let events: Option<Vec<_>> = numbers
            .into_iter()
            .flatten()
            .map(|number| self.events.get(number))
            .take(most.events.saturating_add(1))
            .map(|kept| Some(Arc::clone(&kept?.event)))
            .collect();
        let fits = |events: &Vec<Arc<Event>>| {
            let bytes = events.iter().map(|event| event.size());
            events.len() <= most.events && bytes.sum::<usize>() <= most.bytes
        };
        let events = events.filter(fits);
        events.map_or_else(Replay::incomplete, Replay::complete)
    }

    /// Where all histories end now.
    pub(super) fn end(&self) -> Position {
        Position::new(&self.epoch, self.last)
    }
}

impl Past {
    const fn new(lost: u64) -> Self {
        Self {
            numbers: VecDeque::new(),
            bytes: 0,
            lost,
        }
    }
}

fn users_of(event: &Event) -> impl Iterator<Item = &str> {
    let push = match &event.payload {
        Payload::Push(push) => Some(push),
        _ => None,
    };
    push.into_iter().flat_map(|push| push.kept_for())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;
    use crate::bus::{PushClass, PushEvent, PushTarget};

    const ALL: Bounds = Bounds {
        events: usize::MAX,
        bytes: usize::MAX,
    };
    const LONG: Duration = Duration::from_secs(60);

    fn history(events: usize, bytes: u64) -> History {
        History::new(BusHistory {
            events,
            bytes,
            age: LONG,
        })
    }

    /// A push of so many bytes for these users.
    fn push(users: &[&str], bytes: usize) -> Event {
        let data = RawValue::from_string(format!("\"{}\"", "x".repeat(bytes))).unwrap();
        let targets: Vec<_> = users
            .iter()
            .map(|user| PushTarget::User((*user).into()))
            .collect();
        let push = PushEvent::new(targets, "n", data);
        Event::now("t".into(), None, Payload::Push(Box::new(push)))
    }

    fn numbers(replay: &Replay) -> Option<Vec<u64>> {
        let number = |event: &Arc<Event>| event.position.as_ref().unwrap().number();
        let numbers = replay.events.iter().map(number).collect();
        replay.is_complete.then_some(numbers)
    }

    fn at(history: &History, number: u64) -> Position {
        Position::new(&history.epoch, number)
    }

    fn behind(history: &mut History, user: &str, number: u64) -> Option<Vec<u64>> {
        let after = at(history, number);
        numbers(&history.replay("t", user, &after, ALL))
    }

    #[test]
    fn each_user_has_what_was_for_it_and_nothing_else() {
        let mut history = history(100, 1 << 20);
        let mut live = push(&["a"], 1);
        if let Payload::Push(push) = &mut live.payload {
            push.class = PushClass::Live;
        }
        let mut to_all = push(&[], 1);
        if let Payload::Push(push) = &mut to_all.payload {
            push.targets = [PushTarget::All].into();
        }
        live.position = Some(at(&history, 7));
        assert_eq!(history.place(live).position, None);
        assert_eq!(history.place(to_all).position, None);
        assert_eq!(history.end().number(), 0);
        for users in [&["a"][..], &["b"], &["a", "b", "a"]] {
            history.place(push(users, 1));
        }
        assert_eq!(behind(&mut history, "a", 0), Some(vec![1, 3]));
        assert_eq!(behind(&mut history, "b", 2), Some(vec![3]));
        assert_eq!(behind(&mut history, "c", 0), Some(vec![]));
        assert_eq!(behind(&mut history, "a", 3), Some(vec![]));
        let after = at(&history, 0);
        let other = history.replay("u", "a", &after, ALL);
        assert_eq!(numbers(&other), Some(vec![]));
    }

    #[test]
    fn what_is_of_another_history_or_was_never_given_is_no_knowledge() {
        let mut history = history(100, 1 << 20);
        history.place(push(&["a"], 1));
        assert_eq!(behind(&mut history, "a", 2), None);
        for epoch in [&[][..], &[0; 8], b"other"] {
            let after = Position::new(epoch, 0);
            assert!(!history.replay("t", "a", &after, ALL).is_complete);
        }
    }

    #[test]
    fn more_than_may_come_at_once_does_not_come() {
        let mut history = history(100, 1 << 20);
        let size = history.place(push(&["a"], 1)).size();
        history.place(push(&["a"], 1));
        let after = at(&history, 0);
        for (events, bytes, fits) in [
            (2, 2 * size, true),
            (1, 2 * size, false),
            (2, 2 * size - 1, false),
        ] {
            let replay = history.replay("t", "a", &after, Bounds { events, bytes });
            assert_eq!(replay.is_complete, fits, "{events} {bytes}");
        }
    }

    #[test]
    fn one_user_does_not_push_the_others_out() {
        let mut history = history(1000, 1 << 20);
        history.place(push(&["quiet"], 10));
        for _ in 0..10_000 {
            history.place(push(&["loud"], 1000));
        }
        assert_eq!(behind(&mut history, "quiet", 0), Some(vec![1]));
        let held = history.past("t", "loud").unwrap().bytes;
        assert!(held <= 1 << 16, "{held}");
        assert_eq!(behind(&mut history, "loud", 0), None);
        let last = history.last;
        assert_eq!(behind(&mut history, "loud", last - 1), Some(vec![last]));
    }

    #[test]
    fn one_that_is_larger_than_its_users_part_is_missing_at_once() {
        let mut history = history(1000, 1 << 16);
        history.place(push(&["a"], 1 << 13));
        assert_eq!(behind(&mut history, "a", 0), None);
        assert_eq!(behind(&mut history, "a", 1), Some(vec![]));
        assert_eq!((history.bytes, history.events.len()), (0, 0));
    }

    #[test]
    fn what_is_too_old_is_missing() {
        let mut history = history(1000, 1 << 20);
        let age = |history: &mut History, time: Duration| {
            for kept in history.events.values_mut() {
                kept.since = kept.since.checked_sub(time).unwrap();
            }
        };
        history.place(push(&["a"], 1));
        age(&mut history, LONG / 2);
        history.place(push(&["a"], 1));
        age(&mut history, LONG / 2);
        assert_eq!(behind(&mut history, "a", 0), None);
        assert_eq!(behind(&mut history, "a", 1), Some(vec![2]));
        age(&mut history, LONG / 2);
        assert_eq!(behind(&mut history, "a", 1), None);
        assert_eq!((history.bytes, history.events.len()), (0, 0));
    }

    /// What is forgotten of too many users is forgotten of those of whom nothing is known, too.
    #[test]
    fn of_users_that_are_forgotten_nothing_is_said_to_be_there() {
        let mut history = history(1000, 1 << 20);
        history.most_gone = 2;
        for user in ["a", "b", "c"] {
            history.place(push(&[user], 1));
        }
        history.forget(Instant::now() + LONG);
        assert_eq!(history.users["t"].len(), 2);
        assert_eq!(behind(&mut history, "a", 0), None);
        assert_eq!(behind(&mut history, "a", 1), Some(vec![]));
        assert_eq!(behind(&mut history, "b", 1), None);
        history.place(push(&["a"], 1));
        assert_eq!(behind(&mut history, "a", 0), None);
        assert_eq!(behind(&mut history, "a", 1), Some(vec![4]));
    }

    proptest! {
        /// Complete is what is: nothing is missing where it is said, and where it is not, something was.
        #[test]
        fn completeness_is_exact(
            pushes in prop::collection::vec((1..8_u8, 0..400_usize), 1..120),
            events in 1..20_usize,
            bytes in 4_000..100_000_u64,
            most_gone in 0..4_usize,
        ) {
            const USERS: [&str; 3] = ["a", "b", "c"];
            let mut history = history(events, bytes);
            history.most_gone = most_gone;
            let mut told: HashMap<&str, Vec<u64>> = HashMap::new();
            for (number, (users, size)) in (1..).zip(pushes) {
                let named = (0..3).filter(|place| users & 1 << place != 0);
                let named: Vec<_> = named.map(|place| USERS[place]).collect();
                history.place(push(&named, size));
                for user in named {
                    told.entry(user).or_default().push(number);
                }
                let held = history.events.values();
                let held = held.map(|kept| kept.event.size() + kept.users * ENTRY);
                prop_assert_eq!(held.sum::<usize>(), history.bytes);
                prop_assert!(history.bytes as u64 <= bytes);
            }
            for user in USERS {
                let all = told.get(user).cloned().unwrap_or_default();
                let kept = history.past("t", user).map_or(0, |past| past.numbers.len());
                for after in 0..=history.last {
                    let expected: Vec<_> = all.iter().filter(|one| **one > after).copied().collect();
                    let had = behind(&mut history, user, after);
                    if let Some(had) = &had {
                        prop_assert_eq!(had, &expected);
                    } else if most_gone >= USERS.len() {
                        prop_assert!(expected.len() > kept, "{user} behind {after}");
                    }
                }
            }
        }
    }
}
