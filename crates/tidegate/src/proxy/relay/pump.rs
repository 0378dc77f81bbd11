//! One direction of a relayed session, without I/O: bytes that were read go in, bytes that may go
//! on come out, frames of ours are put between.
//!
//! No type of tokio is in here, so that another engine than `relay/mod.rs` stays possible.

use tidegate_ws::close::CloseFrame;
use tidegate_ws::frame::{ControlFrame, FrameHeader, OpCode, Violation};
use tidegate_ws::scan::{MAX_HELD, Observer, Rules, Scanner};

use crate::pipeline::{Direction, FrameFacts, FrameFilters, FrameRefusal};

/// Room in front of what is read, for what was held back by the read before.
pub(super) const HEADROOM: usize = MAX_HELD;

/// One direction: what its sender sent, on its way to its receiver.
#[derive(Debug)]
pub(super) struct Pump {
    direction: Direction,
    scanner: Scanner,
    /// The beginning of a frame that cannot be judged yet; empty while idle.
    held: Vec<u8>,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    /// Frames go on as they come.
    Flow,
    /// Frames go on until the sender's close frame, in whose place this one of ours goes.
    Part(Box<ControlFrame>),
    /// The frame under way goes on, then this one of ours, then nothing.
    Finish(Box<ControlFrame>),
    /// What comes is thrown away.
    Discard,
}

/// What became of the bytes that were read.
#[derive(Debug, Default)]
pub(super) struct Passed {
    /// So many bytes at the beginning go on.
    pub(super) pass: usize,
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
}

/// What the frames that pass leave behind, besides themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages in this direction.
    pub(crate) messages: u64,
    /// Those of bytes among them.
    pub(crate) binary: u64,
    /// Payload bytes in this direction, declared.
    pub(crate) bytes: u64,
    /// The code of its close frame; 1005 where that has none, 0 while there was none.
    pub(crate) close: u16,
    /// Whether the message under way is one of bytes.
    is_binary: bool,
}

impl Tally {
    fn count(&mut self, header: &FrameHeader) {
        match header.opcode {
            OpCode::Text => self.is_binary = false,
            OpCode::Binary => self.is_binary = true,
            _ => {}
        }
        if header.fin && !header.opcode.is_control() {
            self.messages += 1;
            self.binary += u64::from(self.is_binary);
        }
        self.bytes += header.length;
    }
}

impl Pump {
    pub(super) const fn new(direction: Direction, rules: Rules) -> Self {
        Self {
            direction,
            scanner: Scanner::new(rules),
            held: Vec::new(),
            mode: Mode::Flow,
        }
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

    /// Puts what was held back in front of what was read behind [`HEADROOM`]; tells where it begins.
    pub(super) fn put_held(&mut self, buffer: &mut [u8]) -> usize {
        if self.held.is_empty() {
            return HEADROOM;
        }
        let held = std::mem::take(&mut self.held);
        let start = HEADROOM - held.len();
        buffer[start..HEADROOM].copy_from_slice(&held);
        start
    }

    /// Judges `bytes`: what was held back, and what was read.
    pub(super) fn absorb(
        &mut self,
        bytes: &mut [u8],
        filters: &mut FrameFilters,
        tally: &mut Tally,
    ) -> Passed {
        match &self.mode {
            Mode::Discard => Passed::default(),
            Mode::Finish(_) => {
                let pass = self.scanner.finish_frame(bytes.len());
                Passed {
                    pass,
                    ours: self.take_ours(),
                    end: None,
                }
            }
            // What comes behind a close frame means nothing.
            Mode::Flow if self.is_closed() => Passed::default(),
            Mode::Flow | Mode::Part(_) => self.judge(bytes, filters, tally),
        }
    }

    fn judge(&mut self, bytes: &mut [u8], filters: &mut FrameFilters, tally: &mut Tally) -> Passed {
        let parting = matches!(self.mode, Mode::Part(_));
        let mut watch = Watch {
            direction: self.direction,
            filters,
            tally,
            refused: None,
            parting,
        };
        let scan = self.scanner.scan(bytes, &mut watch);
        let end = match (watch.refused, scan.violation) {
            (Some(refusal), _) => Some(PumpEnd::Refused(refusal)),
            (None, Some(violation)) => Some(PumpEnd::Violation(violation)),
            (None, None) => self.scanner.is_closed().then_some(PumpEnd::Closed),
        };
        if end.is_none() && scan.hold_from < bytes.len() {
            self.held = bytes[scan.hold_from..].to_vec();
        }
        let pass = scan.pass;
        match end {
            Some(_) if parting => Passed {
                pass,
                ours: self.finish(),
                end: None,
            },
            end => Passed {
                pass,
                ours: None,
                end,
            },
        }
    }

    /// Lets the sender's frames go on until its close frame, and puts `ours` in the place of that
    /// one; tells it when that is now.
    pub(super) fn part_with(&mut self, ours: ControlFrame) -> Option<Box<ControlFrame>> {
        if self.is_closed() || !matches!(self.mode, Mode::Flow) {
            return self.finish_with(ours);
        }
        self.mode = Mode::Part(Box::new(ours));
        None
    }

    /// Waits for the sender's close frame no longer.
    pub(super) fn finish(&mut self) -> Option<Box<ControlFrame>> {
        match std::mem::replace(&mut self.mode, Mode::Discard) {
            Mode::Part(ours) | Mode::Finish(ours) => self.mode = Mode::Finish(ours),
            mode => self.mode = mode,
        }
        self.held = Vec::new();
        self.take_ours()
    }

    /// Lets nothing of the sender go on behind the frame under way, and puts `ours` there; tells
    /// it when that is now.
    pub(super) fn finish_with(&mut self, ours: ControlFrame) -> Option<Box<ControlFrame>> {
        match self.mode {
            // Behind a close frame nothing may follow, not even ours.
            Mode::Flow if self.is_closed() => self.mode = Mode::Discard,
            Mode::Flow => self.mode = Mode::Finish(Box::new(ours)),
            // What was decided first stays.
            Mode::Part(_) | Mode::Finish(_) | Mode::Discard => {}
        }
        self.finish()
    }

    /// Lets nothing go on any more.
    pub(super) fn discard(&mut self) {
        self.held = Vec::new();
        self.mode = Mode::Discard;
    }

    fn take_ours(&mut self) -> Option<Box<ControlFrame>> {
        if !self.scanner.at_boundary() {
            return None;
        }
        match std::mem::replace(&mut self.mode, Mode::Discard) {
            Mode::Finish(ours) => Some(ours),
            Mode::Flow | Mode::Part(_) | Mode::Discard => None,
        }
    }
}

/// Shows each frame to the filters and counts it.
struct Watch<'a> {
    direction: Direction,
    filters: &'a mut FrameFilters,
    tally: &'a mut Tally,
    refused: Option<FrameRefusal>,
    parting: bool,
}

impl Observer for Watch<'_> {
    fn on_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        if !self.filters.is_empty() {
            let facts = FrameFacts {
                opcode: header.opcode as u8,
                fin: header.fin,
                length: header.length,
            };
            if let Err(refusal) = self.filters.on_frame(self.direction, &facts) {
                self.refused = Some(refusal);
                return Err(Violation::Refused);
            }
        }
        self.tally.count(header);
        Ok(())
    }

    fn on_control(&mut self, _opcode: OpCode, _payload: &[u8]) -> bool {
        true
    }

    fn on_close(&mut self, close: CloseFrame<'_>) -> bool {
        self.tally.close = close.code.unwrap_or(1005);
        !self.parting
    }
}
