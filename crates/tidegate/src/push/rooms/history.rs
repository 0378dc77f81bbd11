//! What is kept of the pushes of rooms, for those who come back: bounded in each room by count and age,
//! and over all rooms by bytes. The oldest is forgotten first, whichever room it is of.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::room::{Inner, Room};
use crate::config::plan::RoomHistory;
use crate::push::mailbox::Mailbox;
use crate::push::parcel::Parcel;

/// The most rooms that are there only because somebody has left them lately.
const MOST_LEFT: usize = 16_384;
/// About what a room takes that holds nothing.
const ROOM: usize = 512;

/// What is kept of one room.
#[derive(Debug, Default)]
pub(super) struct Past {
    pushes: VecDeque<Told>,
    /// Where the room stands among those that somebody has left lately.
    left: Option<u64>,
    /// The last number that stands for what may have been missed.
    missed: u64,
}

/// A push that was told.
#[derive(Debug)]
struct Told {
    /// Its number in the room.
    seq: u64,
    /// Where it stands among all that are kept.
    place: u64,
    since: Instant,
    parcel: Arc<Parcel>,
}

/// What is kept of all rooms. Its lock is taken last.
#[derive(Debug, Default)]
pub(super) struct Kept(Mutex<Order>);

/// Rooms in the order of something that happened in them.
type Rooms = BTreeMap<u64, (Instant, Arc<Room>)>;

#[derive(Debug, Default)]
struct Order {
    /// The place that was given last.
    place: u64,
    /// Of pushes.
    bytes: usize,
    /// Each room that has pushes, by the place of its oldest.
    pushed: Rooms,
    /// Each room that its last member has left lately.
    left: Rooms,
}

/// What is forgotten next.
#[derive(Debug, Clone)]
pub(super) struct Due {
    place: u64,
    pub(super) room: Arc<Room>,
}

impl Past {
    pub(super) fn len(&self) -> usize {
        self.pushes.len()
    }

    /// What has that number may have been missed.
    pub(super) const fn miss(&mut self, seq: u64) {
        self.missed = seq;
    }

    /// Whether it holds no room.
    pub(super) fn is_nothing(&self) -> bool {
        self.pushes.is_empty() && self.left.is_none()
    }

    /// Offers what came behind `since`, of a room that has come to `seq`; whether all of that was
    /// there and found its place.
    pub(super) fn offer(&self, since: u64, seq: u64, mailbox: &Mailbox) -> bool {
        if since == seq {
            return true;
        }
        if since < self.missed {
            return false;
        }
        let Some(first) = self.pushes.front() else {
            return false;
        };
        if first.seq > since + 1 {
            return false;
        }
        let behind = self.pushes.iter().filter(|told| told.seq > since);
        mailbox.offer_all(behind.map(|told| &told.parcel))
    }
}

impl Kept {
    fn lock(&self) -> MutexGuard<'_, Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_empty(&self) -> bool {
        let order = self.lock();
        order.pushed.is_empty() && order.left.is_empty()
    }

    /// Keeps a push, which is the last of its room.
    pub(super) fn keep(
        &self,
        room: &Arc<Room>,
        inner: &mut Inner,
        parcel: &Arc<Parcel>,
        plan: &RoomHistory,
    ) {
        let mut order = self.lock();
        let told = Told {
            seq: inner.seq,
            place: order.next(),
            since: Instant::now(),
            parcel: Arc::clone(parcel),
        };
        order.bytes += size(&told);
        if inner.past.pushes.is_empty() {
            order.enter(&told, room);
        }
        inner.past.pushes.push_back(told);
        while inner.past.len() > plan.messages {
            order.forget_push(room, &mut inner.past);
        }
    }

    /// The last member of a room has left it.
    pub(super) fn left(&self, room: &Arc<Room>, inner: &mut Inner) {
        let mut order = self.lock();
        let place = order.next();
        order.left.insert(place, (Instant::now(), Arc::clone(room)));
        inner.past.left = Some(place);
    }

    /// Somebody has come to a room.
    pub(super) fn came_back(&self, inner: &mut Inner) {
        if let Some(place) = inner.past.left.take() {
            self.lock().left.remove(&place);
        }
    }

    /// What is too old, or too much.
    pub(super) fn due(&self, plan: &RoomHistory, now: Instant) -> Option<Due> {
        let order = self.lock();
        let first = |rooms: &Rooms, is_too_much: bool| {
            let (place, (since, room)) = rooms.first_key_value()?;
            let is_old = now.saturating_duration_since(*since) >= plan.age;
            (is_old || is_too_much).then(|| Due {
                place: *place,
                room: Arc::clone(room),
            })
        };
        let is_too_much = order.bytes as u64 > plan.memory;
        first(&order.pushed, is_too_much)
            .or_else(|| first(&order.left, order.left.len() > MOST_LEFT))
    }

    /// Forgets that, unless something has changed in its room since.
    pub(super) fn forget(&self, due: &Due, inner: &mut Inner) {
        let mut order = self.lock();
        let past = &mut inner.past;
        if past.left == Some(due.place) {
            past.left = None;
            order.left.remove(&due.place);
        }
        if past
            .pushes
            .front()
            .is_some_and(|told| told.place == due.place)
        {
            order.forget_push(&due.room, past);
        }
    }
}

/// What a push is charged for, in bytes: what is held of it, in its two shapes at most, and of its room.
fn size(told: &Told) -> usize {
    2 * told.parcel.size() + ROOM
}

impl Order {
    fn next(&mut self) -> u64 {
        self.place += 1;
        self.place
    }

    fn enter(&mut self, told: &Told, room: &Arc<Room>) {
        self.pushed
            .insert(told.place, (told.since, Arc::clone(room)));
    }

    /// Forgets the oldest push of a room.
    fn forget_push(&mut self, room: &Arc<Room>, past: &mut Past) {
        let Some(told) = past.pushes.pop_front() else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(size(&told));
        self.pushed.remove(&told.place);
        match past.pushes.front() {
            Some(next) => self.enter(next, room),
            None => past.pushes = VecDeque::new(),
        }
    }
}
