//! The cheap remote control to one session, and what others see of it.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use atomic_waker::AtomicWaker;

use super::clock::Clock;
use super::facts::Facts;
use super::id::{ConnectionId, SessionId};
use super::lifetime::Expiry;
use super::{Cause, Ending, Initiator};
use crate::auth::Identity;
use crate::config::plan::OnExpiry;
use crate::metrics::microseconds;
use crate::route::Target;

/// A deadline that never comes.
pub(crate) const NEVER: u32 = u32::MAX;

/// What a session shares with those who watch it.
#[derive(Debug)]
pub(crate) struct Handle {
    /// When the session wants to be woken.
    deadline: AtomicU32,
    /// What the session is told: a `Cause` or nothing (0), and beside it `OVERDUE`.
    order: AtomicU8,
    /// `UNTOLD`, `SUCCEEDED` and `FINAL`, what few of them are.
    marks: AtomicU8,
    /// Why it will have to end soon, a `Cause` that its client was not told yet, or nothing (0).
    notice: AtomicU8,
    /// Something is under way in it that is worth to be waited for.
    is_busy: AtomicBool,
    /// Why it has begun to end, a `Cause`, whose doing that was, an `Initiator`, and before them the
    /// close code; or nothing (0).
    ended: AtomicU32,
    waker: AtomicWaker,
    pub(crate) id: SessionId,
    pub(crate) facts: Facts,
    /// When the token that it goes on by ends.
    expiry: Expiry,
    /// When it was opened, in milliseconds since 1970.
    opened: u64,
    /// The same by the monotonic clock, in [`microseconds`].
    stamp: u64,
    /// The same by its worker's clock.
    begun: u32,
    /// When something passed last, by the same clock.
    moved: AtomicU32,
    /// What passed, by the side that sent it.
    passed: [Passed; 2],
    /// What few of them have.
    rare: OnceLock<Box<Rare>>,
}

/// What others made of a session.
#[derive(Debug, Default)]
struct Rare {
    /// By what token it goes on, where that is not the one that it was opened with.
    renewed: Mutex<Option<Arc<Identity>>>,
    /// What the client is to be told, where somebody says that.
    farewell: OnceLock<Farewell>,
}

/// What one side of a session sent.
#[derive(Debug, Default)]
struct Passed {
    messages: AtomicU64,
    bytes: AtomicU64,
}

/// Messages, and payload bytes.
pub(crate) type Counts = (u64, u64);

/// What a client is told at the end of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Farewell {
    /// What it is said for.
    pub(crate) cause: Cause,
    /// The close code.
    pub(crate) code: u16,
    /// The reason; at most 123 bytes of it are sent.
    pub(crate) reason: Box<str>,
}

/// The order of sessions by their opening; the connection parts those of one microsecond.
pub(crate) type Rank = (u64, ConnectionId);

const fn packed(code: u16, cause: Cause, initiator: Initiator) -> u32 {
    let [high, low] = code.to_be_bytes();
    u32::from_be_bytes([high, low, cause as u8, initiator as u8])
}

const OVERDUE: u8 = 1 << 7;

/// Nobody was told that it opened, nor will be told that it closed.
const UNTOLD: u8 = 1;
/// Another session goes on in its place.
const SUCCEEDED: u8 = 1 << 1;
/// Nobody may go on with what it leaves.
const FINAL: u8 = 1 << 2;

/// What a session is told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Orders {
    /// Close both legs for this cause.
    pub(crate) end: Option<Cause>,
    /// The session's own deadline has passed.
    pub(crate) overdue: bool,
}

