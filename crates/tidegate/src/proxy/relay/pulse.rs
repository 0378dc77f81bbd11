//! The pings of one leg: what it was asked and has not answered, and what it is owed itself.
//!
//! A ping of ours carries eight random bytes, and the pong with those bytes is swallowed. To whoever
//! has our keys they tell when the ping was sent, so nothing is kept for that. A peer may answer the
//! latest ping alone (RFC 6455 section 5.5.3), so none of ours goes to a leg that has a forwarded one
//! to answer: that one then counts as ours.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::LazyLock;

use tidegate_ws::frame::{ControlFrame, OpCode};

/// The pings of one leg.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Our ping to it that is unanswered: its payload.
    ours: Option<NonZeroU64>,
    /// The pong that it is owed: the one for its latest ping.
    owed: Option<Box<ControlFrame>>,
    /// The latest ping that was forwarded to it and is unanswered: a sum of its payload.
    forwarded: Option<NonZeroU32>,
    /// It is time to ping it.
    due: bool,
}

/// What goes to the leg at the next boundary.
#[derive(Debug)]
pub(super) enum Beat {
    Ping(ControlFrame),
    Pong(Box<ControlFrame>),
}

impl Pulse {
    /// How many microseconds our ping took to be answered, if a control frame of its is the answer;
    /// more than 71 minutes are not told apart from fewer.
    pub(super) fn takes(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        now: impl FnOnce() -> u64,
    ) -> Option<u32> {
        let ours = self.ours.filter(|_| opcode == OpCode::Pong)?;
        if payload != ours.get().to_ne_bytes() {
            return None;
        }
        self.ours = None;
        Some(low(now()).wrapping_sub(sent(ours)))
    }

    /// A pong of its passes to the other leg.
    pub(super) fn answers(&mut self, payload: &[u8]) {
        if self.forwarded == Some(sum(payload)) {
            self.forwarded = None;
            // Pongs come in the order of the pings, and ours was before this one.
            self.ours = None;
        }
    }

    /// A ping of the other leg's passes to it.
    pub(super) fn note_forwarded(&mut self, payload: &[u8]) {
        self.forwarded = Some(sum(payload));
    }

    /// It has pinged us. What it is owed for an earlier ping is forgotten.
    pub(super) fn asks(&mut self, payload: &[u8], mask: Option<[u8; 4]>) {
        self.owed = Some(Box::new(ControlFrame::pong(payload, mask)));
    }

    /// Whether it has a ping to answer.
    pub(super) const fn is_unanswered(&self) -> bool {
        self.ours.is_some() || self.forwarded.is_some()
    }

    /// It is to be pinged.
    pub(super) const fn set_due(&mut self) {
        self.due = true;
    }

    /// It said something, so there is no need to ping it; whether it was to be pinged.
    pub(super) const fn heard(&mut self) -> bool {
        std::mem::replace(&mut self.due, false)
    }

    /// Whether it waits for a boundary to be pinged.
    pub(super) const fn is_due(&self) -> bool {
        self.due
    }

    /// Whether anything of ours waits for a boundary.
    pub(super) const fn has_beat(&self) -> bool {
        self.due || self.owed.is_some()
    }

    /// Takes what goes to it at a boundary, one after the other. A ping that has become needless,
    /// because another one was forwarded meanwhile, is dropped.
    pub(super) fn take_beat(&mut self, mask: Option<[u8; 4]>, now: u64) -> Option<Beat> {
        if let Some(pong) = self.owed.take() {
            return Some(Beat::Pong(pong));
        }
        if !std::mem::take(&mut self.due) || self.is_unanswered() {
            return None;
        }
        let ours = payload(now);
        self.ours = Some(ours);
        Some(Beat::Ping(ControlFrame::ping(
            &ours.get().to_ne_bytes(),
            mask,
        )))
    }

    /// Forgets what waits for a boundary.
    pub(super) fn rest(&mut self) {
        self.due = false;
        self.owed = None;
    }
}

impl Beat {
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Ping(frame) => frame.as_bytes(),
            Self::Pong(frame) => frame.as_bytes(),
        }
    }
}

/// The lower half of a time.
const fn low(time: u64) -> u32 {
    (time & 0xffff_ffff) as u32
}

