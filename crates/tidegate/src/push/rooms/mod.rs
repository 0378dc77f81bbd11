//! Rooms: sessions become members of them by name, and what is pushed to a room is left in the mailbox of
//! each member. Who may is judged before (`bridge/rooms.rs`).
//!
//! A room is there as long as somebody is in it, something of it is kept, or somebody has left it so
//! lately that they may come back and ask what they have missed. Its pushes are numbered; a room that is
//! made anew has another epoch. All that happens in a room happens under its lock, so that its members
//! get each push once and in order, whoever comes and goes meanwhile.

mod crowd;
mod history;
mod memberships;
mod room;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use self::history::Kept;
pub(crate) use self::memberships::{Memberships, Most};
use self::room::{Inner, Room};
pub(crate) use self::room::{RoomState, Seen, Since, Subscribed, Subscribing};
use super::directory::{SHARDS, Sharded};
use super::mailbox::Mailbox;
use super::parcel::{Parcel, Place};
use crate::config::plan::RoomsPlan;
use crate::session::id::SessionId;
use crate::task::{self, Kind, Panics};

/// How long what changes in a room is gathered before its members are told.
const BATCH: Duration = Duration::from_millis(500);

/// All rooms of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    plan: RoomsPlan,
    rooms: Sharded<Arc<str>, Arc<Room>>,
    /// How many rooms there are, and how many members of all.
    open: AtomicUsize,
    members: AtomicUsize,
    kept: Kept,
    /// Members whose clients are lost, in the order in which they fade.
    lost: Mutex<VecDeque<Lost>>,
    /// Members who have come back, and where they are not told yet who is there.
    back: Mutex<Vec<Back>>,
    /// Where somebody has come or gone, and the members do not know it yet.
    changed: Mutex<Vec<Arc<Room>>>,
    /// There is something to tend to.
    stirred: Notify,
    epochs: Epochs,
}

/// A member whose client is lost.
#[derive(Debug)]
struct Lost {
    /// When it is not seen any more.
    fades: Instant,
    /// The session that was lost.
    id: SessionId,
    mailbox: Arc<Mailbox>,
}

/// A member who has come back.
#[derive(Debug)]
struct Back {
    room: Arc<Room>,
    mailbox: Arc<Mailbox>,
}

/// Which of the rooms that had one name, one after the other, is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Epoch(u64);

#[derive(Debug, Default)]
struct Epochs {
    seed: RandomState,
    count: AtomicU64,
}

impl Rooms {
    pub(super) fn new(plan: RoomsPlan) -> Self {
        Self {
            plan,
            ..Self::default()
        }
    }

    /// Something for any room may not have come.
    pub(super) fn miss(&self) {
        for shard in 0..SHARDS {
            let rooms = self.rooms.lock_at(shard);
            let found: Vec<_> = rooms.values().map(Arc::clone).collect();
            drop(rooms);
            for room in found {
                room.lock().miss();
            }
        }
    }

    /// How many rooms there are, and how many members of all.
    pub(crate) fn counts(&self) -> [usize; 2] {
        [&self.open, &self.members].map(|count| count.load(Ordering::Relaxed))
    }

    /// Works on the room of this name, which is made where there is none and `makes` says so.
    fn with<T>(
        &self,
        name: &str,
        makes: bool,
        work: impl FnOnce(&Arc<Room>, &mut Inner) -> T,
    ) -> Option<T> {
        loop {
            let mut rooms = self.rooms.lock(name);
            let room = match rooms.get(name) {
                Some(room) => Arc::clone(room),
                None if makes => {
                    let room = Arc::new(Room::new(name, self.epochs.next()));
                    rooms.insert(Arc::clone(&room.name), Arc::clone(&room));
                    self.open.fetch_add(1, Ordering::Relaxed);
                    room
                }
                None => return None,
            };
            drop(rooms);
            let mut inner = room.lock();
            // Between the two it may have been closed; then there is another, or none.
            if !inner.is_gone {
                return Some(work(&room, &mut inner));
            }
        }
    }

