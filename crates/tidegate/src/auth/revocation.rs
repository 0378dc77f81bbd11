//! Tokens that were taken back before their end.
//!
//! What is here is asked for each token that is verified, whether the cache knows it or not, and for each
//! session once when something was added. It is kept until no token can be meant any more, and pushes
//! nothing out: where there is no room, the next revocation fails, and is told so.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, SystemTime};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::cache::{Digest, Now, digest_of};
use super::claims::end_of_token;
use super::principal::Identity;
use super::token::unproven_claims;

/// The least that is remembered, so that a clock that is set right meanwhile brings no token back.
const SHORTEST: Duration = Duration::from_secs(60);
/// Revocations that may wait to be told to other nodes; behind that, all are told.
const MOST_UNSHARED: usize = 10_000;
/// Ticks between two looks for what can be forgotten.
const REST: u64 = 64;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// The token with this SHA-256.
    Token(Digest),
    /// The tokens of this name (`jti`).
    Id(Box<str>),
    /// The tokens of this user that were issued until then; those that do not say when, too.
    User(Box<str>, SystemTime),
}

/// How many revocations there may be, and how long they last where nothing says how long the token does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevocationPlan {
    /// How many; 100,000.
    pub max_entries: usize,
    /// How long one lasts whose token's end is not known; `None` (the default): as long as the gateway.
    pub keep: Option<Duration>,
}

impl Default for RevocationPlan {
    fn default() -> Self {
        Self {
            max_entries: 100_000,
            keep: None,
        }
    }
}

/// There are as many revocations in force as there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// All of them, for all workers.
#[derive(Debug)]
pub(crate) struct Revocations {
    plan: RevocationPlan,
    held: RwLock<Held>,
    /// How many there are, so that where there are none nothing is locked.
    count: AtomicUsize,
    /// How many were ever added.
    added: AtomicU64,
    ticks: AtomicU64,
    /// Other nodes are told.
    is_shared: AtomicBool,
    unshared: Mutex<Unshared>,
    added_here: Notify,
}

/// What other nodes are to be told.
#[derive(Debug, Default)]
struct Unshared {
    waiting: Vec<(Revoked, Option<SystemTime>)>,
    /// There was no room for some.
    is_torn: bool,
}

#[derive(Debug, Default)]
struct Held {
    tokens: HashMap<Digest, End>,
    ids: HashMap<Box<str>, End>,
    users: HashMap<Box<str>, (SystemTime, End)>,
}

/// When a revocation is of no use any more: once it has passed by both clocks, whichever of them was set.
#[derive(Debug, Clone, Copy)]
struct End(Option<(SystemTime, Instant)>);

impl Revoked {
    /// The token of that text.
    pub(crate) fn token(text: &str) -> Self {
        Self::Token(digest_of(text))
    }

    /// When the token of that text ends, by whoever's clock: what it says itself is good enough here.
    pub(crate) fn end_of(text: &str) -> Option<SystemTime> {
        let claims = unproven_claims(text)?;
        claims.get("exp").and_then(end_of_token)
    }

    /// Whether this is somebody who came by it.
    pub(crate) fn takes(&self, identity: &Identity) -> bool {
        match self {
            Self::Token(digest) => identity.token() == Some(digest),
            Self::Id(id) => identity.token_id() == Some(id),
            Self::User(user, until) => *identity.user == **user && was_issued(identity, *until),
        }
    }
}

/// Whether a token was issued by then. One that does not say when may have been.
fn was_issued(identity: &Identity, until: SystemTime) -> bool {
    identity.issued().is_none_or(|issued| issued <= until)
}

