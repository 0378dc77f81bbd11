//! One room: its members, and the number of its last push.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use tidegate_ws::Message;

use super::Epoch;
use super::crowd::Crowd;
use super::history::Past;
use crate::auth::Identity;
use crate::push::mailbox::Mailbox;

/// A room.
#[derive(Debug)]
pub(crate) struct Room {
    pub(super) name: Arc<str>,
    pub(super) epoch: Epoch,
    inner: Mutex<Inner>,
}

/// What changes in it.
#[derive(Debug, Default)]
pub(super) struct Inner {
    /// There is no such room any more; who has come too late looks again.
    pub(super) is_gone: bool,
    /// The number of its last push.
    pub(super) seq: u64,
    /// By the place of their mailboxes in memory.
    members: HashMap<usize, Member>,
    pub(super) crowd: Crowd,
    pub(super) past: Past,
}

#[derive(Debug)]
struct Member {
    mailbox: Arc<Mailbox>,
    /// It has been offered all pushes behind this one.
    from: u64,
    /// The number that its session had given last by then: what it has lost up to there is of no account.
    since: u64,
    /// As whom it is seen.
    shown: Option<Arc<Identity>>,
    /// Its client has been lost for so long that it is not seen until it comes back.
    has_faded: bool,
    /// Whether it is told who comes and goes.
    sees: bool,
}

/// How somebody wants to be a member.
#[derive(Debug, Default)]
pub(crate) struct Subscribing<'a> {
    /// As whom it is seen; `None`: not at all.
    pub(crate) shown: Option<&'a Arc<Identity>>,
    /// Whether it is told who comes and goes.
    pub(crate) sees: bool,
    /// Up to where it has all pushes of the room.
    pub(crate) since: Option<Since>,
}

/// A place among the pushes of a room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since {
    /// `None`: of no room that there ever was.
    pub(crate) epoch: Option<Epoch>,
    pub(crate) seq: u64,
}

/// What a member is told when it has become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Subscribed {
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
    /// Whether it has missed nothing since then, or gets it now.
    pub(crate) recovered: bool,
    pub(crate) members: usize,
}

/// Who is in a room, and with how many sessions.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// How many times members had been told of changes.
    pub(crate) batch: u64,
    pub(crate) users: Vec<(Box<str>, usize)>,
    /// Sessions, also of those who are not seen.
    pub(crate) members: usize,
}

/// What there is to tell of a room.
#[derive(Debug)]
pub(crate) struct RoomState {
    pub(crate) name: Arc<str>,
    pub(crate) epoch: Epoch,
    pub(crate) seq: u64,
    pub(crate) members: usize,
    /// How many pushes are kept.
    pub(crate) kept: usize,
    pub(crate) users: usize,
}

