//! One direction of a relayed session, without I/O: bytes that were read go in, bytes that may go
//! on come out, frames of ours are put between.
//!
//! No type of tokio is in here, so that another engine than `relay/mod.rs` stays possible.

use tidegate_ws::frame::{ControlFrame, Violation};
use tidegate_ws::scan::{MAX_HELD, Scanner};

use super::rate::Bucket;
use super::watch::{Surroundings, Watch};
use crate::pipeline::{Direction, FrameRefusal};

/// Room in front of what is read, for what was held back by the read before.
pub(super) const HEADROOM: usize = MAX_HELD;

/// One direction: what its sender sent, on its way to its receiver.
#[derive(Debug)]
pub(super) struct Pump {
    scanner: Scanner,
    /// None while idle.
    aside: Option<Box<Aside>>,
    /// What the sender may still send of pings and pongs.
    controls: Bucket,
    direction: Direction,
    mode: Mode,
}

/// What waits for its turn.
#[derive(Debug, Default)]
struct Aside {
    /// The beginning of a frame that cannot be judged yet.
    held: Vec<u8>,
    /// Our last frame.
    ours: Option<Box<ControlFrame>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Frames go on as they come.
    Flow,
    /// Frames go on until the sender's close frame, in whose place one of ours goes.
    Part,
    /// The frame under way goes on, then one of ours, then nothing.
    Finish,
    /// What comes is thrown away.
    Discard,
}

/// What became of the bytes that were read.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// So many bytes at the beginning go on.
    pub(super) pass: usize,
    /// Behind so many of those a ping or pong of ours may be put.
    pub(super) gap: Option<usize>,
    /// Bytes go on, or a frame came that is not the answer to one of ours.
    pub(super) active: bool,
    /// The answer to a ping of ours was among them, and came after so many microseconds.
    pub(super) echoed: Option<u32>,
    /// Behind them goes this frame of ours.
    pub(super) ours: Option<Box<ControlFrame>>,
    /// What ended the direction.
    pub(super) end: Option<PumpEnd>,
}

/// What ended a direction from inside.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PumpEnd {
    /// The sender's close frame is among what goes on.
    Closed,
    /// The sender broke a rule; nothing of the bad frame goes on.
    Violation(Violation),
    /// A filter refused a frame; nothing of it goes on.
    Refused(FrameRefusal),
    /// The sender sends more control frames than it may; nothing of the last one goes on.
    Flooded,
    /// The sender broke a rule within a frame of which a part has gone on: the receiver has half a
    /// frame, and gets no more of it.
    Torn(Violation),
}

impl Pump {
    pub(super) const fn new(direction: Direction) -> Self {
        Self {
            scanner: Scanner::new(),
            aside: None,
            controls: Bucket::new(),
            direction,
            mode: Mode::Flow,
        }
    }

    /// Whether a ping or pong of ours may go to the receiver now.
    pub(super) const fn takes_beat(&self) -> bool {
        matches!(self.mode, Mode::Flow) && self.at_boundary() && !self.is_closed()
    }

    /// Whether the receiver has got whole frames only.
    pub(super) const fn at_boundary(&self) -> bool {
        self.scanner.at_boundary()
    }

    /// Whether the sender's close frame has gone on.
    pub(super) const fn is_closed(&self) -> bool {
        self.scanner.is_closed()
    }

