//! The verbatim reader of one direction: it follows frame headers and leaves payloads alone.
//!
//! A [`Scanner`] is fed what was read from the sender, at any cuts, and says how much of it may go
//! on to the other side. Of a frame that breaks a rule nothing goes on: a header is held back until
//! it is whole, and so is a control frame (at most 139 bytes), because a close frame is judged by
//! its payload.

use crate::close::CloseFrame;
use crate::frame::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode, Violation, apply_mask};

/// The most bytes that [`Scanner::scan`] leaves over.
pub const MAX_HELD: usize = MAX_HEADER + MAX_CONTROL_PAYLOAD;

/// Who sends in the direction that is scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The side that opened the WebSocket: it must mask.
    Client,
    /// The side that was opened to: it must not mask.
    Server,
}

/// What a direction allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Who sends.
    pub sender: Sender,
    /// The reserved bits that negotiated extensions use on the first frame of a message, RSV1 being
    /// 4 (permessage-deflate).
    pub reserved: u8,
    /// The largest frame payload in bytes, on the declared length.
    pub max_frame: u64,
    /// The largest message in bytes: all its frames' payloads, on the declared lengths.
    pub max_message: u64,
}

/// What is told of the frames that pass, in their order.
pub trait Observer {
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
    /// The bytes from here to the end of the buffer are the beginning of a frame: put them in
    /// front of the next read. At most [`MAX_HELD`].
    pub hold_from: usize,
    /// What broke a rule behind the bytes that may go on; the direction is over.
    pub violation: Option<Violation>,
}

/// Where a direction stands between two reads. It owns no buffer.
#[derive(Debug, Clone)]
pub struct Scanner {
    rules: Rules,
    /// Payload bytes of the current frame that are still to come.
    remaining: u64,
    /// Declared bytes of the message that is under way, `None` between messages.
    message: Option<u64>,
    closed: bool,
}

impl Scanner {
    /// A direction at its beginning.
    #[must_use]
    pub const fn new(rules: Rules) -> Self {
        Self {
            rules,
            remaining: 0,
            message: None,
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
    /// Swallowed frames are moved out of the part that may go on.
    pub fn scan(&mut self, bytes: &mut [u8], observer: &mut impl Observer) -> Scan {
        let mut at = self.skip_payload(0, bytes.len());
        // Bytes before `pass` may go on; they trail `at` once a frame was swallowed.
        let mut pass = at;
        while at < bytes.len() && !self.closed {
            match self.frame(&mut bytes[at..], observer) {
                Err(violation) => {
                    return Scan {
                        pass,
                        hold_from: bytes.len(),
                        violation: Some(violation),
                    };
                }
                Ok(Step::Incomplete) => {
                    return Scan {
                        pass,
                        hold_from: at,
                        violation: None,
                    };
                }
                Ok(Step::Swallowed(size)) => at += size,
                Ok(Step::Passed(size)) => {
                    let end = self.skip_payload(at + size, bytes.len());
                    if pass != at {
                        bytes.copy_within(at..end, pass);
                    }
                    pass += end - at;
                    at = end;
                }
            }
        }
        Scan {
            pass,
            hold_from: bytes.len(),
            violation: None,
        }
    }

    /// Lets only the rest of the current frame go on: so many of the next `size` bytes.
    pub fn finish_frame(&mut self, size: usize) -> usize {
        self.skip_payload(0, size)
    }

    /// Moves over payload bytes of the current frame, from `at` up to `end`.
    fn skip_payload(&mut self, at: usize, end: usize) -> usize {
        let there = (end - at) as u64;
        let skipped = self.remaining.min(there);
        self.remaining -= skipped;
        // `skipped` is at most `end - at`.
        at + usize::try_from(skipped).unwrap_or(end - at)
    }

    /// Takes the frame that begins at the beginning of `bytes`.
    fn frame(&mut self, bytes: &mut [u8], observer: &mut impl Observer) -> Result<Step, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(Step::Incomplete);
        };
        self.check_reserved(first)?;
        let Some((header, size)) = FrameHeader::parse(bytes)? else {
            return Ok(Step::Incomplete);
        };
        self.check_mask(&header)?;
        if !header.opcode.is_control() {
            self.data_frame(&header, observer)?;
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
        let close = if header.opcode == OpCode::Close {
            Some(CloseFrame::parse(payload)?)
        } else {
            None
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
        header: &FrameHeader,
        observer: &mut impl Observer,
    ) -> Result<(), Violation> {
        let before = match (header.opcode, self.message) {
            (OpCode::Continuation, Some(before)) => before,
            (OpCode::Continuation, None) => return Err(Violation::StrayContinuation),
            (_, Some(_)) => return Err(Violation::MessageInside),
            (_, None) => 0,
        };
        let length = header.length;
        if length > self.rules.max_frame {
            return Err(Violation::FrameTooBig {
                length,
                limit: self.rules.max_frame,
            });
        }
        let message = before.saturating_add(length);
        if message > self.rules.max_message {
            return Err(Violation::MessageTooBig {
                length: message,
                limit: self.rules.max_message,
            });
        }
        observer.on_frame(header)?;
        self.message = if header.fin { None } else { Some(message) };
        self.remaining = length;
        Ok(())
    }

    /// RSV1 of permessage-deflate stands on the first frame of a message alone (RFC 7692 section 6.1).
    fn check_reserved(&self, first: u8) -> Result<(), Violation> {
        let reserved = first >> 4 & 0b111;
        let allowed = if matches!(first & 0x0f, 1 | 2) {
            self.rules.reserved
        } else {
            0
        };
        if reserved & !allowed == 0 {
            Ok(())
        } else {
            Err(Violation::ReservedBits(reserved))
        }
    }

    const fn check_mask(&self, header: &FrameHeader) -> Result<(), Violation> {
        match (self.rules.sender, header.mask) {
            (Sender::Client, None) => Err(Violation::Unmasked),
            (Sender::Server, Some(_)) => Err(Violation::Masked),
            _ => Ok(()),
        }
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
        reserved: 0,
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
        let mut scanner = Scanner::new(rules);
        let (mut held, mut out) = (Vec::new(), Vec::new());
        for piece in stream.chunks(step) {
            held.extend_from_slice(piece);
            let scan = scanner.scan(&mut held, seen);
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