impl Handle {
    /// A session that is opened now, by its worker's clock, without a deadline;
    /// `standing` is the order that all were given.
    pub(super) fn new(id: SessionId, facts: Facts, clock: &Clock, standing: u8) -> Self {
        let (wall, now) = (SystemTime::now(), clock.now());
        let opened = wall.duration_since(UNIX_EPOCH);
        let opened = opened.unwrap_or_default().as_millis();
        let expiry = Expiry::never();
        let identity = facts.identity();
        let expires = identity.and_then(|one| one.expires());
        expiry.set(expires, wall, clock, grace(&facts));
        Self {
            deadline: AtomicU32::new(NEVER),
            order: AtomicU8::new(standing),
            marks: AtomicU8::new(0),
            notice: AtomicU8::new(0),
            is_busy: AtomicBool::new(false),
            ended: AtomicU32::new(0),
            waker: AtomicWaker::new(),
            id,
            facts,
            expiry,
            opened: u64::try_from(opened).unwrap_or(u64::MAX),
            stamp: microseconds(),
            begun: now,
            moved: AtomicU32::new(now),
            passed: [Passed::default(), Passed::default()],
            rare: OnceLock::new(),
        }
    }

    /// Asks to be told that it is [`Orders::overdue`] at the first tick of the clock at or after
    /// `time`, in place of what was asked for before. Once it is told the deadline is [`NEVER`].
    pub(crate) fn set_deadline(&self, time: u32) {
        self.deadline.store(time, Ordering::Relaxed);
    }

    /// The same for a time that is before what was asked for.
    pub(crate) fn bring_forward(&self, time: u32) {
        if time < self.deadline.load(Ordering::Relaxed) {
            self.deadline.fetch_min(time, Ordering::Relaxed);
        }
    }

    /// Who is woken by an order.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// Takes the orders that were given, if any.
    pub(crate) fn take_orders(&self) -> Orders {
        if self.order.load(Ordering::Relaxed) == 0 {
            return Orders::default();
        }
        let orders = self.order.swap(0, Ordering::Acquire);
        Orders {
            end: Cause::from_byte(orders & !OVERDUE),
            overdue: orders & OVERDUE != 0,
        }
    }

    /// Shows where the session is. Its own thread alone writes this, and nobody waits for it, so
    /// that a few plain stores for each turn of the relay are all that it costs.
    pub(crate) fn publish(&self, moved: u32, counts: [Counts; 2], ended: Option<Ending>) {
        self.moved.store(moved, Ordering::Relaxed);
        for (passed, (messages, bytes)) in self.passed.iter().zip(counts) {
            passed.messages.store(messages, Ordering::Relaxed);
            passed.bytes.store(bytes, Ordering::Relaxed);
        }
        self.publish_end(ended);
    }