    /// Closes a room that nothing holds any more.
    fn close_if_idle(&self, room: &Arc<Room>, inner: &mut Inner) {
        if inner.is_gone || !inner.is_idle() {
            return;
        }
        inner.is_gone = true;
        self.rooms.lock(&*room.name).remove(&*room.name);
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Offers a push to each member of a room. `parcel` makes it, unless nobody would ever see it.
    /// One that is `live` has no number, and is not kept.
    pub(super) fn publish(
        &self,
        name: &str,
        is_live: bool,
        parcel: impl FnOnce(Place) -> Parcel,
        offer: &mut dyn FnMut(&Arc<Mailbox>, &Arc<Parcel>),
    ) {
        let history = self.plan.history.as_ref().filter(|_| !is_live);
        self.with(name, history.is_some(), |room, inner| {
            inner.seq += u64::from(!is_live);
            let place = Place {
                room: Arc::clone(&room.name),
                at: history.map(|_| (room.epoch, inner.seq)),
            };
            let parcel = Arc::new(parcel(place));
            if let Some(history) = history {
                self.kept.keep(room, inner, &parcel, history);
            }
            for mailbox in inner.mailboxes() {
                offer(mailbox, &parcel);
            }
        });
        if history.is_some() {
            self.forget();
            self.stirred.notify_one();
        }
    }

    fn enter(
        &self,
        name: &str,
        mailbox: &Arc<Mailbox>,
        wish: &Subscribing<'_>,
    ) -> Option<(Arc<Room>, Subscribed)> {
        self.with(name, true, |room, inner| {
            self.kept.came_back(inner);
            let (subscribed, is_new) = inner.enter(room.epoch, mailbox, wish);
            if is_new {
                self.members.fetch_add(1, Ordering::Relaxed);
            }
            self.note_change(room, inner);
            (Arc::clone(room), subscribed)
        })
    }

    fn leave(&self, room: &Arc<Room>, mailbox: &Arc<Mailbox>) {
        let mut inner = room.lock();
        if !inner.leave(mailbox) {
            return;
        }
        self.members.fetch_sub(1, Ordering::Relaxed);
        self.note_change(room, &mut inner);
        let is_remembered = inner.is_empty() && self.plan.history.is_some();
        if is_remembered {
            self.kept.left(room, &mut inner);
            self.stirred.notify_one();
        }
        self.close_if_idle(room, &mut inner);
        drop(inner);
        if is_remembered {
            self.forget();
        }
    }

    fn note_change(&self, room: &Arc<Room>, inner: &mut Inner) {
        if !inner.crowd.wants_telling() {
            return;
        }
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        changed.push(Arc::clone(room));
        drop(changed);
        self.stirred.notify_one();
    }

    /// Tells members who has come and gone, and lets go of what is too old. Never ends.
    pub(super) async fn tend(&self, panics: &Panics) {
        loop {
            self.stirred.notified().await;
            // As long as there is something, it is looked at; then nothing wakes anybody.
            loop {
                sleep(BATCH).await;
                let tending = async {
                    self.fade_lost();
                    self.tell_back();
                    self.tell_changes();
                    self.forget();
                };
                let _survived = task::survive(Kind::Push, panics, tending).await;
                if self.is_quiet() {
                    break;
                }
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = changed.is_empty() && self.kept.is_empty();
        is_quiet && self.lost().is_empty() && self.back().is_empty()
    }

    fn back(&self) -> MutexGuard<'_, Vec<Back>> {
        self.back.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells those who have come back who is there: room by room, so that all of one room share a frame,
    /// and no more at once than they take.
    fn tell_back(&self) {
        let mut back = std::mem::take(&mut *self.back());
        back.sort_by_key(|one| Arc::as_ptr(&one.room).addr());
        let mut waiting = Vec::new();
        for one_room in back.chunk_by(|one, other| Arc::ptr_eq(&one.room, &other.room)) {
            let mut frame = None;
            for Back { room, mailbox } in one_room {
                let mut inner = room.lock();
                if inner.tell_all(room, mailbox, &mut frame).is_none() {
                    let (room, mailbox) = (Arc::clone(room), Arc::clone(mailbox));
                    waiting.push(Back { room, mailbox });
                }
            }
        }
        self.back().append(&mut waiting);
    }

    fn lost(&self) -> MutexGuard<'_, VecDeque<Lost>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client of session `id` is lost, and may come back.
    pub(super) fn went(&self, id: SessionId, mailbox: &Arc<Mailbox>) {
        if mailbox.rooms().is_none_or(Memberships::is_empty) {
            return;
        }
        self.lost().push_back(Lost {
            fades: Instant::now() + self.plan.presence_grace,
            id,
            mailbox: Arc::clone(mailbox),
        });
        self.stirred.notify_one();
    }

    /// The members whose clients have been lost for long are not seen any more.
    fn fade_lost(&self) {
        let now = Instant::now();
        while let Some(lost) = self.next_lost(now) {
            if let Some(mine) = lost.mailbox.rooms() {
                mine.fade(self, &lost);
            }
        }
    }

    fn next_lost(&self, now: Instant) -> Option<Lost> {
        let mut lost = self.lost();
        lost.front().filter(|lost| lost.fades <= now)?;
        lost.pop_front()
    }

    fn tell_changes(&self) {
        let mut changed = self.changed.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = std::mem::take(&mut *changed);
        for room in changed {
            room.lock().tell_change(&room.name);
        }
    }

    /// Forgets what is too old or too much. No room may be locked by who calls this.
    fn forget(&self) {
        let Some(history) = &self.plan.history else {
            return;
        };
        let now = Instant::now();
        while let Some(due) = self.kept.due(history, now) {
            let mut inner = due.room.lock();
            self.kept.forget(&due, &mut inner);
            self.close_if_idle(&due.room, &mut inner);
        }
    }

    /// Who is in a room, as of now; `None`: there is no such room.
    pub(crate) fn look(&self, name: &str) -> Option<Seen> {
        self.with(name, false, |_, inner| inner.look())
    }

    /// What there is to tell of a room; `None`: there is no such room.
    pub(crate) fn state(&self, name: &str) -> Option<RoomState> {
        self.with(name, false, |room, inner| inner.state(room))
    }

    /// The same of up to `most` rooms, in the order of their names, behind this name.
    pub(crate) fn page(&self, after: &str, most: usize) -> Vec<RoomState> {
        let mut names: Vec<Arc<str>> = Vec::new();
        for shard in 0..SHARDS {
            let rooms = self.rooms.lock_at(shard);
            names.extend(rooms.keys().filter(|name| ***name > *after).map(Arc::clone));
            drop(rooms);
            // So many are never more than twice a page.
            if names.len() > most {
                names.sort_unstable();
                names.truncate(most);
            }
        }
        names.sort_unstable();
        names.truncate(most);
        names.iter().filter_map(|name| self.state(name)).collect()
    }
}

impl Epochs {
    fn next(&self) -> Epoch {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        Epoch(self.seed.hash_one(count))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{:016x}", self.0)
    }
}

/// The text is none of ours, which is the same to who asks as one of a room that is gone.
#[derive(Debug)]
pub(crate) struct NoEpoch;

impl FromStr for Epoch {
    type Err = NoEpoch;

    fn from_str(text: &str) -> Result<Self, NoEpoch> {
        let digits = text.strip_prefix('e').filter(|digits| digits.len() == 16);
        let number = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or(NoEpoch)
    }
}
