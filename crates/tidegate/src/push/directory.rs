//! The mailboxes of all open sessions, by session and by user. It is cut into pieces, and none is locked
//! for longer than a look-up or a copy takes.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::mailbox::Mailbox;
use crate::auth::Identity;
use crate::session::handle::Handle;
use crate::session::id::SessionId;

/// Pieces, so that sessions that open at once rarely wait for each other.
pub(super) const SHARDS: usize = 64;

/// Who can be reached.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    sessions: Sharded<SessionId, Arc<Mailbox>>,
    users: Sharded<Named, Few>,
    /// Held while one mailbox becomes another session's, and while all are gone through.
    moves: Mutex<()>,
}

/// A user by name, in what its session keeps anyway.
#[derive(Debug)]
struct Named(Arc<Identity>);

impl Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.user()
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.user().hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.user() == other.0.user()
    }
}

impl Eq for Named {}

/// The mailboxes of one user, most of whom have one.
#[derive(Debug)]
enum Few {
    One(Arc<Mailbox>),
    Many(Vec<Arc<Mailbox>>),
}

impl Directory {
    /// From now on the session of `handle` gets what is left in `mailbox`.
    pub(crate) fn enter(&self, mailbox: &Arc<Mailbox>, handle: &Arc<Handle>) {
        mailbox.attach(handle);
        let mut sessions = self.sessions.lock(&handle.id);
        sessions.insert(handle.id, Arc::clone(mailbox));
        drop(sessions);
        if let Some(identity) = mailbox.identity() {
            self.enter_user(identity, mailbox);
        }
    }

    pub(super) fn enter_user(&self, identity: &Arc<Identity>, mailbox: &Arc<Mailbox>) {
        let mut users = self.users.lock(identity.user());
        match users.get_mut(identity.user()) {
            Some(few) => few.add(mailbox),
            None => {
                let named = Named(Arc::clone(identity));
                users.insert(named, Few::One(Arc::clone(mailbox)));
            }
        }
    }

    /// It does not any more.
    pub(super) fn leave(&self, mailbox: &Arc<Mailbox>) {
        let Some(id) = mailbox.detach() else { return };
        self.sessions.lock(&id).remove(&id);
        self.leave_user(mailbox);
    }

    fn leave_user(&self, mailbox: &Arc<Mailbox>) {
        let Some(user) = mailbox.identity().map(|one| one.user()) else {
            return;
        };
        let mut users = self.users.lock(user);
        let is_last = users.get_mut(user).is_some_and(|few| few.remove(mailbox));
        if is_last {
            users.remove(user);
        }
    }

    /// The session `to` has `mailbox` from now on, which was that of `from`, in place of `fresh`.
    pub(super) fn move_to(
        &self,
        (from, to): (SessionId, SessionId),
        mailbox: &Arc<Mailbox>,
        fresh: &Arc<Mailbox>,
    ) {
        self.sessions.lock(&from).remove(&from);
        self.sessions.lock(&to).insert(to, Arc::clone(mailbox));
        self.leave_user(fresh);
    }

    /// While this is held, nobody goes through all of them, nor is one moved.
    pub(super) fn hold(&self) -> MutexGuard<'_, ()> {
        self.moves.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The mailbox of a session.
    pub(super) fn find(&self, id: SessionId) -> Option<Arc<Mailbox>> {
        self.sessions.lock(&id).get(&id).map(Arc::clone)
    }

    /// Whether a user has more than one.
    pub(super) fn has_more(&self, user: &str) -> bool {
        matches!(self.users.lock(user).get(user), Some(Few::Many(_)))
    }

    /// Calls `each` with the mailbox of a session.
    pub(super) fn session(&self, id: &str, each: &mut dyn FnMut(&Arc<Mailbox>)) {
        let Ok(id) = id.parse::<SessionId>() else {
            return;
        };
        if let Some(mailbox) = self.find(id) {
            each(&mailbox);
        }
    }

    /// The same with each of a user.
    pub(super) fn user(&self, user: &str, each: &mut dyn FnMut(&Arc<Mailbox>)) {
        let users = self.users.lock(user);
        // Copied, so that nobody who opens a session waits for what is done with them.
        let found = match users.get(user) {
            None => return,
            Some(Few::One(mailbox)) => {
                let mailbox = Arc::clone(mailbox);
                drop(users);
                return each(&mailbox);
            }
            Some(Few::Many(mailboxes)) => mailboxes.clone(),
        };
        drop(users);
        found.iter().for_each(each);
    }

    /// The same with every one that there is.
    pub(super) fn all(&self, each: &mut dyn FnMut(&Arc<Mailbox>)) {
        let _held = self.hold();
        for shard in 0..SHARDS {
            let sessions = self.sessions.lock_at(shard);
            let found: Vec<_> = sessions.values().map(Arc::clone).collect();
            drop(sessions);
            found.iter().for_each(&mut *each);
        }
    }
}

impl Few {
    fn add(&mut self, mailbox: &Arc<Mailbox>) {
        match self {
            Self::One(first) => *self = Self::Many(vec![Arc::clone(first), Arc::clone(mailbox)]),
            Self::Many(mailboxes) => mailboxes.push(Arc::clone(mailbox)),
        }
    }

    /// Whether none is left.
    fn remove(&mut self, mailbox: &Arc<Mailbox>) -> bool {
        match self {
            Self::One(only) => Arc::ptr_eq(only, mailbox),
            Self::Many(mailboxes) => {
                let place = mailboxes.iter().position(|one| Arc::ptr_eq(one, mailbox));
                if let Some(place) = place {
                    mailboxes.swap_remove(place);
                }
                if mailboxes.len() == 1
                    && let Some(last) = mailboxes.pop()
                {
                    *self = Self::One(last);
                    return false;
                }
                mailboxes.is_empty()
            }
        }
    }
}

/// A map in pieces.
#[derive(Debug)]
pub(super) struct Sharded<K, V> {
    shards: Box<[Mutex<HashMap<K, V>>]>,
    hasher: RandomState,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hasher: RandomState::new(),
        }
    }
}

impl<K, V> Sharded<K, V> {
    pub(super) fn lock<Q: Hash + ?Sized>(&self, key: &Q) -> MutexGuard<'_, HashMap<K, V>> {
        #[expect(clippy::cast_possible_truncation, reason = "a hash is cut anyway")]
        self.lock_at(self.hasher.hash_one(key) as usize)
    }

    pub(super) fn lock_at(&self, shard: usize) -> MutexGuard<'_, HashMap<K, V>> {
        self.shards[shard % self.shards.len()]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