impl Room {
    pub(super) fn new(name: &str, epoch: Epoch) -> Self {
        Self {
            name: name.into(),
            epoch,
            inner: Mutex::default(),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    /// As whom it is seen now.
    fn seen(&self) -> Option<&Arc<Identity>> {
        self.shown.as_ref().filter(|_| !self.has_faded)
    }
}

impl Seen {
    /// The users, as they are told.
    pub(crate) fn users(&self) -> Vec<Value> {
        let users = self.users.iter();
        let users = users.map(|(user, sessions)| json!({ "user": user, "conns": sessions }));
        users.collect()
    }

    /// The frame that tells who is there.
    fn presence(&self, room: &str) -> String {
        let users = self.users();
        json!({ "op": "presence", "room": room, "n": self.batch, "users": users }).to_string()
    }
}

fn key(mailbox: &Arc<Mailbox>) -> usize {
    Arc::as_ptr(mailbox).addr()
}

impl Member {
    /// Whether it has, or gets, all pushes of its room behind `since`, of which the last is `seq`. Who is
    /// told that it has not is taken to know all up to there by other means.
    fn has_all_behind(&mut self, since: Option<u64>, seq: u64) -> bool {
        let (given, lost) = self.mailbox.given_and_lost();
        // What is behind its beginning it was offered already.
        let has_all = lost <= self.since && since.is_some_and(|since| since >= self.from);
        if !has_all && since.is_some() {
            (self.from, self.since) = (seq, given);
        }
        has_all
    }
}

impl Inner {
    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Something for it may not have come: a number stands for it.
    pub(super) fn miss(&mut self) {
        self.seq += 1;
        self.past.miss(self.seq);
    }

    /// Whether nothing holds it.
    pub(super) fn is_idle(&self) -> bool {
        self.members.is_empty() && self.past.is_nothing()
    }

    pub(super) fn mailboxes(&self) -> impl Iterator<Item = &Arc<Mailbox>> {
        self.members.values().map(|member| &member.mailbox)
    }

    /// A session comes, or asks once more; what it is told, and whether it was none.
    pub(super) fn enter(
        &mut self,
        epoch: Epoch,
        mailbox: &Arc<Mailbox>,
        wish: &Subscribing<'_>,
    ) -> (Subscribed, bool) {
        let since = wish.since.filter(|since| since.epoch == Some(epoch));
        let since = since.map(|since| since.seq).filter(|seq| *seq <= self.seq);
        let before = self.members.get_mut(&key(mailbox));
        let is_new = before.is_none();
        let recovered = match before {
            Some(member) => {
                member.sees = wish.sees;
                member.has_all_behind(since, self.seq)
            }
            None => {
                let (given, _) = mailbox.given_and_lost();
                let recovered = since.filter(|since| self.past.offer(*since, self.seq, mailbox));
                let member = Member {
                    mailbox: Arc::clone(mailbox),
                    from: recovered.unwrap_or(self.seq),
                    since: given,
                    shown: wish.shown.map(Arc::clone),
                    has_faded: false,
                    sees: wish.sees,
                };
                if let Some(shown) = &member.shown {
                    self.crowd.enter(shown.user());
                }
                self.members.insert(key(mailbox), member);
                recovered.is_some()
            }
        };
        let subscribed = Subscribed {
            epoch,
            seq: self.seq,
            recovered,
            members: self.members.len(),
        };
        (subscribed, is_new)
    }

    /// Whether a member is told who comes and goes.
    pub(super) fn show(&mut self, mailbox: &Arc<Mailbox>, sees: bool) {
        if let Some(member) = self.members.get_mut(&key(mailbox)) {
            member.sees = sees;
        }
    }

    /// A session goes; whether it was a member.
    pub(super) fn leave(&mut self, mailbox: &Arc<Mailbox>) -> bool {
        let Some(member) = self.members.remove(&key(mailbox)) else {
            return false;
        };
        if let Some(shown) = member.seen() {
            self.crowd.leave(shown.user());
        }
        if self.members.is_empty() {
            // An empty room holds no room.
            self.members = HashMap::new();
            self.crowd.nobody_is_left();
        }
        true
    }

    /// A member is not seen any more, until its client comes back.
    pub(super) fn fade(&mut self, mailbox: &Arc<Mailbox>) {
        let Some(member) = self.members.get_mut(&key(mailbox)) else {
            return;
        };
        if let Some(shown) = member.seen() {
            self.crowd.leave(shown.user());
        }
        member.has_faded = true;
    }

    /// The client of a member is there again and is seen; whether it is to be told who is there, because
    /// who came and went meanwhile it was not told.
    pub(super) fn came_back(&mut self, mailbox: &Arc<Mailbox>) -> bool {
        let Some(member) = self.members.get_mut(&key(mailbox)) else {
            return false;
        };
        let was_faded = std::mem::take(&mut member.has_faded);
        if let Some(shown) = member.seen().filter(|_| was_faded) {
            self.crowd.enter(shown.user());
        }
        member.sees
    }

    /// Tells a member who is there, by `frame` where somebody was told the same; `None`: that waits for
    /// more of what was told before.
    pub(super) fn tell_all(
        &mut self,
        room: &Room,
        mailbox: &Arc<Mailbox>,
        frame: &mut Option<Message>,
    ) -> Option<()> {
        let member = self.members.get(&key(mailbox));
        if !member.is_some_and(|member| member.sees) {
            return Some(());
        }
        if !mailbox.has_room_for_notices() {
            return None;
        }
        let seen = &mut self.crowd;
        let frame = frame.get_or_insert_with(|| {
            let (batch, users) = seen.look();
            let seen = Seen {
                batch,
                users,
                members: 0,
            };
            Message::text(seen.presence(&room.name))
        });
        mailbox.notify(frame);
        Some(())
    }

    /// Tells those who may see it who has come and gone.
    pub(super) fn tell_change(&mut self, room: &str) {
        let Some(change) = self.crowd.take_change(room) else {
            return;
        };
        let frame = Message::text(change);
        for member in self.members.values().filter(|member| member.sees) {
            member.mailbox.notify(&frame);
        }
    }

    pub(super) fn look(&mut self) -> Seen {
        let (batch, users) = self.crowd.look();
        Seen {
            batch,
            users,
            members: self.members.len(),
        }
    }

    pub(super) fn state(&self, room: &Room) -> RoomState {
        RoomState {
            name: Arc::clone(&room.name),
            epoch: room.epoch,
            seq: self.seq,
            members: self.members.len(),
            kept: self.past.len(),
            users: self.crowd.len(),
        }
    }
}
