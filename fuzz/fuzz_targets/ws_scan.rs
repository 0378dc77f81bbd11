//! One direction of a relay: however a stream is cut into reads, the same bytes go on, the same
//! frames are told, and it ends with the same verdict.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ws::close::CloseFrame;
use tidegate_ws::frame::{FrameHeader, OpCode, Violation};
use tidegate_ws::scan::{Extensions, MAX_HELD, Observer, Rules, Scanner, Sender};

fuzz_target!(|bytes: &[u8]| {
    let [settings, cut, stream @ ..] = bytes else {
        return;
    };
    let rules = Rules {
        sender: if settings & 1 == 0 {
            Sender::Client
        } else {
            Sender::Server
        },
        extensions: if settings & 8 == 0 {
            Extensions::None
        } else {
            Extensions::Deflate
        },
        text: false,
        max_frame: if settings & 2 == 0 { 1000 } else { u64::MAX },
        max_message: if settings & 4 == 0 { 3000 } else { u64::MAX },
    };
    let at_once = relay(rules, stream, stream.len().max(1));
    let in_pieces = relay(rules, stream, usize::from(*cut).max(1));
    assert_eq!(at_once, in_pieces);
    if at_once.violation.is_none() && !at_once.told.swallowed {
        assert!(stream.starts_with(&at_once.passed), "bytes went on changed");
    }
});

#[derive(Debug, Default, PartialEq)]
struct Outcome {
    passed: Vec<u8>,
    violation: Option<Violation>,
    closed: bool,
    told: Told,
}

/// What the observer is told, in order.
#[derive(Debug, Default, PartialEq)]
struct Told {
    frames: Vec<FrameHeader>,
    controls: Vec<(OpCode, Vec<u8>)>,
    close: Option<(Option<u16>, String)>,
    swallowed: bool,
}

impl Observer for Told {
    fn on_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        self.frames.push(*header);
        Ok(())
    }

    fn on_control(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
        self.controls.push((opcode, payload.to_vec()));
        let swallow = opcode == OpCode::Pong && payload.len() == 8;
        self.swallowed |= swallow;
        !swallow
    }

    fn on_close(&mut self, close: CloseFrame<'_>) -> bool {
        assert!(self.close.is_none(), "nothing goes on behind a close");
        self.close = Some((close.code, close.reason.to_owned()));
        true
    }
}

fn relay(rules: Rules, stream: &[u8], step: usize) -> Outcome {
    let mut scanner = Scanner::new();
    let mut outcome = Outcome::default();
    let mut buffer: Vec<u8> = Vec::new();
    for piece in stream.chunks(step) {
        buffer.extend_from_slice(piece);
        let scan = scanner.scan(&rules, &mut buffer, &mut outcome.told);
        assert!(scan.pass <= scan.hold_from && scan.hold_from <= buffer.len());
        outcome.passed.extend_from_slice(&buffer[..scan.pass]);
        buffer.drain(..scan.hold_from);
        assert!(buffer.len() <= MAX_HELD, "more was held back than promised");
        outcome.violation = scan.violation;
        if scan.violation.is_some() || scanner.is_closed() {
            break;
        }
    }
    outcome.closed = scanner.is_closed();
    outcome
}
