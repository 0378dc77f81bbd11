//! A mailbox between two sockets of one client: it goes on to collect while nobody is there, and a
//! session that shows its token has it from then on.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::charge::{Charge, Held};
use super::{Inner, Mailbox};
use crate::push::parcel::Parcel;
use crate::session::Cause;
use crate::session::handle::Handle;
use crate::session::id::SessionId;

const PREFIX: &str = "r_";

/// Half of the SHA-256 of a token: as much as the token itself has.
#[derive(Clone, Copy)]
pub(super) struct Digest([u8; 16]);

impl Digest {
    fn of(token: &str) -> Self {
        let whole = digest(&SHA256, token.as_bytes());
        let mut half = [0; 16];
        for (to, from) in half.iter_mut().zip(whole.as_ref()) {
            *to = *from;
        }
        Self(half)
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Digest(..)")
    }
}

/// What becomes of a mailbox whose session has ended.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::push) enum Left {
    /// Another session has it.
    TakenOver,
    /// Nobody comes back to it.
    Over,
    /// It is kept for that long.
    Kept(SessionId, Duration),
}

/// Who comes back to a mailbox.
pub(in crate::push) struct Returning<'a> {
    /// What it shows.
    pub(in crate::push) token: &'a str,
    /// The last push that it has.
    pub(in crate::push) seq: u64,
    /// What it has in the meantime.
    pub(in crate::push) fresh: &'a Mailbox,
    /// Its session.
    pub(in crate::push) handle: &'a Arc<Handle>,
}

impl Cause {
    /// Whether a session that ended for it, with that code, can be resumed: nobody wanted it to be over.
    const fn leaves_hope(self, code: u16) -> bool {
        match self {
            // Whoever closes so is done.
            Self::ClientClose => !matches!(code, 1000 | 1005),
            Self::Admin | Self::AuthFailed | Self::TokenExpired | Self::TokenRevoked => false,
            Self::ClientLost
            | Self::Drain
            | Self::IdleTimeout
            | Self::Internal
            | Self::MaxAge
            | Self::MessageTooBig
            | Self::NodeLost
            | Self::PingTimeout
            | Self::Policy
            | Self::ProtocolError
            | Self::RateLimited
            | Self::Replaced
            | Self::SlowConsumer
            | Self::TooManySessions
            | Self::UpstreamClose
            | Self::UpstreamLost => true,
        }
    }
}

/// Whether the session can be resumed, should it have ended.
fn is_hopeful(handle: &Handle) -> bool {
    let end = handle.end();
    !handle.is_final() && end.is_none_or(|(code, cause, _)| cause.leaves_hope(code))
}

impl Mailbox {
    /// What its client shows to have it again, in place of what it was told before; `None`: that cannot
    /// be.
    pub(crate) fn new_token(&self) -> Option<String> {
        self.plan.resume.filter(|_| self.is_version_1)?;
        let mut bytes = [0; 16];
        SystemRandom::new().fill(&mut bytes).ok()?;
        let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        self.lock().token = Some(Digest::of(&token));
        Some(token)
    }

    /// The number that was given last.
    pub(crate) fn seq(&self) -> u64 {
        self.lock().seq
    }

    /// Session `seat` has ended; `None`: it was nobody's yet. What is kept counts in `held`.
    pub(in crate::push) fn leave(&self, seat: Option<SessionId>, held: &Held) -> Left {
        let mut inner = self.lock();
        let Some(seat) = seat else {
            return Left::Over;
        };
        // Who took it over may be lost as well.
        if inner.id != Some(seat) {
            return Left::TakenOver;
        }
        let Some(handle) = &inner.seat else {
            return Left::Over;
        };
        let hope = self.plan.resume.filter(|_| is_hopeful(handle));
        let Some(time) = hope.filter(|_| inner.token.is_some()) else {
            return Left::Over;
        };
        inner.seat = None;
        inner.waker = None;
        inner.is_over = true;
        inner.waiting.forget_live();
        inner.unacked.forget_live();
        inner.waiting.expect_nothing();
        inner.unacked.expect_nothing();
        self.trim(&mut inner);
        let rare = inner.rare.get_or_insert_default();
        // Who comes back is told anew who is there.
        (rare.notices, rare.bytes) = Default::default();
        rare.charge = Some(Charge::new(held));
        inner.charge();
        Left::Kept(seat, time)
    }

