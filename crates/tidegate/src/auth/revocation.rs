//! Tokens that were taken back before their end.
//!
//! What is here is asked for each token that is verified, whether the cache knows it or not, and for each
//! session once when something was added. It is kept until no token can be meant any more, and pushes
//! nothing out: where there is no room, the next revocation ends what is open, and whoever asked for it is
//! told that it is not kept.

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

#[cfg(test)]
mod tests;

/// How long one lasts that other nodes are told of, where nothing says how long: what all know must end, and
/// no node knows when the last one ends that has heard of it.
const LONGEST_SHARED: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The least that is remembered, so that a clock that is set right meanwhile brings no token back.
const SHORTEST: Duration = Duration::from_secs(60);
/// Revocations that may wait to be told to other nodes; behind that, all are told.
const MOST_UNSHARED: usize = 10_000;
/// Ticks between two looks for what can be forgotten.
const REST: u64 = 64;
/// How long what there is no room for is held at least: until whatever it has opened has been looked at.
const PASSING: Duration = Duration::from_secs(5);
/// How many of these there may be.
const MOST_PASSING: usize = 1000;

/// What is revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Revoked {
    /// The token with this SHA-256.
    Token(Digest),
    /// The tokens of this name (`jti`).
    Id(Box<str>),
    /// The tokens of this user that were issued until then, those that do not say when, too; and whatever
    /// is open of it then.
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
pub(crate) struct Full {
    /// When the first of them is of no use any more, where that is known of any.
    pub(crate) room_in: Option<Duration>,
}

/// All of them, for all workers.
#[derive(Debug)]
pub(crate) struct Revocations {
    plan: RevocationPlan,
    held: RwLock<Held>,
    /// How many are held, so that where there are none nothing is locked.
    count: AtomicUsize,
    /// How many were ever added, those too that there was no room for.
    added: AtomicU64,
    /// How many there was no room for.
    refused: AtomicU64,
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
    kept: Names,
    /// What there is no room for.
    passing: Names,
}

#[derive(Debug, Default)]
struct Names {
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

