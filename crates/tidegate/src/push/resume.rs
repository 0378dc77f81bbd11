//! Who has a mailbox: a session, nobody for a while, and the session of who comes back for it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Push;
use super::kept::One;
use super::mailbox::Mailbox;
use super::mailbox::resume::{Left, Returning};
use super::rooms::{Most, Subscribed, Subscribing};
use crate::auth::Identity;
use crate::metrics::Resumed;
use crate::session::handle::Handle;
use crate::session::id::SessionId;

/// A session's mailbox. Dropped, it is kept for who may come back, or nothing more can be left in it.
#[derive(Debug)]
pub(crate) struct Recipient {
    push: Arc<Push>,
    has: Mutex<Has>,
}

#[derive(Debug)]
struct Has {
    mailbox: Arc<Mailbox>,
    /// The session, once it has begun.
    handle: Option<Arc<Handle>>,
}

/// What somebody shows to have what was left for a session that is no more.
#[derive(Debug)]
pub(crate) struct Asked<'a> {
    /// That session.
    pub(crate) session: &'a str,
    pub(crate) token: &'a str,
    /// The last push that it has.
    pub(crate) seq: u64,
}

/// Told by numbers of pushes from one process.
#[derive(Debug)]
pub(super) struct Epoch(Box<str>);

impl Default for Epoch {
    fn default() -> Self {
        Self(format!("e_{:016x}", RandomState::new().hash_one(0)).into())
    }
}

impl Recipient {
    /// Whoever will have `mailbox`, once its session is entered.
    pub(crate) fn new(push: &Arc<Push>, mailbox: Mailbox) -> Self {
        Self {
            push: Arc::clone(push),
            has: Mutex::new(Has {
                mailbox: Arc::new(mailbox),
                handle: None,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Has> {
        self.has.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is this user's. Said a second time, it changes nothing.
    pub(crate) fn identify(&self, identity: &Arc<Identity>) {
        let mailbox = self.mailbox();
        if mailbox.identify(identity) {
            self.push.directory.enter_user(identity, &mailbox);
        }
    }

    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        Arc::clone(&self.lock().mailbox)
    }

    /// The session has begun; who it is. `None`: it was never entered.
    pub(crate) fn begin(&self) -> Option<Arc<Handle>> {
        let mut has = self.lock();
        has.handle = has.mailbox.handle();
        has.handle.clone()
    }

    /// Whether somebody may be about to come back: its user has another mailbox.
    pub(crate) fn may_return(&self) -> bool {
        let mailbox = self.mailbox();
        let user = mailbox.identity().map(|one| one.user());
        user.is_some_and(|user| self.push.directory.has_more(user))
    }

    /// Becomes a member of the room of this name, where it may be one of so many.
    pub(crate) fn subscribe(&self, room: &str, wish: &Subscribing<'_>) -> Result<Subscribed, Most> {
        let mailbox = self.mailbox();
        let rooms = mailbox.rooms_to_enter();
        rooms.enter(&self.push.rooms, room, &mailbox, wish)
    }

    /// Is none of that room any more; whether it was one.
    pub(crate) fn unsubscribe(&self, room: &str) -> bool {
        let mailbox = self.mailbox();
        let rooms = mailbox.rooms();
        rooms.is_some_and(|rooms| rooms.leave(&self.push.rooms, room, &mailbox))
    }

    /// What numbers of pushes belong to.
    pub(crate) fn epoch(&self) -> &str {
        &self.push.epoch.0
    }

    /// Takes what was left for another session of this user, in place of what was left here; whether
    /// nothing is lost of what it has not. `None`: there is nothing for who shows that, or not for them.
    pub(crate) fn resume(&self, asked: &Asked<'_>) -> Option<bool> {
        let resumed = self.take_over(asked);
        self.push.meters.resumed(match resumed {
            Some(true) => Resumed::Recovered,
            Some(false) => Resumed::Lost,
            None => Resumed::Refused,
        });
        resumed
    }

    fn take_over(&self, asked: &Asked<'_>) -> Option<bool> {
        let mut has = self.lock();
        let from: SessionId = asked.session.parse().ok()?;
        let handle = has.handle.as_ref()?;
        let (to, directory) = (handle.id, &self.push.directory);
        let old = directory.find(from)?;
        if Arc::ptr_eq(&old, &has.mailbox) {
            return None;
        }
        let returning = Returning {
            token: asked.token,
            seq: asked.seq,
            fresh: &has.mailbox,
            handle,
        };
        let has_all = old.take_over(from, &returning)?;
        self.push.kept.take(from);
        self.push.meters.set_suspended(self.push.kept.len());
        directory.move_to((from, to), &old, &has.mailbox);
        self.push.leave_rooms(&has.mailbox);
        for parcel in has.mailbox.retire(&old) {
            old.offer(&parcel);
        }
        if let Some(mine) = old.rooms() {
            mine.came_back(&self.push.rooms, &old);
        }
        has.mailbox = old;
        Some(has_all)
    }
}

impl Drop for Recipient {
    fn drop(&mut self) {
        let has = self.lock();
        let seat = has.handle.as_ref().map(|handle| handle.id);
        match has.mailbox.leave(seat) {
            Left::TakenOver => {}
            Left::Over => {
                self.push.leave_rooms(&has.mailbox);
                self.push.directory.leave(&has.mailbox);
            }
            Left::Kept(id, time) => {
                let one = One {
                    id,
                    mailbox: Arc::clone(&has.mailbox),
                };
                let gone = self.push.kept.keep(one, time);
                self.push.rooms.went(id, &has.mailbox);
                self.push.forsake(gone);
            }
        }
    }
}

impl Push {
    /// Once a second at least: lets go of those who did not come back in time.
    pub(crate) fn tick(&self) {
        self.forsake(self.kept.take_due());
    }

    /// Nobody comes back as that user to what was left until now.
    pub(crate) fn forget_user(&self, user: &str) {
        self.forsake(self.kept.take_user(user));
    }

    /// Its session is a member of nothing any more.
    fn leave_rooms(&self, mailbox: &Arc<Mailbox>) {
        if let Some(rooms) = mailbox.rooms() {
            rooms.leave_all(&self.rooms, mailbox);
        }
    }

    fn forsake(&self, gone: impl IntoIterator<Item = One>) {
        self.meters.set_suspended(self.kept.len());
        for One { id, mailbox } in gone {
            if mailbox.is_forsaken(id) {
                self.leave_rooms(&mailbox);
                self.directory.leave(&mailbox);
            }
        }
    }
}
