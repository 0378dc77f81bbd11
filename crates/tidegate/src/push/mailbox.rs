//! One session's mailbox: what waits to be sent to its client, and what was sent and may have to be sent
//! again. Whoever leaves something never waits, and what it holds is bounded by bytes.
//!
//! Each push has the session's next number, `seq`, when it is left here, so that a client sees a hole
//! where something was thrown away. What was sent is kept until the client says that it has it, within
//! bounds; up to which `seq` something was lost so is remembered.
//!
//! It outlives the socket that it is emptied into: see `resume`.

mod charge;
mod filling;
mod notices;
mod queue;
mod replay;
pub(super) mod resume;

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use tidegate_ws::Message;
use tokio::time::Instant;

use self::charge::Charge;
pub(super) use self::charge::Held;
use self::queue::{Ack, Item, Queue};
use self::resume::Digest;
use super::cursor::Cursors;
use super::parcel::Parcel;
use super::rooms::Memberships;
use crate::auth::Identity;
use crate::bus::{EventId, Position};
use crate::config::plan::{BridgePlan, SlowConsumer};
use crate::session::Cause;
use crate::session::handle::Handle;
use crate::session::id::SessionId;

/// Where pushes for one session are left.
#[derive(Debug)]
pub(crate) struct Mailbox {
    /// Whose it is, once that is known.
    identity: OnceLock<Arc<Identity>>,
    plan: Arc<BridgePlan>,
    is_version_1: bool,
    inner: Mutex<Inner>,
    /// What its session is a member of, and stays one of while it is suspended.
    rooms: OnceLock<Box<Memberships>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// The session that it belongs to now.
    seat: Option<Arc<Handle>>,
    /// What that is called, or was called.
    id: Option<SessionId>,
    /// Of what its client shows who comes back to it; `None`: nobody can.
    token: Option<Digest>,
    /// Who sends what waits, where it has found nothing.
    waker: Option<Waker>,
    /// The number that was given last.
    seq: u64,
    /// The number that was sent last to the session that it belongs to.
    sent: u64,
    /// Up to here its client has all that was not lost.
    acked: u64,
    /// Up to here something was thrown away that its client may not have.
    lost: u64,
    waiting: Queue,
    /// What few have.
    rare: Option<Box<Rare>>,
    /// Sent at least once; it comes before what waits.
    unacked: Queue,
    /// Nothing more is sent: its client was too slow, or the session is over.
    is_over: bool,
}

/// What few mailboxes have.
#[derive(Debug, Default)]
struct Rare {
    /// What has no number and is not kept, and its bytes; it is sent first. All who get such a frame
    /// share it.
    notices: VecDeque<Message>,
    bytes: usize,
    /// What was left here at once.
    replayed: Option<Replayed>,
    /// Who has its session now, in its place.
    successor: Option<Arc<Mailbox>>,
    /// What it is charged for while nobody is there.
    charge: Option<Charge>,
}

/// What its client had missed elsewhere.
#[derive(Debug)]
struct Replayed {
    /// All that stands in its user's history up to here.
    end: Position,
    /// The same by name: what was published again, or is told to several, comes by another way as well.
    ids: HashSet<EventId>,
}

/// What became of a push that was left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offered {
    /// It will be sent.
    Queued,
    /// The same, in place of one with the same key.
    Replaced,
    /// The same, and older ones are thrown away for it.
    DroppedOldest,
    /// There is no room: the session is ended for it.
    Overflowed,
    /// The session ends.
    Closing,
    /// It is kept for a client that is not there.
    Kept,
}

impl Offered {
    /// Whether it will be sent to a client that is there.
    pub(super) const fn is_on_its_way(self) -> bool {
        match self {
            Self::Queued | Self::Replaced | Self::DroppedOldest => true,
            Self::Overflowed | Self::Closing | Self::Kept => false,
        }
    }
}

/// What there is to do for a session with its mailbox.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Something is to be sent.
    Send,
    /// Nothing any more: another session has it.
    TakenOver,
}

/// What is to be sent.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) frame: Message,
    /// When its event happened; `None`: it is none of a publisher's.
    pub(crate) begun: Option<Instant>,
}

impl Mailbox {
    /// An empty one, for a session that is not open yet.
    pub(crate) fn new(plan: Arc<BridgePlan>, is_version_1: bool) -> Self {
        Self {
            identity: OnceLock::new(),
            plan,
            is_version_1,
            inner: Mutex::default(),
            rooms: OnceLock::new(),
        }
    }

    /// What its session is a member of; `None`: of nothing so far.
    pub(super) fn rooms(&self) -> Option<&Memberships> {
        self.rooms.get().map(|rooms| &**rooms)
    }

    /// The same, to become one.
    pub(super) fn rooms_to_enter(&self) -> &Memberships {
        self.rooms.get_or_init(Box::default)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether its client speaks version 1 of the bridge's protocol.
    pub(crate) const fn is_version_1(&self) -> bool {
        self.is_version_1
    }

    /// Whose it is, where that is known.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.get()
    }

