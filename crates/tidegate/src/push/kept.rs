//! Mailboxes whose clients are gone and may come back: each for as long as its route says, and no more of
//! them than there may be.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::mailbox::Mailbox;
use crate::session::id::SessionId;

/// The most of them, of all users, of one, and of those who have not said who they are.
const MOST: usize = 10_000;
const MOST_OF_USER: usize = 16;
const MOST_OF_NOBODY: usize = 1_000;

/// The ones that are kept.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Places>);

/// When it is over, and a number that parts those of one moment.
type Turn = (Instant, u64);

#[derive(Debug, Default)]
struct Places {
    by_time: BTreeMap<Turn, One>,
    by_id: HashMap<SessionId, Turn>,
    by_user: HashMap<Option<Box<str>>, usize>,
    count: u64,
}

/// One of them, and the session that it was of.
#[derive(Debug)]
pub(super) struct One {
    pub(super) id: SessionId,
    pub(super) mailbox: Arc<Mailbox>,
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().by_time.len()
    }

    /// Keeps one for `time`; the one that must go for it, if any.
    pub(super) fn keep(&self, one: One, time: Duration) -> Option<One> {
        let mut places = self.lock();
        let user = one.user();
        let most = if user.is_some() {
            MOST_OF_USER
        } else {
            MOST_OF_NOBODY
        };
        let of_user = places.by_user.get(&user).copied().unwrap_or(0);
        let gone = if of_user >= most {
            let mut turns = places.by_time.iter();
            let oldest = turns.find(|(_, one)| one.user() == user);
            oldest.map(|(turn, _)| *turn)
        } else if places.by_time.len() >= MOST {
            places.by_time.keys().next().copied()
        } else {
            None
        };
        let gone = gone.and_then(|turn| places.take(turn));
        places.count += 1;
        let turn = (Instant::now() + time, places.count);
        places.by_id.insert(one.id, turn);
        *places.by_user.entry(user).or_default() += 1;
        places.by_time.insert(turn, one);
        gone
    }

    /// The one of that session is not kept any more.
    pub(super) fn take(&self, id: SessionId) {
        let mut places = self.lock();
        if let Some(turn) = places.by_id.get(&id).copied() {
            places.take(turn);
        }
    }

    /// Those whose time is over.
    pub(super) fn take_due(&self) -> Vec<One> {
        let mut places = self.lock();
        let now = Instant::now();
        let mut due = Vec::new();
        while let Some((turn, _)) = places.by_time.first_key_value()
            && turn.0 <= now
        {
            let turn = *turn;
            due.extend(places.take(turn));
        }
        due
    }

    /// Those of a user.
    pub(super) fn take_user(&self, user: &str) -> Vec<One> {
        let mut places = self.lock();
        let of_user = |one: &One| one.mailbox.identity().is_some_and(|own| own.user() == user);
        let turns = places.by_time.iter().filter(|(_, one)| of_user(one));
        let turns: Vec<_> = turns.map(|(turn, _)| *turn).collect();
        turns
            .into_iter()
            .filter_map(|turn| places.take(turn))
            .collect()
    }
}

impl One {
    fn user(&self) -> Option<Box<str>> {
        self.mailbox.identity().map(|one| one.user().into())
    }
}

impl Places {
    fn take(&mut self, turn: Turn) -> Option<One> {
        let one = self.by_time.remove(&turn)?;
        self.by_id.remove(&one.id);
        let user = one.user();
        if let Some(count) = self.by_user.get_mut(&user) {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(&user);
            }
        }
        Some(one)
    }
}