    /// Whether this is somebody who came by it, whose session is open. The clock of who issued the token may
    /// be ahead of ours: who is here was here before.
    pub(crate) fn takes(&self, identity: &Identity) -> bool {
        match self {
            Self::Token(digest) => identity.token() == Some(digest),
            Self::Id(id) => identity.token_id() == Some(id),
            Self::User(user, _) => *identity.user == **user,
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
            refused: AtomicU64::new(0),
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
    /// Where there is no room for one more. It holds for some seconds all the same, here and on other nodes,
    /// in which the sessions that it has opened end.
    pub(crate) fn add(&self, what: Revoked, ends: Option<SystemTime>) -> Result<(), Full> {
        let (room, ends) = self.put(what.clone(), ends, SHORTEST);
        if self.is_shared.load(Ordering::Acquire) {
            let mut unshared = self.unshared.lock().unwrap_or_else(PoisonError::into_inner);
            match unshared.waiting.len() < MOST_UNSHARED {
                true => unshared.waiting.push((what, ends)),
                false => unshared.is_torn = true,
            }
            drop(unshared);
            self.added_here.notify_one();
        }
        room
    }

    /// What was taken back on another node; whether that was not known here.
    ///
    /// # Errors
    /// Where there is no room for one more.
    pub(crate) fn add_shared(&self, what: Revoked, ends: Option<SystemTime>) -> Result<bool, Full> {
        if self.read().knows(&what, ends) {
            return Ok(false);
        }
        // Where it was added it was remembered for long enough; told from one to the other it must not last
        // longer with each.
        self.put(what, ends, Duration::ZERO).0.map(|()| true)
    }

    /// From now on other nodes are told of what is added here. What has no end is given one.
    pub(crate) fn share(&self) {
        if !self.is_shared.swap(true, Ordering::AcqRel) {
            let end = End::after(Some(LONGEST_SHARED), Now::look());
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            held.kept.bound(end);
        }
    }

    /// How long one lasts whose end is not known; `None`: as long as the gateway.
    fn keep(&self) -> Option<Duration> {
        let is_shared = self.is_shared.load(Ordering::Acquire);
        self.plan.keep.or(is_shared.then_some(LONGEST_SHARED))
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

    /// All that are kept, and when each is of no use any more.
    pub(crate) fn all(&self) -> Vec<(Revoked, Option<SystemTime>)> {
        self.read().kept.all()
    }

    /// Whether there is room for it, and when it is of no use any more.
    fn put(
        &self,
        what: Revoked,
        ends: Option<SystemTime>,
        shortest: Duration,
    ) -> (Result<(), Full>, Option<SystemTime>) {
        let now = Now::look();
        let left = ends.map(|ends| ends.duration_since(now.wall).unwrap_or_default());
        let left = left.or_else(|| self.keep()).map(|left| left.max(shortest));
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if held.kept.len() >= self.plan.max_entries && !held.kept.has(&what) {
            held.forget(now);
        }
        let has_room = held.kept.len() < self.plan.max_entries || held.kept.has(&what);
        let end = End::after(if has_room { left } else { Some(PASSING) }, now);
        let room = if has_room {
            held.kept.put(what, end);
            Ok(())
        } else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            if held.passing.len() < MOST_PASSING {
                held.passing.put(what, end);
            }
            let room_in = held.kept.first_end(now);
            Err(Full { room_in })
        };
        self.count.store(held.len(), Ordering::Release);
        drop(held);
        self.added.fetch_add(1, Ordering::Release);
        (room, end.wall())
    }

    /// Whether that token was taken back. Those who have shown none have nothing that could be.
    pub(crate) fn hold(&self, identity: &Identity) -> bool {
        identity.token.is_some()
            && self.count.load(Ordering::Acquire) > 0
            && self.read().hold(identity)
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.read().kept.len()
    }

    /// How many there was no room for.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// How many were ever added, those too that there was no room for: where it is what it was, nothing new is revoked.
    pub(crate) fn added(&self) -> u64 {
        self.added.load(Ordering::Acquire)
    }

    /// Now and then forgets what is of no use any more.
    pub(super) fn tick(&self, now: Now) {
        let ticks = self.ticks.fetch_add(1, Ordering::Relaxed);
        if self.count.load(Ordering::Relaxed) > 0 && ticks.is_multiple_of(REST) {
            let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
            held.forget(now);
            self.count.store(held.len(), Ordering::Release);
        }
    }
}

impl Held {
    fn len(&self) -> usize {
        self.kept.len() + self.passing.len()
    }

    fn hold(&self, identity: &Identity) -> bool {
        self.kept.hold(identity) || self.passing.len() > 0 && self.passing.hold(identity)
    }

    /// Whether there is nothing new in this.
    fn knows(&self, what: &Revoked, ends: Option<SystemTime>) -> bool {
        self.kept.knows(what, ends) || self.passing.knows(what, ends)
    }

    fn forget(&mut self, now: Now) {
        self.kept.forget(now);
        self.passing.forget(now);
    }
}

impl Names {
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

    fn all(&self) -> Vec<(Revoked, Option<SystemTime>)> {
        let tokens = self.tokens.iter();
        let tokens = tokens.map(|(digest, end)| (Revoked::Token(*digest), end.wall()));
        let ids = self.ids.iter();
        let ids = ids.map(|(id, end)| (Revoked::Id(id.clone()), end.wall()));
        let users = self.users.iter();
        let users =
            users.map(|(user, (until, end))| (Revoked::User(user.clone(), *until), end.wall()));
        tokens.chain(ids).chain(users).collect()
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

    /// Gives an end to what has none.
    fn bound(&mut self, end: End) {
        let users = self.users.values_mut().map(|(_, end)| end);
        let named = self.tokens.values_mut().chain(self.ids.values_mut());
        named.chain(users).for_each(|one| {
            one.0 = one.0.or(end.0);
        });
    }

    fn forget(&mut self, now: Now) {
        self.tokens.retain(|_, end| !end.is_past(now));
        self.ids.retain(|_, end| !end.is_past(now));
        self.users.retain(|_, (_, end)| !end.is_past(now));
    }

    /// When the first of them ends, where any does.
    fn first_end(&self, now: Now) -> Option<Duration> {
        let named = self.tokens.values().chain(self.ids.values());
        let ends = named.chain(self.users.values().map(|(_, end)| end));
        ends.filter_map(|end| end.left(now)).min()
    }
}

/// What is revoked twice ends with the later of the two.
fn put<K: Eq + Hash>(map: &mut HashMap<K, End>, key: K, end: End) {
    let known = map.entry(key).or_insert(end);
    *known = known.later(end);
}

impl End {
    /// `left` from `now` on; never, where that is not known.
    fn after(left: Option<Duration>, now: Now) -> Self {
        Self(
            left.and_then(|left| {
                Some((now.wall.checked_add(left)?, now.steady.checked_add(left)?))
            }),
        )
    }

    fn left(self, now: Now) -> Option<Duration> {
        let (wall, steady) = self.0?;
        let wall = wall.duration_since(now.wall).unwrap_or_default();
        Some(wall.max(steady.saturating_duration_since(now.steady)))
    }

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