    /// It is theirs from now on; whether it was nobody's, and belongs to a session.
    pub(super) fn identify(&self, identity: &Arc<Identity>) -> bool {
        let is_new = self.identity.set(Arc::clone(identity)).is_ok();
        is_new && self.lock().seat.is_some()
    }

    /// It belongs to this session from now on.
    pub(super) fn attach(&self, handle: &Arc<Handle>) {
        let mut inner = self.lock();
        inner.id = Some(handle.id);
        inner.seat = Some(Arc::clone(handle));
    }

    /// The session that it belongs to now.
    pub(super) fn handle(&self) -> Option<Arc<Handle>> {
        self.lock().seat.clone()
    }

    /// It belongs to no session any more; to which it did.
    pub(super) fn detach(&self) -> Option<SessionId> {
        let mut inner = self.lock();
        inner.is_over = true;
        inner.waker = None;
        inner.token = None;
        inner.seat = None;
        inner.rare = None;
        inner.id.take()
    }

    /// Leaves `parcel`.
    pub(super) fn offer(&self, parcel: &Arc<Parcel>) -> Offered {
        let mut inner = self.lock();
        if inner.has_replayed(parcel) {
            return Offered::Queued;
        }
        if inner.is_over {
            let rare = inner.rare.as_ref();
            let successor = rare.and_then(|rare| rare.successor.clone());
            if let Some(next) = successor.filter(|_| parcel.is_for_sessions()) {
                drop(inner);
                return next.offer(parcel);
            }
            let is_suspended = inner.seat.is_none() && inner.id.is_some();
            self.keep(&mut inner, parcel);
            return if is_suspended {
                Offered::Kept
            } else {
                Offered::Closing
            };
        }
        let mut offered = Offered::Queued;
        if self.plan.push.slow_consumer == SlowConsumer::Conflate
            && inner.waiting.forget_for(parcel)
        {
            offered = Offered::Replaced;
        }
        while inner.waiting.is_late_for(parcel, &self.plan.push) {
            if self.plan.push.slow_consumer != SlowConsumer::DropOldest {
                inner.is_over = true;
                self.keep(&mut inner, parcel);
                if let Some(handle) = &inner.seat {
                    handle.order(Cause::SlowConsumer);
                }
                return Offered::Overflowed;
            }
            inner.drop_waiting();
            offered = Offered::DroppedOldest;
        }
        inner.add(parcel, self.is_version_1);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        offered
    }

