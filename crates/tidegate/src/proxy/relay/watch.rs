//! What happens besides, while the frames of one direction pass: filters see them, tallies count
//! them, pings are kept in mind or answered.

use tidegate_ws::close::CloseFrame;
use tidegate_ws::frame::{FrameHeader, OpCode, Violation};
use tidegate_ws::scan::{Observer, Rules};

use super::pulse::Pulse;
use super::pump::PumpEnd;
use super::rate::Bucket;
use crate::pipeline::{Direction, FrameFacts, FrameFilters};

/// What the frames that pass leave behind, besides themselves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Messages in this direction.
    pub(crate) messages: u64,
    /// Those of bytes among them; begins again at 0 behind its largest.
    pub(crate) binary: u32,
    /// Payload bytes in this direction, of all frames, as they passed.
    pub(crate) bytes: u64,
    /// The code of its close frame; 1005 where that has none, 0 while there was none.
    pub(crate) close: u16,
    /// Whether the message under way is one of bytes.
    is_binary: bool,
}

/// The reason in the first close frame of a session, which is where it is closed. There is one of
/// these for each idle session, so it is a pointer and no more.
#[derive(Debug, Default)]
pub(super) struct Words(Option<Box<Reason>>);

#[derive(Debug)]
struct Reason(Box<str>);

impl Words {
    pub(super) fn as_str(&self) -> &str {
        self.0.as_ref().map_or("", |reason| &reason.0)
    }

    fn keep(&mut self, reason: &str) {
        self.0
            .get_or_insert_with(|| Box::new(Reason(reason.into())));
    }
}

impl Tally {
    /// So many payload bytes have passed.
    pub(super) const fn passed(&mut self, bytes: u64) {
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    fn count(&mut self, header: &FrameHeader) {
        match header.opcode {
            OpCode::Text => self.is_binary = false,
            OpCode::Binary => self.is_binary = true,
            _ => {}
        }
        if header.fin && !header.opcode.is_control() {
            self.messages += 1;
            self.binary = self.binary.wrapping_add(u32::from(self.is_binary));
        }
        if header.opcode.is_control() {
            // Whole when it is seen; other payloads are counted as they pass.
            self.passed(header.length);
        }
    }
}

/// Who looks on while frames pass, and what holds for them.
pub(super) struct Surroundings<'a> {
    pub(super) rules: Rules,
    pub(super) filters: &'a mut FrameFilters,
    pub(super) tally: &'a mut Tally,
    pub(super) words: &'a mut Words,
    /// The pings of the leg that sends.
    pub(super) sender: &'a mut Pulse,
    /// The pings of the leg that receives.
    pub(super) receiver: &'a mut Pulse,
    /// Whether pings are answered here, and do not pass.
    pub(super) answers: bool,
    /// How many pings and pongs may come in a second.
    pub(super) max_control_frames: Option<u32>,
    /// Microseconds of a clock that never goes back.
    pub(super) now: fn() -> u64,
}

/// Looks on for one read.
pub(super) struct Watch<'a, 'b> {
    pub(super) direction: Direction,
    pub(super) around: &'a mut Surroundings<'b>,
    pub(super) controls: &'a mut Bucket,
    /// The sender's close frame is taken out.
    pub(super) parting: bool,
    /// A frame came that is not the answer to one of ours.
    pub(super) active: bool,
    /// The answer to a ping of ours came, after so many microseconds.
    pub(super) echoed: Option<u32>,
    /// Why a frame that is right in itself is not let through.
    pub(super) stop: Option<PumpEnd>,
}

impl Watch<'_, '_> {
    /// Pings and pongs come no faster than they may.
    fn is_flooded(&mut self, opcode: OpCode) -> bool {
        matches!(opcode, OpCode::Ping | OpCode::Pong)
            && self
                .around
                .max_control_frames
                .is_some_and(|rate| !self.controls.take(rate, (self.around.now)()))
    }
}

impl Observer for Watch<'_, '_> {
    fn is_own(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        let now = self.around.now;
        let echoed = self.around.sender.takes(opcode, payload, now);
        self.echoed = echoed.or(self.echoed);
        echoed.is_some()
    }

    fn on_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        if self.is_flooded(header.opcode) {
            self.stop = Some(PumpEnd::Flooded);
            return Err(Violation::Refused);
        }
        if !self.around.filters.is_empty() {
            let facts = FrameFacts {
                opcode: header.opcode as u8,
                fin: header.fin,
                length: header.length,
            };
            if let Err(refusal) = self.around.filters.on_frame(self.direction, &facts) {
                self.stop = Some(PumpEnd::Refused(refusal));
                return Err(Violation::Refused);
            }
        }
        self.active = true;
        self.around.tally.count(header);
        Ok(())
    }

    fn on_control(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        match opcode {
            OpCode::Ping if self.around.answers => {
                let mask = mask_against(self.direction);
                self.around.sender.asks(payload, mask);
                return false;
            }
            OpCode::Ping => self.around.receiver.note_forwarded(payload),
            _ => self.around.sender.answers(payload),
        }
        true
    }

    fn on_close(&mut self, close: CloseFrame<'_>) -> bool {
        self.around.tally.close = close.code.unwrap_or(1005);
        self.around.words.keep(close.reason);
        !self.parting
    }
}

/// The mask of a frame of ours that goes against `direction`.
fn mask_against(direction: Direction) -> Option<[u8; 4]> {
    match direction {
        Direction::ToUpstream => None,
        Direction::ToDownstream => Some(mask()),
    }
}

/// A mask for what we say as a client. Our words are not the peer's to choose, and a pong's were an
/// upstream's own, so it need not be hard to guess.
pub(super) fn mask() -> [u8; 4] {
    fastrand::u32(..).to_ne_bytes()
}
