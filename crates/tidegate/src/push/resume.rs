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

    /// What became of its coming back.
    pub(crate) fn note(&self, resumed: Resumed) {
        self.push.meters.resumed(resumed);
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

    /// Leaves the rooms of which `judge` says nothing, and tells which; of the others it says whether who
    /// comes and goes is to be told.
    pub(crate) fn judge_rooms(&self, judge: &dyn Fn(&str) -> Option<bool>) -> Vec<Arc<str>> {
        let mailbox = self.mailbox();
        let rooms = mailbox.rooms();
        rooms.map_or_else(Vec::new, |rooms| {
            rooms.judge(&self.push.rooms, &mailbox, judge)
        })
    }

    /// What numbers of pushes belong to.
    pub(crate) fn epoch(&self) -> &str {
        &self.push.epoch.0
    }

    /// Takes what was left for another session of this user, in place of what was left here; whether
    /// nothing is lost of what it has not. `None`: there is nothing for who shows that, or not for them.
    pub(crate) fn resume(&self, asked: &Asked<'_>) -> Option<bool> {
        let mut has = self.lock();
        let from: SessionId = asked.session.parse().ok()?;
        let handle = has.handle.as_ref()?;
        let (to, directory) = (handle.id, &self.push.directory);
        // Who is told something that is for all meets it in one place or the other, and once.
        let _held = directory.hold();
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
        match has.mailbox.leave(seat, self.push.kept.held()) {
            Left::TakenOver => {}
            Left::Over => {
                self.push.leave_rooms(&has.mailbox);
                self.push.directory.leave(&has.mailbox);
            }
            Left::Kept(id, time) => {
                let handle = has.handle.as_ref();
                let one = One {
                    id,
                    mailbox: Arc::clone(&has.mailbox),
                    identity: handle.and_then(|handle| handle.identity()),
                };
                let gone = self.push.kept.keep(one, time);
                self.push.rooms.went(id, &has.mailbox);
                // Ordered to end for good only now, it may not have been seen among those that are kept.
                let is_final = handle.is_some_and(|handle| handle.is_final());
                let late = is_final.then(|| self.push.kept.take(id)).flatten();
                self.push.forsake(gone.into_iter().chain(late));
                self.push.kept.bound();
            }
        }
    }
}

impl Push {
    /// Once a second at least: lets go of those who did not come back in time.
    pub(crate) fn tick(&self) {
        self.forsake(self.kept.take_due());
    }

    /// Nobody comes back to what was left by such a token, until now; how many could have.
    pub(crate) fn forget_those(&self, is_meant: &dyn Fn(&Identity) -> bool) -> usize {
        let gone = self.kept.take_those(is_meant);
        let count = gone.len();
        self.forsake(gone);
        count
    }

    /// Nobody comes back to that session; by what token it went on, if anybody could have.
    pub(crate) fn forget_session(&self, id: SessionId) -> Option<Option<Arc<Identity>>> {
        let gone = self.kept.take(id)?;
        let identity = gone.identity.clone();
        self.forsake([gone]);
        Some(identity)
    }

    /// Its session is a member of nothing any more.
    fn leave_rooms(&self, mailbox: &Arc<Mailbox>) {
        if let Some(rooms) = mailbox.rooms() {
            rooms.leave_all(&self.rooms, mailbox);
        }
    }

    /// Throws away what is too much of what is held for clients that are not there.
    pub(super) fn bound_kept(&self) {
        self.kept.bound();
    }

    /// Bytes of pushes that are held for clients that are not there.
    pub(crate) fn suspended_bytes(&self) -> usize {
        self.kept.held().bytes()
    }

    fn forsake(&self, gone: impl IntoIterator<Item = One>) {
        self.meters.set_suspended(self.kept.len());
        for One { id, mailbox, .. } in gone {
            if mailbox.forsake(id) {
                self.leave_rooms(&mailbox);
                self.directory.leave(&mailbox);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;
    use crate::config::plan::{BridgePlan, BridgePush, PushBuffer};
    use crate::push::parcel::testing::{parcel, push};
    use crate::session::testing;
    use crate::worker::Core;

    /// A world in which one client comes back again and again.
    struct World {
        core: Core,
        push: Arc<Push>,
        plan: Arc<BridgePlan>,
        sessions: u64,
    }

    impl World {
        fn open(&mut self) -> Recipient {
            self.sessions += 1;
            let mut bytes = [0; 12];
            bytes[4..].copy_from_slice(&self.sessions.to_be_bytes());
            let id = format!("s_{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
            let handle = testing::handle_in(&self.core, id.parse().unwrap());
            let mailbox = Mailbox::new(Arc::clone(&self.plan), true);
            let recipient = Recipient::new(&self.push, mailbox);
            self.push.directory.enter(&recipient.mailbox(), &handle);
            recipient.begin().unwrap();
            recipient
        }

        /// The session of who was there before goes on in another.
        fn come_back(&mut self, before: &Recipient) -> Recipient {
            let old = before.lock().handle.clone().unwrap().id.to_string();
            let token = before.mailbox().new_token().unwrap();
            let after = self.open();
            let asked = Asked {
                session: &old,
                token: &token,
                seq: 0,
            };
            assert_eq!(after.resume(&asked), Some(true));
            after
        }
    }

    #[test]
    fn what_is_for_all_reaches_once_who_comes_back_meanwhile() {
        let buffer = PushBuffer {
            messages: 100_000,
            bytes: u64::MAX,
            ..PushBuffer::default()
        };
        let plan = BridgePlan {
            push: BridgePush {
                outbox: u64::MAX,
                buffer,
                ..BridgePush::default()
            },
            ..BridgePlan::default()
        };
        let mut world = World {
            core: testing::built(&testing::plan()),
            push: Arc::default(),
            plan: Arc::new(plan),
            sessions: 0,
        };
        let _others: Vec<_> = (0..200).map(|_| world.open()).collect();
        let mut here = world.open();
        let (push_to, is_over) = (Arc::clone(&world.push), AtomicBool::new(false));
        let told = thread::scope(|scope| {
            let publisher = scope.spawn(|| {
                let mut told = 0_u64;
                while !is_over.load(Ordering::Relaxed) {
                    told += 1;
                    let parcel = parcel(&push("e", &told.to_string()), None);
                    push_to.directory.all(&mut |mailbox| {
                        mailbox.offer(&parcel);
                    });
                }
                told
            });
            for _ in 0..500 {
                here = world.come_back(&here);
            }
            is_over.store(true, Ordering::Relaxed);
            publisher.join().unwrap()
        });
        let (mailbox, seat) = (here.mailbox(), here.begin().unwrap().id);
        for number in 1..=told {
            let taken = mailbox.take(seat, None).unwrap();
            let said: serde_json::Value =
                serde_json::from_str(taken.frame.as_text().unwrap()).unwrap();
            assert_eq!(
                (&said["seq"], &said["data"]),
                (&number.into(), &number.into())
            );
        }
        assert!(mailbox.take(seat, None).is_none());
    }
}
