//! The verbatim reader of one direction: it follows frame headers and leaves payloads alone.
//!
//! A [`Scanner`] is fed what was read from the sender, at any cuts, and says how much of it may go
//! on to the other side. Of a frame that breaks a rule nothing goes on: a header is held back until
//! it is whole, and so is a control frame (at most 139 bytes), because a close frame is judged by
//! its payload. The one exception is text that turns out not to be UTF-8 behind bytes that have gone
//! on in an earlier call: then [`Scanner::at_boundary`] stays false, and the receiver has half a
//! frame that must never look whole.

use crate::close::CloseFrame;
use crate::frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode, Violation, apply_mask};
use crate::text::TextCheck;

pub use crate::rules::{Extensions, Rules, Sender};

/// The most bytes that [`Scanner::scan`] leaves over.
pub const MAX_HELD: usize = MAX_HEADER + MAX_CONTROL_PAYLOAD;

/// What is told of the frames that pass, in their order.
pub trait Observer {
    /// Whether a whole ping or pong, with its payload unmasked, answers the observer itself: then it
    /// is swallowed, and nothing else is told of it.
    fn is_own(&mut self, _opcode: OpCode, _payload: &[u8]) -> bool {
        false
    }

    /// The header of a frame, before anything of the frame goes on. An error ends the direction
    /// here: nothing of this frame goes on.
    fn on_frame(&mut self, header: &FrameHeader) -> Result<(), Violation>;

    /// A whole control frame other than a close, with its payload unmasked; `false` swallows it.
    fn on_control(&mut self, opcode: OpCode, payload: &[u8]) -> bool;

    /// The close frame; `false` swallows it. Nothing behind it goes on.
    fn on_close(&mut self, close: CloseFrame<'_>) -> bool;
}

/// What may be done with the bytes that were scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// So many bytes at the beginning of the buffer may go on.
    pub pass: usize,
    /// Behind so many of those, and at no later place among them, the last whole frame ends: a frame
    /// of ours may be put there. `None`: all of them are the inside of one frame.
    pub gap: Option<usize>,
    /// The bytes from here to the end of the buffer are the beginning of a frame: put them in
    /// front of the next read. At most [`MAX_HELD`].
    pub hold_from: usize,
    /// Payload bytes of text, binary and continuation frames among those that may go on.
    pub payload: usize,
    /// What broke a rule behind the bytes that may go on; the direction is over.
    pub violation: Option<Violation>,
}

/// Where a direction stands between two reads. It owns no buffer, and its rules stand with whoever
/// feeds it: there are two of these for each idle session.
#[derive(Debug, Clone, Default)]
pub struct Scanner {
    /// Payload bytes of the current frame that are still to come.
    remaining: u64,
    /// Declared bytes of the message that is under way, if one is.
    message: u64,
    in_message: bool,
    /// The check of the text message that is under way.
    text: Option<TextCheck>,
    closed: bool,
}