impl Revocations {
    pub(super) fn new(plan: RevocationPlan) -> Self {
        Self {
            plan,
            held: RwLock::default(),
            count: AtomicUsize::new(0),
            added: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            is_shared: AtomicBool::new(false),
            unshared: Mutex::default(),
            added_here: Notify::new(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes back what is told; `ends` is when the token does, its leeway included, where that is known.
    ///
    /// # Errors
    /// Where there is no room for one more.
    pub(crate) fn add(&self, what: Revoked, ends: Option<SystemTime>) -> Result<(), Full> {
        let ends = self.put(what.clone(), ends)?;
        if self.is_shared.load(Ordering::Acquire) {
            let mut unshared = self.unshared.lock().unwrap_or_else(PoisonError::into_inner);
            match unshared.waiting.len() < MOST_UNSHARED {
                true => unshared.waiting.push((what, ends)),
                false => unshared.is_torn = true,
            }
            drop(unshared);
            self.added_here.notify_one();
        }
        Ok(())
    }

    /// What was taken back on another node; whether that was not known here.
    ///
    /// # Errors
    /// Where there is no room for one more.
    pub(crate) fn add_shared(&self, what: Revoked, ends: Option<SystemTime>) -> Result<bool, Full> {
        if self.read().knows(&what, ends) {
            return Ok(false);
        }
        self.put(what, ends).map(|_ends| true)
    }

    /// From now on other nodes are told of what is added here.
    pub(crate) fn share(&self) {
        self.is_shared.store(true, Ordering::Release);
    }

    /// Waits until something is added here that others are to be told.
    pub(crate) async fn added_here(&self) {
        self.added_here.notified().await;
    }

    /// What was added here since, and whether there was no room for some of it.
    pub(crate) fn take_unshared(&self) -> (Vec<(Revoked, Option<SystemTime>)>, bool) {
        let mut unshared = self.unshared.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::mem::take(&mut *unshared);
        (taken.waiting, taken.is_torn)
    }

    /// All there are, and when each is of no use any more.
    pub(crate) fn all(&self) -> Vec<(Revoked, Option<SystemTime>)> {
        let held = self.read();
        let tokens = held.tokens.iter();
        let tokens = tokens.map(|(digest, end)| (Revoked::Token(*digest), end.wall()));
        let ids = held.ids.iter();
        let ids = ids.map(|(id, end)| (Revoked::Id(id.clone()), end.wall()));
        let users = held.users.iter();
        let users =
            users.map(|(user, (until, end))| (Revoked::User(user.clone(), *until), end.wall()));
        tokens.chain(ids).chain(users).collect()
    }

    fn put(&self, what: Revoked, ends: Option<SystemTime>) -> Result<Option<SystemTime>, Full> {
        let now = Now::look();
        let left = ends.map(|ends| ends.duration_since(now.wall).unwrap_or_default());
        let left = left.or(self.plan.keep).map(|left| left.max(SHORTEST));
        let end = End(left
            .and_then(|left| Some((now.wall.checked_add(left)?, now.steady.checked_add(left)?))));
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= self.plan.max_entries && !held.has(&what) {
            held.forget(now);
            if held.len() >= self.plan.max_entries {
                self.count.store(held.len(), Ordering::Release);
                return Err(Full);
            }
        }
        held.put(what, end);
        self.count.store(held.len(), Ordering::Release);
        drop(held);
        self.added.fetch_add(1, Ordering::Release);
        Ok(end.wall())
    }

    /// Whether that token was taken back. Those who have shown none have nothing that could be.
    pub(crate) fn hold(&self, identity: &Identity) -> bool {
        identity.token.is_some()
            && self.count.load(Ordering::Acquire) > 0
            && self.read().hold(identity)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// How many were ever added: where it is what it was, nothing new is revoked.
    pub(crate) fn added(&self) -> u64 {
        self.added.load(Ordering::Acquire)
    }

    /// Now and then forgets what is of no use any more.
    pub(super) fn tick(&self, now: Now) {
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed);
        if self.count() > 0 && ticks.is_multiple_of(REST) {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            held.forget(now);
            self.count.store(held.len(), Ordering::Release);
        }
    }
}

impl Held {
    fn len(&self) -> usize {
        self.tokens.len() + self.ids.len() + self.users.len()
    }

    fn has(&self, what: &Revoked) -> bool {
        match what {
            Revoked::Token(digest) => self.tokens.contains_key(digest),
            Revoked::Id(id) => self.ids.contains_key(id),
            Revoked::User(user, _) => self.users.contains_key(user),
        }
    }

    /// Whether there is nothing new in this.
    fn knows(&self, what: &Revoked, ends: Option<SystemTime>) -> bool {
        let lasts = |end: &End| {
            end.wall()
                .is_none_or(|wall| ends.is_some_and(|ends| ends <= wall))
        };
        match what {
            Revoked::Token(digest) => self.tokens.get(digest).is_some_and(lasts),
            Revoked::Id(id) => self.ids.get(id).is_some_and(lasts),
            Revoked::User(user, until) => {
                let known = self.users.get(user);
                known.is_some_and(|(known, end)| known >= until && lasts(end))
            }
        }
    }

    fn put(&mut self, what: Revoked, end: End) {
        match what {
            Revoked::Token(digest) => put(&mut self.tokens, digest, end),
            Revoked::Id(id) => put(&mut self.ids, id, end),
            Revoked::User(user, until) => {
                let known = self.users.entry(user).or_insert((until, end));
                *known = (known.0.max(until), known.1.later(end));
            }
        }
    }

    fn hold(&self, identity: &Identity) -> bool {
        let token = identity
            .token()
            .is_some_and(|one| self.tokens.contains_key(one));
        let id = || {
            identity
                .token_id()
                .is_some_and(|id| self.ids.contains_key(id))
        };
        let user = || {
            let until = self.users.get(identity.user());
            until.is_some_and(|(until, _)| was_issued(identity, *until))
        };
        token || id() || user()
    }

    fn forget(&mut self, now: Now) {
        self.tokens.retain(|_, end| !end.is_past(now));
        self.ids.retain(|_, end| !end.is_past(now));
        self.users.retain(|_, (_, end)| !end.is_past(now));
    }
}

/// What is revoked twice ends with the later of the two.
fn put<K: Eq + Hash>(map: &mut HashMap<K, End>, key: K, end: End) {
    let known = map.entry(key).or_insert(end);
    *known = known.later(end);
}

impl End {
    fn is_past(self, now: Now) -> bool {
        self.0
            .is_some_and(|(wall, steady)| wall <= now.wall && steady <= now.steady)
    }

    fn wall(self) -> Option<SystemTime> {
        self.0.map(|(wall, _)| wall)
    }

    fn later(self, other: Self) -> Self {
        let both = self.0.zip(other.0);
        Self(both.map(|(one, other)| (one.0.max(other.0), one.1.max(other.1))))
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn identity(user: &str, token: &str, id: Option<&str>, issued: Option<u64>) -> Identity {
        Identity {
            token: Some(digest_of(token)),
            id: id.map(Into::into),
            issued: issued.and_then(std::num::NonZeroU64::new),
            ..Identity::without_token(user)
        }
    }

    fn at(second: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(second)
    }

    fn with_room(max_entries: usize) -> Revocations {
        Revocations::new(RevocationPlan {
            max_entries,
            keep: None,
        })
    }

    #[test]
    fn each_way_takes_its_own_and_no_other() {
        let one = identity("a", "t", Some("i"), Some(1000));
        let others = [
            identity("b", "u", Some("j"), Some(1000)),
            identity("a", "v", Some("k"), Some(1001)),
            identity("b", "w", None, None),
            Identity::without_token("a"),
        ];
        for what in [
            Revoked::token("t"),
            Revoked::Id("i".into()),
            Revoked::User("a".into(), at(1000)),
        ] {
            let revocations = with_room(10);
            assert!(!revocations.hold(&one));
            revocations.add(what.clone(), None).unwrap();
            assert!(revocations.hold(&one) && what.takes(&one), "{what:?}");
            for other in &others {
                assert!(!revocations.hold(other), "{what:?} {other:?}");
            }
        }
        let revocations = with_room(10);
        let unsaid = identity("a", "x", None, None);
        revocations
            .add(Revoked::User("a".into(), at(5)), None)
            .unwrap();
        assert!(revocations.hold(&unsaid), "it may have been issued before");
        // A second one does not take back the first.
        revocations
            .add(Revoked::User("a".into(), at(3)), None)
            .unwrap();
        assert!(revocations.hold(&identity("a", "y", None, Some(5))));
    }

    #[test]
    fn what_is_in_force_is_pushed_out_by_nothing() {
        let revocations = with_room(100);
        let later = SystemTime::now() + Duration::from_secs(3600);
        for number in 0..100 {
            let what = Revoked::token(&number.to_string());
            revocations.add(what, Some(later)).unwrap();
        }
        assert_eq!(revocations.add(Revoked::token("more"), None), Err(Full));
        // What is there already needs no room.
        revocations.add(Revoked::token("7"), Some(later)).unwrap();
        for number in 0..100 {
            let one = identity("a", &number.to_string(), None, None);
            assert!(revocations.hold(&one), "{number}");
        }
    }

    #[test]
    fn it_lasts_as_long_as_its_token_by_both_clocks() {
        let revocations = with_room(1);
        let now = Now::look();
        let hour = Duration::from_secs(3600);
        revocations
            .add(Revoked::token("t"), Some(now.wall + hour))
            .unwrap();
        let is_held = |wall: Duration, steady: Duration| {
            let then = Now {
                wall: now.wall + wall,
                steady: now.steady + steady,
            };
            revocations.ticks.store(0, Ordering::Relaxed);
            revocations.tick(then);
            revocations.hold(&identity("a", "t", None, None))
        };
        let late = hour + Duration::from_secs(1);
        assert!(is_held(late * 2, Duration::ZERO), "the wall was set ahead");
        assert!(is_held(Duration::ZERO, late * 2), "it was set back");
        assert!(!is_held(late, late));
        assert_eq!(revocations.count(), 0);
        // There is room again.
        revocations.add(Revoked::token("u"), None).unwrap();
        let revocations = with_room(1);
        revocations.add(Revoked::token("t"), None).unwrap();
        let far = Now {
            wall: now.wall + hour * 24 * 3650,
            steady: now.steady + hour * 24 * 3650,
        };
        revocations.tick(far);
        assert_eq!(revocations.count(), 1, "nobody knows when it ends");
    }
}
