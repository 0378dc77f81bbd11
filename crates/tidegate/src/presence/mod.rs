//! Who is online: the users who have sessions open, on whatever worker, and what is told of their coming
//! and going.
//!
//! A session enters when it is registered and leaves when its guard is dropped, whatever the way, so
//! that nothing here can be forgotten. What is told of a user is told in the order in which it
//! happened, because it is handed over while the user's shard is locked.

mod eviction;
mod teller;

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use self::eviction::Eviction;
pub(crate) use self::teller::{About, Teller, Telling};
use crate::auth::Identity;
use crate::config::plan::SessionLimits;
use crate::session::handle::Handle;

/// Maps that are locked apart from each other.
const SHARDS: usize = 64;

/// What a token says its user is allowed to be.
pub(crate) type Roles = Arc<[Box<str>]>;

/// The users who are online, of all workers.
#[derive(Debug)]
pub(crate) struct Directory {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    online: AtomicUsize,
    /// Who goes where there is one session too many, where that is wanted.
    eviction: Option<Eviction>,
    teller: Arc<Teller>,
}

/// Some of the users. Whoever has no session is not in it.
type Shard = BTreeMap<Name, User>;

/// A user's name, as the token of its first session has it.
#[derive(Debug)]
struct Name(Arc<Identity>);

/// A user who is online.
#[derive(Debug)]
struct User {
    /// The open sessions, in the order of their opening.
    sessions: Vec<Seat>,
    /// Whether it was told that the user came.
    is_told: bool,
}

/// A session of a user.
#[derive(Debug)]
struct Seat {
    handle: Arc<Handle>,
    roles: Roles,
}

/// A user who is online, and with how many sessions.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Online {
    pub(crate) user: Box<str>,
    pub(crate) sessions: usize,
}

impl Directory {
    pub(crate) fn new(teller: Arc<Teller>, limits: &SessionLimits) -> Self {
        Self {
            shards: [const { Mutex::new(Shard::new()) }; SHARDS],
            hasher: RandomState::new(),
            online: AtomicUsize::new(0),
            eviction: Eviction::wanted(limits),
            teller,
        }
    }

    fn lock(&self, user: &str) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(user) as usize % SHARDS;
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// A session has opened, of a user with these roles where that is known.
    pub(crate) fn enter(&self, handle: &Arc<Handle>, roles: Option<&Roles>) {
        // Told of both its ends or of none.
        handle.set_told(self.teller.has_room());
        match handle.facts.identity() {
            Some(identity) => self.sit(handle, identity, roles, true),
            None => self.teller.opened(handle, &Roles::default()),
        }
        if let Some(eviction) = &self.eviction {
            eviction.enter(handle);
        }
        if let Some(eviction) = handle.facts.eviction() {
            eviction.enter(handle);
        }
    }

    /// It is known only now whose session this is.
    pub(crate) fn identify(&self, handle: &Arc<Handle>, roles: Option<&Roles>) {
        let Some(identity) = handle.facts.identity() else {
            return;
        };
        self.sit(handle, identity, roles, false);
        if let Some(eviction) = &self.eviction {
            eviction.identify(handle);
        }
        if let Some(eviction) = handle.facts.eviction() {
            eviction.identify(handle);
        }
    }

    /// Puts a session to its user.
    fn sit(
        &self,
        handle: &Arc<Handle>,
        identity: &Arc<Identity>,
        roles: Option<&Roles>,
        opens: bool,
    ) {
        let roles = roles.map_or_else(Roles::default, Arc::clone);
        let seat = Seat {
            handle: Arc::clone(handle),
            roles,
        };
        let mut shard = self.lock(identity.user());
        if opens {
            self.teller.opened(handle, &seat.roles);
        } else {
            self.teller.identified(handle, &seat.roles);
        }
        if let Some(user) = shard.get_mut(identity.user()) {
            user.sessions.push(seat);
            return;
        }
        self.online.fetch_add(1, Ordering::Relaxed);
        let is_told = self.teller.has_room_for_user();
        if is_told {
            self.teller.connected(identity.user(), &seat.roles);
        }
        let user = User {
            sessions: vec![seat],
            is_told,
        };
        shard.insert(Name(Arc::clone(identity)), user);
    }

    /// A session has closed.
    pub(crate) fn leave(&self, handle: &Arc<Handle>) {
        if let Some(eviction) = &self.eviction {
            eviction.leave(handle);
        }
        if let Some(eviction) = handle.facts.eviction() {
            eviction.leave(handle);
        }
        let Some(identity) = handle.facts.identity() else {
            return self.teller.closed(handle, &Roles::default());
        };
        let mut shard = self.lock(identity.user());
        let seat = shard.get_mut(identity.user()).and_then(|user| {
            let mut seats = user.sessions.iter();
            let place = seats.position(|seat| Arc::ptr_eq(&seat.handle, handle))?;
            Some((user.sessions.remove(place), user))
        });
        let Some((seat, user)) = seat else {
            return self.teller.closed(handle, &Roles::default());
        };
        self.teller.closed(handle, &seat.roles);
        if !user.sessions.is_empty() {
            return;
        }
        let is_told = user.is_told;
        shard.remove(identity.user());
        self.online.fetch_sub(1, Ordering::Relaxed);
        if is_told {
            self.teller.disconnected(handle);
        }
    }

    /// How many users are online.
    pub(crate) fn online(&self) -> usize {
        self.online.load(Ordering::Relaxed)
    }

    /// What tells others of this.
    pub(crate) const fn teller(&self) -> &Arc<Teller> {
        &self.teller
    }

    /// The open sessions of a user, the oldest first.
    pub(crate) fn sessions(&self, user: &str) -> Vec<Arc<Handle>> {
        let shard = self.lock(user);
        let seats = shard.get(user).map_or(&[][..], |user| &user.sessions);
        seats.iter().map(|seat| Arc::clone(&seat.handle)).collect()
    }

    /// Up to `count` users behind `after`, by their names. Whoever stays online is seen once by who
    /// goes on behind the last one.
    pub(crate) fn page(&self, after: &str, count: usize) -> Vec<Online> {
        let mut page = Vec::new();
        for shard in &self.shards {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let behind = (Bound::Excluded(after), Bound::Unbounded);
            let users = shard.range::<str, _>(behind).take(count);
            page.extend(users.map(|(name, user)| Online {
                user: name.0.user().into(),
                sessions: user.sessions.len(),
            }));
        }
        page.sort_unstable_by(|one, other| one.user.cmp(&other.user));
        page.truncate(count);
        page
    }
}

impl Default for Directory {
    fn default() -> Self {
        Self::new(Arc::default(), &SessionLimits::default())
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        self.0.user()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.0.user() == other.0.user()
    }
}

impl Eq for Name {}

impl PartialOrd for Name {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Name {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.user().cmp(other.0.user())
    }
}

#[cfg(test)]
mod tests;