    /// So much has passed from a side, as whatever thread tells.
    pub(crate) fn passed(&self, side: usize, messages: u64, bytes: u64) {
        if let Some(passed) = self.passed.get(side) {
            passed.messages.fetch_add(messages, Ordering::Relaxed);
            passed.bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// Something passes now.
    pub(crate) fn note_moved(&self, now: u32) {
        self.moved.store(now, Ordering::Relaxed);
    }

    /// When something passed last.
    pub(crate) fn moved(&self) -> u32 {
        self.moved.load(Ordering::Relaxed)
    }

    /// Shows how it ends, once it does.
    pub(crate) fn publish_end(&self, ended: Option<Ending>) {
        let ended = ended.map_or(0, |one| packed(one.to_client, one.cause, one.initiator));
        self.ended.store(ended, Ordering::Relaxed);
    }

    /// Shows how it has ended, in the words of the metrics.
    pub(crate) fn publish_closed(&self, (code, cause, initiator): (u16, Cause, Initiator)) {
        self.ended
            .store(packed(code, cause, initiator), Ordering::Relaxed);
    }

    /// How it ends: with which code, why, and whose doing that was; `None`: it does not.
    pub(crate) fn end(&self) -> Option<(u16, Cause, Initiator)> {
        let [high, low, cause, initiator] = self.ended.load(Ordering::Relaxed).to_be_bytes();
        let (cause, initiator) = Cause::from_byte(cause).zip(Initiator::from_byte(initiator))?;
        Some((u16::from_be_bytes([high, low]), cause, initiator))
    }

    /// How long it has been open.
    pub(crate) fn lasted(&self) -> Duration {
        Duration::from_micros(microseconds().saturating_sub(self.stamp))
    }

    /// Where it stands among all sessions, those that opened before it first.
    pub(crate) const fn rank(&self) -> Rank {
        (self.stamp, self.id.connection())
    }

    /// Whether others are told of its opening and of its end.
    pub(crate) fn set_told(&self, is_told: bool) {
        match is_told {
            true => self.marks.fetch_and(!UNTOLD, Ordering::Relaxed),
            false => self.marks.fetch_or(UNTOLD, Ordering::Relaxed),
        };
    }

    /// The same.
    pub(crate) fn is_told(&self) -> bool {
        self.marks.load(Ordering::Relaxed) & UNTOLD == 0
    }

    /// What the client and the upstream sent, as of a moment ago.
    pub(crate) fn counts(&self) -> [Counts; 2] {
        [&self.passed[0], &self.passed[1]].map(|passed| {
            let messages = passed.messages.load(Ordering::Relaxed);
            (messages, passed.bytes.load(Ordering::Relaxed))
        })
    }

    /// When it was opened.
    pub(crate) fn opened(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_millis(self.opened)
    }

    /// Seconds since it was opened, and since something passed, by its worker's clock.
    pub(crate) fn ages(&self, clock: &Clock) -> (u32, u32) {
        let now = clock.now();
        let since = |time: u32| now.saturating_sub(time);
        (since(self.begun), since(self.moved.load(Ordering::Relaxed)))
    }

    /// Whether it has begun to end.
    pub(crate) fn is_closing(&self) -> bool {
        self.ended.load(Ordering::Relaxed) != 0
    }

    /// Why it has begun to end, and whose doing that was.
    pub(crate) fn ended(&self) -> Option<(Cause, Initiator)> {
        self.end().map(|(_, cause, initiator)| (cause, initiator))
    }

    /// How it ends for `cause`, where none of its peers is to blame.
    pub(crate) fn ending(&self, cause: Cause) -> Ending {
        match self.facts.target() {
            Target::Bridge(_) | Target::Handler(_) => Ending::of_handler(cause),
            Target::Proxy(_) => Ending::of(cause),
        }
    }

    /// Ends it for an admin, who may say with what code and what reason. The first farewell counts.
    pub(crate) fn dismiss(&self, code: Option<u16>, reason: Option<Box<str>>) {
        let code = code.unwrap_or_else(|| self.ending(Cause::Admin).to_client);
        let reason = reason.unwrap_or_else(|| Cause::Admin.label().into());
        self.send_away(Cause::Admin, code, reason);
    }

    /// Ends it for `cause`, and says that with this code and this reason. The first farewell counts.
    pub(crate) fn send_away(&self, cause: Cause, code: u16, reason: Box<str>) {
        let farewell = Farewell {
            cause,
            code,
            reason,
        };
        let _first = self.rare().farewell.set(farewell);
        self.order(cause);
    }

    /// What the client is to be told where it ends for `cause`, if somebody says that.
    pub(crate) fn farewell(&self, cause: Cause) -> Option<&Farewell> {
        let farewell = self.rare.get().and_then(|rare| rare.farewell.get());
        farewell.filter(|farewell| farewell.cause == cause)
    }

    fn rare(&self) -> &Rare {
        self.rare.get_or_init(Box::default)
    }

    /// Who opened it, by the token that it goes on by now.
    pub(crate) fn identity(&self) -> Option<Arc<Identity>> {
        let renewed = self.rare.get().and_then(|rare| {
            let renewed = rare.renewed.lock();
            renewed.unwrap_or_else(PoisonError::into_inner).clone()
        });
        renewed.or_else(|| self.facts.identity().map(Arc::clone))
    }

    /// From now on it goes on by the token of `identity`, which is of the user who opened it; where
    /// that was not known, it is now, and that is told.
    pub(crate) fn renew(&self, identity: &Arc<Identity>, clock: &Clock) -> bool {
        let is_new = self.facts.identify(identity);
        if !is_new {
            let renewed = self.rare().renewed.lock();
            *renewed.unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(identity));
        }
        self.expiry.set(
            identity.expires(),
            SystemTime::now(),
            clock,
            grace(&self.facts),
        );
        is_new
    }

    /// Whether somebody should look whether its token has ended.
    pub(super) fn may_expire(&self, now: u32) -> bool {
        self.expiry.is_due(now)
    }

    /// Ends it where its token has ended, unless its route keeps it. It is looked at once.
    pub(super) fn expire(&self, now: u32, wall: SystemTime) {
        if self.facts.tokens().on_expiry == OnExpiry::Keep {
            return self.expiry.clear();
        }
        let expires = self.identity().and_then(|identity| identity.expires());
        if self.expiry.judge(expires, now, wall) {
            self.expiry.clear();
            self.order(Cause::TokenExpired);
        }
    }

    /// Whether the deadline has passed.
    pub(super) fn is_due(&self, now: u32) -> bool {
        now >= self.deadline.load(Ordering::Relaxed)
    }

    /// It will have to end for `cause` soon. Those whose clients cannot be told take no notice.
    pub(crate) fn give_notice(&self, cause: Cause) {
        self.notice.store(cause as u8, Ordering::Release);
        self.waker.wake();
    }

    /// The same, once.
    pub(crate) fn take_notice(&self) -> Option<Cause> {
        if self.notice.load(Ordering::Relaxed) == 0 {
            return None;
        }
        Cause::from_byte(self.notice.swap(0, Ordering::Acquire))
    }

    /// Whether it was given notice and has not taken it.
    pub(crate) fn has_notice(&self) -> bool {
        self.notice.load(Ordering::Relaxed) != 0
    }

    /// Whether something would be lost if it ended now.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::Relaxed);
    }