    /// Leaves all of `parcels`, or, where there is no room for so many, none; whether it did.
    pub(super) fn offer_all<'a>(
        &self,
        parcels: impl Iterator<Item = &'a Arc<Parcel>> + Clone,
    ) -> bool {
        let mut inner = self.lock();
        let bytes = inner.waiting.bytes() + parcels.clone().map(|one| one.size()).sum::<usize>();
        if inner.is_over || bytes as u64 > self.plan.push.outbox {
            return false;
        }
        for parcel in parcels {
            inner.add(parcel, self.is_version_1);
        }
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    /// Nothing is sent any more. What its client could be sent again is kept, within bounds.
    fn keep(&self, inner: &mut Inner, parcel: &Arc<Parcel>) {
        if !self.is_version_1 {
            inner.waiting = Queue::default();
            return;
        }
        if parcel.is_kept() {
            // Nobody waits for word from a client that is not there.
            let is_open = inner.seat.is_some();
            inner.add(parcel, is_open);
            self.trim(inner);
            inner.charge();
        }
    }

    /// Throws away what is more than may be kept.
    fn trim(&self, inner: &mut Inner) {
        let buffer = &self.plan.push.buffer;
        while inner.unacked.len() + inner.waiting.len() > buffer.messages
            || (inner.unacked.bytes() + inner.waiting.bytes()) as u64 > buffer.bytes
        {
            inner.drop_oldest();
        }
    }

    /// Ready when there is something to do for session `seat`; else who polls is woken once there is.
    pub(crate) fn poll_turn(&self, seat: SessionId, cx: &Context<'_>) -> Poll<Turn> {
        let mut inner = self.lock();
        if !inner.is_of(seat) {
            return Poll::Ready(Turn::TakenOver);
        }
        let is_empty = inner.waiting.is_empty() && !inner.has_notice();
        if !inner.is_over && (!is_empty || inner.has_unsent()) {
            return Poll::Ready(Turn::Send);
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// The next for session `seat`, which is taken to be sent now, with such a cursor if it has one.
    pub(crate) fn take(&self, seat: SessionId, cursors: Option<&Cursors>) -> Option<Taken> {
        let user = self.identity().map(|one| one.user());
        let reader = cursors.zip(user);
        let mut inner = self.lock();
        if inner.is_over || !inner.is_of(seat) {
            return None;
        }
        if let Some((seq, parcel)) = inner.next_again() {
            drop(inner);
            return Some(Taken {
                frame: parcel.version_1(seq, reader),
                begun: None,
            });
        }
        if let Some(frame) = inner.take_notice() {
            return Some(Taken { frame, begun: None });
        }
        let mut item = inner.waiting.pop()?;
        let (seq, parcel, begun) = (item.seq, Arc::clone(&item.parcel), item.parcel.begun);
        inner.sent = seq;
        if self.is_version_1 && parcel.is_held() {
            item.since = Instant::now();
            inner.unacked.push(item);
            self.bound(&mut inner);
        }
        drop(inner);
        let frame = match self.is_version_1 {
            true => parcel.version_1(seq, reader),
            false => parcel.legacy(user),
        };
        Some(Taken {
            frame,
            begun: Some(begun),
        })
    }

    /// Its client has everything up to `seq`, of what was sent to it: what it says beyond that is of
    /// another session, or invented.
    pub(crate) fn ack(&self, seq: u64) {
        let mut inner = self.lock();
        let seq = seq.min(inner.sent);
        inner.has_all_up_to(seq);
    }

    /// Something for it may not have come.
    pub(super) fn miss(&self) {
        let mut inner = self.lock();
        inner.seq += 1;
        inner.lost = inner.seq;
    }

    /// The number that was given last, and up to which something was thrown away.
    pub(super) fn given_and_lost(&self) -> (u64, u64) {
        let inner = self.lock();
        (inner.seq, inner.lost)
    }

    /// Lets go of what was sent so long ago that nobody will ask for it.
    pub(crate) fn forget_old(&self) {
        self.bound(&mut self.lock());
    }

    fn bound(&self, inner: &mut Inner) {
        let buffer = &self.plan.push.buffer;
        while let Some(oldest) = inner.unacked.front() {
            // What is still to be sent again is spared: its client was told that it comes.
            let is_within = oldest.seq > inner.sent
                || inner.unacked.len() <= buffer.messages
                    && inner.unacked.bytes() as u64 <= buffer.bytes
                    && oldest.since.elapsed() <= buffer.age;
            if is_within {
                break;
            }
            inner.drop_oldest();
        }
    }
}

#[cfg(test)]
impl Mailbox {
    /// How many it holds.
    pub(super) fn held(&self) -> usize {
        let inner = self.lock();
        inner.waiting.len() + inner.unacked.len()
    }
}

impl Rare {
    fn is_nothing(&self) -> bool {
        let is_plain = self.replayed.is_none() && self.successor.is_none();
        is_plain && self.notices.is_empty() && self.charge.is_none()
    }
}

impl Inner {
    /// Its client has everything up to `seq`.
    fn has_all_up_to(&mut self, seq: u64) {
        self.acked = self.acked.max(seq.min(self.seq));
        while let Some(mut item) = self.unacked.pop_up_to(seq) {
            if item.ack == Ack::Open {
                item.ack = Ack::Acked;
            }
        }
    }

    fn is_of(&self, seat: SessionId) -> bool {
        self.id.is_none_or(|id| id == seat)
    }

    /// Whether something is to be sent again.
    fn has_unsent(&self) -> bool {
        let last = self.unacked.back();
        last.is_some_and(|item| item.seq > self.sent)
    }

    /// The next that is sent again.
    fn next_again(&mut self) -> Option<(u64, Arc<Parcel>)> {
        if !self.has_unsent() {
            return None;
        }
        let sent = self.sent;
        let item = self.unacked.behind(sent)?;
        item.since = Instant::now();
        self.sent = item.seq;
        Some((item.seq, Arc::clone(&item.parcel)))
    }

    fn add(&mut self, parcel: &Arc<Parcel>, is_version_1: bool) {
        let tracked = parcel.acks.as_ref().filter(|_| is_version_1);
        if let Some(acks) = tracked {
            acks.expect();
        }
        self.seq += 1;
        let item = Item {
            seq: self.seq,
            parcel: Arc::clone(parcel),
            since: parcel.made,
            ack: match tracked {
                Some(_) => Ack::Open,
                None => Ack::Untold,
            },
        };
        self.waiting.push(item);
    }

    /// Charges it for what it holds now, where it is charged at all.
    fn charge(&mut self) {
        let bytes = self.unacked.bytes() + self.waiting.bytes();
        let rare = self.rare.as_mut();
        if let Some(charge) = rare.and_then(|rare| rare.charge.as_mut()) {
            charge.set(bytes);
        }
    }

    /// Throws the oldest away, sent or not.
    fn drop_oldest(&mut self) {
        match self.unacked.pop() {
            Some(item) => self.lost = self.lost.max(item.seq),
            None => self.drop_waiting(),
        }
    }

    /// Throws the oldest away that waits.
    fn drop_waiting(&mut self) {
        if let Some(item) = self.waiting.pop() {
            self.lost = self.lost.max(item.seq);
        }
    }
}