    /// Whether nothing goes on any more.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.mode, Mode::Discard)
    }

    /// Whether what comes is thrown away: nothing goes on, or the sender's close frame has.
    pub(super) const fn throws_away(&self) -> bool {
        match self.mode {
            Mode::Discard => true,
            Mode::Flow => self.is_closed(),
            Mode::Part | Mode::Finish => false,
        }
    }

    /// Puts what was held back in front of what was read behind [`HEADROOM`]; tells where it begins.
    pub(super) fn put_held(&mut self, buffer: &mut [u8]) -> usize {
        let Some(aside) = &mut self.aside else {
            return HEADROOM;
        };
        let held = std::mem::take(&mut aside.held);
        if aside.ours.is_none() {
            self.aside = None;
        }
        let start = HEADROOM - held.len();
        buffer[start..HEADROOM].copy_from_slice(&held);
        start
    }

    /// Judges `bytes`: what was held back, and what was read.
    pub(super) fn absorb(&mut self, bytes: &mut [u8], around: &mut Surroundings<'_>) -> Passed {
        match self.mode {
            Mode::Discard => Passed::default(),
            Mode::Finish => match self.scanner.finish_frame(bytes) {
                Ok(pass) => {
                    around.tally.passed(pass as u64);
                    Passed {
                        pass,
                        active: pass > 0,
                        ours: self.take_ours(),
                        ..Passed::default()
                    }
                }
                Err(violation) => Passed {
                    end: Some(PumpEnd::Torn(violation)),
                    ..Passed::default()
                },
            },
            // What comes behind a close frame means nothing.
            Mode::Flow if self.is_closed() => Passed::default(),
            Mode::Flow | Mode::Part => self.judge(bytes, around),
        }
    }

    fn judge(&mut self, bytes: &mut [u8], around: &mut Surroundings<'_>) -> Passed {
        let parting = self.mode == Mode::Part;
        let mut watch = Watch {
            direction: self.direction,
            around,
            controls: &mut self.controls,
            parting,
            active: false,
            echoed: None,
            stop: None,
        };
        let rules = watch.around.rules;
        let scan = self.scanner.scan(&rules, bytes, &mut watch);
        let active = watch.active || scan.pass > 0;
        let echoed = watch.echoed;
        watch.around.tally.passed(scan.payload as u64);
        let end = match (watch.stop, scan.violation) {
            (Some(stop), _) => Some(stop),
            (None, Some(violation)) if !self.at_boundary() => Some(PumpEnd::Torn(violation)),
            (None, Some(violation)) => Some(PumpEnd::Violation(violation)),
            (None, None) => self.is_closed().then_some(PumpEnd::Closed),
        };
        if end.is_none() && scan.hold_from < bytes.len() {
            self.aside.get_or_insert_default().held = bytes[scan.hold_from..].to_vec();
        }
        let passed = Passed {
            pass: scan.pass,
            gap: scan.gap.filter(|_| !parting && end.is_none()),
            active,
            echoed,
            ..Passed::default()
        };
        match end {
            Some(end) if !parting || matches!(end, PumpEnd::Torn(_)) => Passed {
                end: Some(end),
                ..passed
            },
            Some(_) => Passed {
                ours: self.finish(),
                ..passed
            },
            None => passed,
        }
    }

    /// Lets the sender's frames go on until its close frame, and puts `ours` in the place of that
    /// one; tells it when that is now.
    pub(super) fn part_with(&mut self, ours: ControlFrame) -> Option<Box<ControlFrame>> {
        if self.is_closed() || self.mode != Mode::Flow {
            return self.finish_with(ours);
        }
        self.mode = Mode::Part;
        self.put_aside(ours);
        None
    }

    /// Waits for the sender's close frame no longer.
    pub(super) fn finish(&mut self) -> Option<Box<ControlFrame>> {
        if self.mode == Mode::Part {
            self.mode = Mode::Finish;
        }
        if let Some(aside) = &mut self.aside {
            aside.held = Vec::new();
        }
        self.take_ours()
    }

    /// Lets nothing of the sender go on behind the frame under way, and puts `ours` there; tells
    /// it when that is now.
    pub(super) fn finish_with(&mut self, ours: ControlFrame) -> Option<Box<ControlFrame>> {
        match self.mode {
            // Behind a close frame nothing may follow, not even ours.
            Mode::Flow if self.is_closed() => self.mode = Mode::Discard,
            Mode::Flow => {
                self.mode = Mode::Finish;
                self.put_aside(ours);
            }
            // What was decided first stays.
            Mode::Part | Mode::Finish | Mode::Discard => {}
        }
        self.finish()
    }

    /// Lets nothing go on any more.
    pub(super) fn discard(&mut self) {
        self.aside = None;
        self.mode = Mode::Discard;
    }

    fn put_aside(&mut self, ours: ControlFrame) {
        self.aside.get_or_insert_default().ours = Some(Box::new(ours));
    }

    fn take_ours(&mut self) -> Option<Box<ControlFrame>> {
        if !self.scanner.at_boundary() {
            return None;
        }
        let mode = std::mem::replace(&mut self.mode, Mode::Discard);
        let aside = self.aside.take();
        aside.filter(|_| mode == Mode::Finish)?.ours
    }
}