impl Scanner {
    /// A direction at its beginning.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            remaining: 0,
            message: 0,
            in_message: false,
            text: None,
            closed: false,
        }
    }

    /// Whether the bytes that passed so far end with a frame's last byte, so that a frame of ours
    /// may follow.
    #[must_use]
    pub const fn at_boundary(&self) -> bool {
        self.remaining == 0
    }

    /// Whether a close frame has passed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Follows the frames in `bytes`: what was held back by the last call, and what was read since.
    /// Swallowed frames are moved out of the part that may go on. The rules of a direction are the
    /// same for each of its calls.
    pub fn scan(&mut self, rules: &Rules, bytes: &mut [u8], observer: &mut impl Observer) -> Scan {
        let mut scan = Scan {
            pass: 0,
            gap: None,
            hold_from: bytes.len(),
            payload: 0,
            violation: None,
        };
        let mut at = match self.skip_payload(bytes) {
            Ok(size) => size,
            Err(violation) => {
                scan.violation = Some(violation);
                return scan;
            }
        };
        // `pass` trails `at` once a frame was swallowed.
        scan.pass = at;
        scan.payload = at;
        scan.gap = self.at_boundary().then_some(at);
        while at < bytes.len() && !self.closed {
            let (end, passes) = match self.frame(rules, &bytes[at..], observer) {
                Ok(Step::Incomplete) => {
                    scan.hold_from = at;
                    return scan;
                }
                Ok(Step::Swallowed(size)) => (at + size, false),
                Ok(Step::Passed(size)) => match self.skip_payload(&bytes[at + size..]) {
                    Ok(payload) => {
                        scan.payload += payload;
                        (at + size + payload, true)
                    }
                    Err(violation) => {
                        // Nothing of this frame has gone on, and nothing will.
                        self.remaining = 0;
                        scan.violation = Some(violation);
                        return scan;
                    }
                },
                Err(violation) => {
                    scan.violation = Some(violation);
                    return scan;
                }
            };
            if passes {
                if scan.pass != at {
                    bytes.copy_within(at..end, scan.pass);
                }
                scan.pass += end - at;
                if self.at_boundary() {
                    scan.gap = Some(scan.pass);
                }
            }
            at = end;
        }
        scan
    }

    /// Lets only the rest of the current frame go on: so many of the first of `bytes`.
    ///
    /// # Errors
    /// When it is text that is checked, and is none.
    pub fn finish_frame(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        self.skip_payload(bytes)
    }

    /// Moves over payload bytes of the current frame; so many of `bytes` are that. After an error
    /// it stands where it stood.
    fn skip_payload(&mut self, bytes: &[u8]) -> Result<usize, Violation> {
        // `bytes.len()` where the rest of the frame is longer than any buffer.
        let size = usize::try_from(self.remaining).map_or(bytes.len(), |all| all.min(bytes.len()));
        let remaining = self.remaining - size as u64;
        if let Some(text) = &mut self.text {
            text.check(&bytes[..size])?;
            // The last frame of its message has been begun when no message is under way.
            if remaining == 0 && !self.in_message {
                text.finish()?;
                self.text = None;
            }
        }
        self.remaining = remaining;
        Ok(size)
    }

    /// Takes the frame that begins at the beginning of `bytes`.
    fn frame(
        &mut self,
        rules: &Rules,
        bytes: &[u8],
        observer: &mut impl Observer,
    ) -> Result<Step, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(Step::Incomplete);
        };
        rules.check_reserved(first)?;
        let Some((header, size)) = FrameHeader::parse(bytes)? else {
            return Ok(Step::Incomplete);
        };
        rules.check_mask(&header)?;
        if !header.opcode.is_control() {
            self.data_frame(rules, &header, observer)?;
            return Ok(Step::Passed(size));
        }
        // A control frame is at most 125 bytes long: `parse` has seen to it.
        let end = size + usize::try_from(header.length).unwrap_or(MAX_CONTROL_PAYLOAD);
        if bytes.len() < end {
            return Ok(Step::Incomplete);
        }
        let mut payload = [0; MAX_CONTROL_PAYLOAD];
        let payload = &mut payload[..end - size];
        payload.copy_from_slice(&bytes[size..end]);
        if let Some(mask) = header.mask {
            apply_mask(payload, mask, 0);
        }
        let close = match header.opcode {
            OpCode::Close if header.reserved == 0 => Some(CloseFrame::parse(payload)?),
            // What it says is the extension's secret.
            OpCode::Close => Some(CloseFrame::default()),
            _ if observer.is_own(header.opcode, payload) => return Ok(Step::Swallowed(end)),
            _ => None,
        };
        observer.on_frame(&header)?;
        let passes = match close {
            Some(close) => {
                self.closed = true;
                observer.on_close(close)
            }
            None => observer.on_control(header.opcode, payload),
        };
        Ok(if passes {
            Step::Passed(end)
        } else {
            Step::Swallowed(end)
        })
    }

    fn data_frame(
        &mut self,
        rules: &Rules,
        header: &FrameHeader,
        observer: &mut impl Observer,
    ) -> Result<(), Violation> {
        let before = match (header.opcode, self.in_message) {
            (OpCode::Continuation, true) => self.message,
            (OpCode::Continuation, false) => return Err(Violation::StrayContinuation),
            (_, true) => return Err(Violation::MessageInside),
            (_, false) => 0,
        };
        let length = header.length;
        if length > rules.max_frame {
            return Err(Violation::FrameTooBig {
                length,
                limit: rules.max_frame,
            });
        }
        let message = before.saturating_add(length);
        if message > rules.max_message {
            return Err(Violation::MessageTooBig {
                length: message,
                limit: rules.max_message,
            });
        }
        observer.on_frame(header)?;
        self.message = message;
        self.in_message = !header.fin;
        self.remaining = length;
        if rules.text && header.opcode == OpCode::Text && header.reserved == 0 {
            self.text = Some(TextCheck::default());
        }
        if let Some(text) = &mut self.text {
            text.begin_frame(header.mask);
        }
        Ok(())
    }
}