    /// Whether it waits for who left as `id`.
    pub(in crate::push) fn is_forsaken(&self, id: SessionId) -> bool {
        self.lock().waits_for(id)
    }

    /// Whether it has waited in vain for who left as `id`. From then on nobody takes it over.
    pub(in crate::push) fn forsake(&self, id: SessionId) -> bool {
        let mut inner = self.lock();
        let is_forsaken = inner.waits_for(id);
        if is_forsaken {
            inner.token = None;
        }
        is_forsaken
    }

    /// Throws away what it holds for a client that is not there, who is told so when it comes back.
    pub(in crate::push) fn shed(&self) {
        let mut inner = self.lock();
        let charge = inner.rare.as_ref().and_then(|rare| rare.charge.as_ref());
        if charge.is_none_or(|charge| charge.bytes() == 0) {
            return;
        }
        while inner.unacked.len() + inner.waiting.len() > 0 {
            inner.drop_oldest();
        }
        inner.charge();
    }

    /// Whether nobody has come back since session `id` left.
    pub(in crate::push) fn waits_for(&self, id: SessionId) -> bool {
        let inner = self.lock();
        inner.seat.is_none() && inner.id == Some(id)
    }

    /// Belongs to `returning` from now on, who left as `id`; whether nothing is lost of what it has not.
    /// `None`: it does not, and all is as it was.
    pub(in crate::push) fn take_over(
        &self,
        id: SessionId,
        returning: &Returning<'_>,
    ) -> Option<bool> {
        let fresh = returning.fresh;
        let is_same = match (self.identity(), fresh.identity()) {
            (Some(one), Some(other)) => one.is_same(other),
            (None, None) => true,
            _ => false,
        };
        let is_theirs = Arc::ptr_eq(&self.plan, &fresh.plan) && is_same;
        let shown = Digest::of(returning.token);
        let mut inner = self.lock();
        let token = inner.token.filter(|_| inner.id == Some(id) && is_theirs)?;
        verify_slices_are_equal(&token.0, &shown.0).ok()?;
        if inner
            .seat
            .as_ref()
            .is_some_and(|handle| !is_hopeful(handle))
        {
            return None;
        }
        inner.token = None;
        if let Some(before) = &inner.seat {
            before.set_succeeded();
        }
        inner.id = Some(returning.handle.id);
        inner.seat = Some(Arc::clone(returning.handle));
        if let Some(rare) = &mut inner.rare {
            rare.charge = None;
        }
        inner.rare.take_if(|rare| rare.is_nothing());
        if inner.is_over {
            inner.sends_again_what_waits();
        }
        inner.is_over = false;
        // A number that was never given is no knowledge of any push.
        let has_all = returning.seq >= inner.lost.max(inner.acked) && returning.seq <= inner.seq;
        let from = returning.seq.min(inner.seq);
        inner.has_all_up_to(from);
        // What is sent once at most was.
        inner.unacked.forget_live();
        inner.sent = from;
        let now = Instant::now();
        inner.unacked.iter_mut().for_each(|item| item.since = now);
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Some(has_all)
    }

    /// What was left here for its session alone, which `successor` takes in its place.
    pub(in crate::push) fn retire(&self, successor: &Arc<Self>) -> Vec<Arc<Parcel>> {
        let mut inner = self.lock();
        inner.rare.get_or_insert_default().successor = Some(Arc::clone(successor));
        inner.is_over = true;
        inner.seat = None;
        inner.token = None;
        inner.id = None;
        let (sent, waiting) = (
            std::mem::take(&mut inner.unacked),
            std::mem::take(&mut inner.waiting),
        );
        drop(inner);
        let items = sent.iter().chain(waiting.iter());
        let parcels = items.map(|item| &item.parcel);
        parcels
            .filter(|one| one.is_for_sessions())
            .map(Arc::clone)
            .collect()
    }
}

impl Inner {
    fn waits_for(&self, id: SessionId) -> bool {
        self.seat.is_none() && self.id == Some(id)
    }

    /// What waits is now what its client was told that it gets: it counts no more as what a slow one
    /// leaves lying.
    fn sends_again_what_waits(&mut self) {
        self.waiting.forget_live();
        while let Some(item) = self.waiting.pop() {
            self.unacked.push(item);
        }
    }
}