/// A payload of ours: half of it random, half of it the time, and all of it hidden.
fn payload(now: u64) -> NonZeroU64 {
    let random = u64::from(fastrand::u32(..));
    NonZeroU64::new(hide(random << 32 | u64::from(low(now)))).unwrap_or(NonZeroU64::MIN)
}

/// The lower half of the time when a payload of ours was made.
fn sent(ours: NonZeroU64) -> u32 {
    low(reveal(ours.get()))
}

/// Rounds of a Feistel network, which makes of a keyed hash a permutation that has a way back.
const ROUNDS: [u8; 4] = [0, 1, 2, 3];

fn hide(open: u64) -> u64 {
    let halves = (low(open >> 32), low(open));
    let mix = |(left, right): (u32, u32), round| (right, left ^ keyed(round, right));
    let (left, right) = ROUNDS.into_iter().fold(halves, mix);
    u64::from(left) << 32 | u64::from(right)
}

fn reveal(hidden: u64) -> u64 {
    let halves = (low(hidden >> 32), low(hidden));
    let unmix = |(left, right): (u32, u32), round| (right ^ keyed(round, left), left);
    let (left, right) = ROUNDS.into_iter().rev().fold(halves, unmix);
    u64::from(left) << 32 | u64::from(right)
}

/// A hash with keys that the system chose for this process.
fn keyed(round: u8, half: u32) -> u32 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    low(KEYS.hash_one((round, half)))
}

/// FNV-1a: tells the latest ping's answer from other pongs without keeping 125 bytes.
fn sum(payload: &[u8]) -> NonZeroU32 {
    let sum = payload.iter().fold(0x811c_9dc5_u32, |sum, &byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    NonZeroU32::MIN | sum
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const NOW: u64 = 0x1_ffff_ffff;

    fn ping(pulse: &mut Pulse) -> Vec<u8> {
        pulse.set_due();
        match pulse.take_beat(None, NOW) {
            Some(Beat::Ping(frame)) => frame.as_bytes()[2..].to_vec(),
            beat => panic!("a ping was due, not {beat:?}"),
        }
    }

    #[test]
    fn only_our_own_pong_is_taken_and_only_once() {
        let mut pulse = Pulse::default();
        let ours = ping(&mut pulse);
        assert_eq!(ours.len(), 8);
        assert_eq!(pulse.takes(OpCode::Pong, b"other", || NOW), None);
        assert_eq!(pulse.takes(OpCode::Ping, &ours, || NOW), None);
        assert_eq!(pulse.takes(OpCode::Pong, &ours, || NOW + 2500), Some(2500));
        assert_eq!(pulse.takes(OpCode::Pong, &ours, || NOW), None);
        assert_ne!(ping(&mut pulse), ours);
    }

    #[test]
    fn what_is_hidden_is_found_and_tells_nobody_the_time() {
        for open in [0, 1, NOW, u64::MAX, 0x0123_4567_89ab_cdef] {
            assert_eq!(reveal(hide(open)), open);
        }
        let halves: HashSet<_> = (0..100).map(|_| low(payload(NOW).get())).collect();
        assert!(halves.len() > 90, "{} of 100", halves.len());
    }

    #[test]
    fn none_of_ours_goes_where_a_forwarded_one_is_unanswered() {
        let mut pulse = Pulse::default();
        pulse.note_forwarded(b"first");
        pulse.note_forwarded(b"latest");
        pulse.answers(b"first");
        pulse.set_due();
        assert!(pulse.take_beat(None, NOW).is_none());
        assert!(pulse.is_unanswered());
        pulse.answers(b"latest");
        assert!(!pulse.is_unanswered());
        ping(&mut pulse);
    }

    #[test]
    fn ours_is_answered_by_the_pong_to_a_later_one() {
        let mut pulse = Pulse::default();
        ping(&mut pulse);
        pulse.note_forwarded(b"later");
        pulse.answers(b"later");
        assert!(!pulse.is_unanswered());
    }

    #[test]
    fn it_is_owed_the_latest_pong_alone_and_before_a_ping() {
        let mut pulse = Pulse::default();
        pulse.asks(b"one", None);
        pulse.asks(b"two", None);
        pulse.set_due();
        let pong = pulse.take_beat(None, NOW).unwrap();
        assert_eq!(&pong.as_bytes()[2..], b"two");
        assert!(matches!(pulse.take_beat(None, NOW), Some(Beat::Ping(_))));
        assert!(!pulse.has_beat());
    }
}
