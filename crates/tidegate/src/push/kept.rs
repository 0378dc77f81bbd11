//! Mailboxes whose clients are gone and may come back: each for as long as its route says, and no more of
//! them, and of what they hold together, than there may be.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::mailbox::{Held, Mailbox};
use crate::auth::Identity;
use crate::config::defaults;
use crate::session::id::SessionId;

/// The most of them, of all users, of one, and of those who have not said who they are.
const MOST: usize = 10_000;
const MOST_OF_USER: usize = 16;
const MOST_OF_NOBODY: usize = 1_000;

/// The ones that are kept.
#[derive(Debug)]
pub(super) struct Kept {
    places: Mutex<Places>,
    held: Held,
    /// The most bytes that they may hold together.
    most: u64,
}

impl Default for Kept {
    fn default() -> Self {
        Self::new(defaults::RESUME_MEMORY)
    }
}

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
    /// By what token it went on.
    pub(super) identity: Option<Arc<Identity>>,
}

impl Kept {
    pub(super) fn new(most: u64) -> Self {
        Self {
            places: Mutex::default(),
            held: Held::default(),
            most,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What they hold together.
    pub(super) const fn held(&self) -> &Held {
        &self.held
    }

    /// Where they hold too much, what is held by those who are gone for longest is thrown away.
    pub(super) fn bound(&self) {
        let is_too_much = || self.held.bytes() as u64 > self.most;
        if !is_too_much() {
            return;
        }
        let places = self.lock();
        let mut oldest = places.by_time.values();
        while is_too_much()
            && let Some(one) = oldest.next()
        {
            if one.mailbox.is_forsaken(one.id) {
                one.mailbox.shed();
            }
        }
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
            let oldest = turns.find(|(_, one)| one.is_of(user.as_deref()));
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
    pub(super) fn take(&self, id: SessionId) -> Option<One> {
        let mut places = self.lock();
        let turn = places.by_id.get(&id).copied()?;
        places.take(turn)
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

    /// Those whose token is such a one.
    pub(super) fn take_those(&self, is_meant: &dyn Fn(&Identity) -> bool) -> Vec<One> {
        let mut places = self.lock();
        let is_meant = |one: &One| one.identity.as_ref().is_some_and(|own| is_meant(own));
        let turns = places.by_time.iter().filter(|(_, one)| is_meant(one));
        let turns: Vec<_> = turns.map(|(turn, _)| *turn).collect();
        turns
            .into_iter()
            .filter_map(|turn| places.take(turn))
            .collect()
    }
}

impl One {
    fn is_of(&self, user: Option<&str>) -> bool {
        self.mailbox.identity().map(|one| one.user()) == user
    }

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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;
    use crate::auth::Identity;
    use crate::config::plan::BridgePlan;
    use crate::push::parcel::testing::{parcel, push};
    use crate::session::testing;

    const LONG: Duration = Duration::from_secs(3600);

    fn one(number: usize, user: Option<&str>) -> One {
        let mailbox = Mailbox::new(Arc::new(BridgePlan::default()), true);
        if let Some(user) = user {
            mailbox.identify(&Arc::new(Identity::without_token(user)));
        }
        let mut bytes = [0; 12];
        bytes[4..].copy_from_slice(&number.to_be_bytes());
        let id = format!("s_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        One {
            id: id.parse().unwrap(),
            identity: mailbox.identity().map(Arc::clone),
            mailbox: Arc::new(mailbox),
        }
    }

    #[test]
    fn nobody_makes_room_for_another_users_sessions() {
        let kept = Kept::default();
        let id = |one: Option<One>| one.map(|one| one.id);
        assert_eq!(id(kept.keep(one(0, Some("quiet")), LONG)), None);
        for number in 1..=MOST_OF_USER {
            assert_eq!(id(kept.keep(one(number, Some("loud")), LONG)), None);
        }
        let gone = kept.keep(one(100, Some("loud")), LONG);
        assert_eq!(id(gone), Some(one(1, None).id));
        for number in 0..=MOST_OF_NOBODY {
            let gone = kept.keep(one(1000 + number, None), LONG);
            assert_eq!(gone.is_some(), number == MOST_OF_NOBODY);
        }
        assert_eq!(kept.len(), 1 + MOST_OF_USER + MOST_OF_NOBODY);
        assert_eq!(
            kept.take_those(&|one| one.user() == "loud").len(),
            MOST_OF_USER
        );
        assert_eq!(kept.take_those(&|one| one.user() == "quiet").len(), 1);
    }

    #[test]
    fn there_are_so_many_in_all() {
        let kept = Kept::default();
        for number in 0..MOST {
            assert!(
                kept.keep(one(number, Some(&number.to_string())), LONG)
                    .is_none()
            );
        }
        let gone = kept.keep(one(MOST, Some("late")), LONG);
        assert_eq!(gone.map(|one| one.id), Some(one(0, None).id));
        assert_eq!(kept.len(), MOST);
    }

    /// Somebody who is gone and has missed so many pushes.
    fn missing(number: usize, pushes: usize, kept: &Kept) -> Arc<Mailbox> {
        let one = one(number, Some(&number.to_string()));
        let handle = testing::handle_in(&testing::built(&testing::plan()), one.id);
        one.mailbox.attach(&handle);
        one.mailbox.new_token().unwrap();
        one.mailbox.leave(Some(one.id), kept.held());
        let mailbox = Arc::clone(&one.mailbox);
        kept.keep(one, LONG);
        let data = "x".repeat(1000);
        for _ in 0..pushes {
            mailbox.offer(&parcel(&push("e", &format!("\"{data}\"")), None));
        }
        mailbox
    }

    #[test]
    fn what_all_hold_is_bounded_and_the_first_who_went_lose_it() {
        let kept = Kept::new(10_000);
        let (quiet, first) = (missing(1, 0, &kept), missing(2, 5, &kept));
        let second = missing(3, 3, &kept);
        kept.bound();
        assert_eq!([&quiet, &first, &second].map(|one| one.held()), [0, 5, 3]);
        let third = missing(4, 3, &kept);
        kept.bound();
        assert_eq!([&first, &second, &third].map(|one| one.held()), [0, 3, 3]);
        assert!((6_000..10_000).contains(&kept.held().bytes()));
        // What goes away gives back what it held.
        kept.take(one(3, None).id);
        second.detach();
        assert!((3_000..4_000).contains(&kept.held().bytes()));
        third.detach();
        assert_eq!(kept.held().bytes(), 0);
        assert_eq!(kept.len(), 3);
    }

    #[test]
    fn each_is_kept_for_its_time() {
        let kept = Kept::default();
        kept.keep(one(1, Some("u")), LONG);
        kept.keep(one(2, Some("u")), Duration::ZERO);
        kept.keep(one(3, Some("u")), LONG);
        kept.take(one(3, None).id);
        let due: Vec<_> = kept.take_due().iter().map(|one| one.id).collect();
        assert_eq!(due, [one(2, None).id]);
        assert_eq!(kept.len(), 1);
    }
}