    /// The same.
    pub(crate) fn is_busy(&self) -> bool {
        self.is_busy.load(Ordering::Relaxed)
    }

    /// Another session goes on in its place: its user is not gone with it.
    pub(crate) fn set_succeeded(&self) {
        self.marks.fetch_or(SUCCEEDED, Ordering::Relaxed);
    }

    /// The same.
    pub(crate) fn is_succeeded(&self) -> bool {
        self.marks.load(Ordering::Relaxed) & SUCCEEDED != 0
    }

    /// The deadline has passed.
    pub(super) fn overdue(&self) {
        self.set_deadline(NEVER);
        self.order.fetch_or(OVERDUE, Ordering::AcqRel);
        self.waker.wake();
    }

    /// Whether it was ordered to end for good, whatever it ends for.
    pub(crate) fn is_final(&self) -> bool {
        self.marks.load(Ordering::Acquire) & FINAL != 0
    }

    /// The first order counts; one that is final counts besides.
    pub(crate) fn order(&self, cause: Cause) {
        if cause.is_final() {
            self.marks.fetch_or(FINAL, Ordering::Release);
        }
        let with = |orders: u8| (orders & !OVERDUE == 0).then_some(orders | cause as u8);
        let _before = self
            .order
            .fetch_update(Ordering::AcqRel, Ordering::Relaxed, with);
        self.waker.wake();
    }
}

/// Seconds by which a session may say that its token has ended, and end by itself.
fn grace(facts: &Facts) -> u32 {
    u32::from(matches!(facts.target(), Target::Bridge(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each idle session, and its texts beside it.
    #[test]
    fn a_handle_is_small() {
        let size = size_of::<Handle>();
        assert!(size <= 232, "{size} bytes");
    }
}