enum Step {
    /// The header, or the control frame, is not whole yet.
    Incomplete,
    /// So many bytes may go on: a header, or a whole control frame.
    Passed(usize),
    /// So many bytes are taken out.
    Swallowed(usize),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default, PartialEq)]
    struct Seen {
        frames: Vec<(OpCode, u64)>,
        controls: Vec<(OpCode, Vec<u8>)>,
        close: Option<(Option<u16>, String)>,
        swallow: Vec<u8>,
    }

    impl Observer for Seen {
        fn on_frame(&mut self, header: &FrameHeader) -> Result<(), Violation> {
            self.frames.push((header.opcode, header.length));
            Ok(())
        }
        fn on_control(&mut self, opcode: OpCode, payload: &[u8]) -> bool {
            self.controls.push((opcode, payload.to_vec()));
            payload != self.swallow
        }
        fn on_close(&mut self, close: CloseFrame<'_>) -> bool {
            self.close = Some((close.code, close.reason.to_owned()));
            true
        }
    }

    const OPEN: Rules = Rules {
        sender: Sender::Server,
        extensions: Extensions::None,
        text: false,
        max_frame: u64::MAX,
        max_message: u64::MAX,
    };

    /// Feeds `stream` in pieces of `step` bytes; what went on, and the violation.
    fn feed(
        rules: Rules,
        stream: &[u8],
        step: usize,
        seen: &mut Seen,
    ) -> (Vec<u8>, Option<Violation>) {
        let mut scanner = Scanner::new();
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            held.extend_from_slice(piece);
            let scan = scanner.scan(&rules, &mut held, seen);
            out.extend_from_slice(&held[..scan.pass]);
            if scan.violation.is_some() {
                return (out, scan.violation);
            }
            held.drain(..scan.hold_from);
            assert!(held.len() <= MAX_HELD);
        }
        (out, None)
    }

    #[test]
    fn the_same_events_under_any_cut() {
        let mut stream = vec![
            0x01, 3, b'a', b'b', b'c', 0x89, 2, b'h', b'i', 0x80, 126, 0, 200,
        ];
        stream.extend([b'x'; 200]);
        stream.extend([0x82, 0, 0x88, 5, 0x03, 0xe8, b'b', b'y', b'e']);
        let mut whole = Seen::default();
        assert_eq!(
            feed(OPEN, &stream, stream.len(), &mut whole),
            (stream.clone(), None)
        );
        assert_eq!(whole.close, Some((Some(1000), "bye".into())));
        for step in 1..stream.len() {
            let mut seen = Seen::default();
            assert_eq!(feed(OPEN, &stream, step, &mut seen), (stream.clone(), None));
            assert_eq!(seen, whole);
        }
    }

    /// There are two for each idle session.
    #[test]
    fn a_scanner_is_small() {
        let size = size_of::<Scanner>();
        assert!(size <= 32, "{size} bytes");
    }

    #[test]
    fn payload_is_what_went_on_of_it() {
        let mut scanner = Scanner::new();
        let seen = &mut Seen::default();
        let mut huge = vec![0x82, 127, 0x7f, 255, 255, 255, 255, 255, 255, 255];
        assert_eq!(scanner.scan(&OPEN, &mut huge, seen).payload, 0);
        for size in [1, 500] {
            assert_eq!(scanner.scan(&OPEN, &mut vec![0; size], seen).payload, size);
        }
        let mut scanner = Scanner::new();
        let mut mixed = [0x01, 2, b'a', b'b', 0x89, 1, b'p', 0x80, 3, b'c'];
        assert_eq!(scanner.scan(&OPEN, &mut mixed, seen).payload, 3);
    }

    #[test]
    fn nothing_of_a_bad_frame_goes_on() {
        let cases: [(&[u8], Violation); 8] = [
            (&[0x82, 1, 0, 0xc2, 0], Violation::ReservedBits(4)),
            (&[0x82, 1, 0, 0x83, 0], Violation::OpCode(3)),
            (&[0x82, 1, 0, 0x80, 0], Violation::StrayContinuation),
            (&[0x02, 1, 0, 0x82, 0], Violation::MessageInside),
            (&[0x82, 1, 0, 0x82, 0x80, 1, 1, 1, 1], Violation::Masked),
            (&[0x82, 1, 0, 0x88, 1, 3], Violation::CloseTooShort),
            (&[0x82, 1, 0, 0x88, 2, 3, 0xed], Violation::CloseCode(1005)),
            (&[0x82, 1, 0, 0x89, 126, 0, 126], Violation::ControlTooLong),
        ];
        for (stream, violation) in cases {
            for step in 1..=stream.len() {
                let (out, seen) = feed(OPEN, stream, step, &mut Seen::default());
                assert_eq!(
                    (&out[..], seen),
                    (&stream[..3], Some(violation)),
                    "step {step}"
                );
            }
        }
    }

    #[test]
    fn limits_hold_on_the_declared_length() {
        let rules = Rules {
            max_frame: 10,
            max_message: 15,
            ..OPEN
        };
        let mut seen = Seen::default();
        assert_eq!(
            feed(rules, &[0x82, 11], 2, &mut seen).1,
            Some(Violation::FrameTooBig {
                length: 11,
                limit: 10
            })
        );
        let mut two = vec![0x02, 10];
        two.extend([0; 10]);
        two.extend([0x80, 6]);
        assert_eq!(
            feed(rules, &two, 5, &mut seen).1,
            Some(Violation::MessageTooBig {
                length: 16,
                limit: 15
            })
        );
    }

    #[test]
    fn a_swallowed_control_frame_leaves_the_stream_whole() {
        let mut seen = Seen {
            swallow: b"own".to_vec(),
            ..Seen::default()
        };
        let stream = [
            0x82, 1, 7, 0x8a, 3, b'o', b'w', b'n', 0x82, 2, 8, 9, 0x8a, 1, b'x',
        ];
        let (out, violation) = feed(OPEN, &stream, stream.len(), &mut seen);
        assert_eq!(
            (&out[..], violation),
            (&[0x82, 1, 7, 0x82, 2, 8, 9, 0x8a, 1, b'x'][..], None)
        );
    }

    #[test]
    fn nothing_goes_on_behind_a_close() {
        let (out, violation) = feed(OPEN, &[0x88, 0, 0x82, 1, 1], 5, &mut Seen::default());
        assert_eq!((&out[..], violation), (&[0x88, 0][..], None));
    }
}
