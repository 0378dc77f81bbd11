//! The header of one frame (RFC 6455 section 5.2), read and written.

mod control;
mod violation;

use std::fmt;

pub use self::control::ControlFrame;
pub use self::violation::Violation;
pub use crate::unchecked::apply_mask;

/// The most bytes that a frame header takes: two, eight of length, four of mask.
pub const MAX_HEADER: usize = 14;

/// The most payload bytes of a control frame (RFC 6455 section 5.5).
pub const MAX_CONTROL_PAYLOAD: usize = 125;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum OpCode {
    /// A further part of the message that is under way.
    Continuation = 0,
    /// A text message or its first part.
    Text = 1,
    /// A binary message or its first part.
    Binary = 2,
    /// The sender will send nothing more.
    Close = 8,
    /// Asks for a pong with the same payload.
    Ping = 9,
    /// Answers a ping, or stands alone.
    Pong = 10,
}

impl OpCode {
    const fn from_bits(bits: u8) -> Option<Self> {
        Some(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return None,
        })
    }

    /// Whether it may stand between the parts of a message: close, ping, pong.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self as u8 >= 8
    }
}

/// The header of one frame.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether it ends its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 being 4.
    pub reserved: u8,
    /// What it is.
    pub opcode: OpCode,
    /// The mask of its payload.
    pub mask: Option<[u8; 4]>,
    /// How many payload bytes follow.
    pub length: u64,
}

impl fmt::Debug for FrameHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The mask is left out: it would unmask what a log should not hold.
        f.debug_struct("FrameHeader")
            .field("fin", &self.fin)
            .field("reserved", &self.reserved)
            .field("opcode", &self.opcode)
            .field("masked", &self.mask.is_some())
            .field("length", &self.length)
            .finish()
    }
}

impl FrameHeader {
    /// Parses the header at the beginning of `bytes` and says how many bytes it takes;
    /// `None` when more bytes are needed.
    ///
    /// # Errors
    /// Whatever can be told from one header: reserved opcode, bad control frame, bad length. A
    /// violation is told as soon as the bytes that show it are there.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Violation> {
        let Some(&first) = bytes.first() else {
            return Ok(None);
        };
        let opcode = OpCode::from_bits(first & 0x0f).ok_or(Violation::OpCode(first & 0x0f))?;
        let fin = first & 0x80 != 0;
        if opcode.is_control() && !fin {
            return Err(Violation::ControlFragmented);
        }
        let Some(&second) = bytes.get(1) else {
            return Ok(None);
        };
        let (length, mut at) = match second & 0x7f {
            short @ ..=125 => (u64::from(short), 2),
            _ if opcode.is_control() => return Err(Violation::ControlTooLong),
            126 => {
                let Some(length) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else {
                    return Ok(None);
                };
                (u64::from(u16::from_be_bytes(*length)), 4)
            }
            _ => {
                let Some(length) = bytes.get(2..).and_then(|rest| rest.first_chunk()) else {
                    return Ok(None);
                };
                (u64::from_be_bytes(*length), 10)
            }
        };
        let least = match at {
            2 => 0,
            4 => 126,
            _ => 1 << 16,
        };
        if length < least || length >> 63 != 0 {
            return Err(Violation::LengthEncoding);
        }
        let mask = if second & 0x80 == 0 {
            None
        } else {
            let Some(mask) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else {
                return Ok(None);
            };
            at += 4;
            Some(*mask)
        };
        Ok(Some((
            Self {
                fin,
                reserved: first >> 4 & 0b111,
                opcode,
                mask,
                length,
            },
            at,
        )))
    }

    /// Writes the header in its shortest form; says how many bytes of `into` it took.
    pub fn write(&self, into: &mut [u8; MAX_HEADER]) -> usize {
        into[0] = u8::from(self.fin) << 7 | self.reserved << 4 | self.opcode as u8;
        let masked = u8::from(self.mask.is_some()) << 7;
        let length = self.length.to_be_bytes();
        let mut at = match self.length {
            0..=125 => {
                into[1] = masked | length[7];
                2
            }
            126..=0xffff => {
                into[1] = masked | 126;
                into[2..4].copy_from_slice(&length[6..]);
                4
            }
            _ => {
                into[1] = masked | 127;
                into[2..10].copy_from_slice(&length);
                10
            }
        };
        if let Some(mask) = self.mask {
            into[at..at + 4].copy_from_slice(&mask);
            at += 4;
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_survive_a_round_trip_and_any_cut() {
        for length in [0, 1, 125, 126, 127, 65535, 65536, 1 << 40] {
            for mask in [None, Some([1, 2, 3, 4])] {
                let header = FrameHeader {
                    fin: true,
                    reserved: 0,
                    opcode: OpCode::Binary,
                    mask,
                    length,
                };
                let mut bytes = [0; MAX_HEADER];
                let size = header.write(&mut bytes);
                for cut in 0..size {
                    assert_eq!(FrameHeader::parse(&bytes[..cut]), Ok(None));
                }
                assert_eq!(FrameHeader::parse(&bytes), Ok(Some((header, size))));
            }
        }
    }

    #[test]
    fn what_one_header_can_violate() {
        assert_eq!(FrameHeader::parse(&[0x83]), Err(Violation::OpCode(3)));
        assert_eq!(
            FrameHeader::parse(&[0x09]),
            Err(Violation::ControlFragmented)
        );
        assert_eq!(
            FrameHeader::parse(&[0x89, 126]),
            Err(Violation::ControlTooLong)
        );
        assert_eq!(
            FrameHeader::parse(&[0x82, 126, 0, 125]),
            Err(Violation::LengthEncoding)
        );
        assert_eq!(
            FrameHeader::parse(&[0x82, 127, 0, 0, 0, 0, 0, 0, 255, 255]),
            Err(Violation::LengthEncoding)
        );
        assert_eq!(
            FrameHeader::parse(&[0x82, 127, 128, 0, 0, 0, 0, 0, 0, 0]),
            Err(Violation::LengthEncoding)
        );
    }

    /// Headers as they stand on the wire, right and wrong ones, near the edges of each length.
    fn tricky() -> impl Strategy<Value = Vec<u8>> {
        let first = prop::sample::select(vec![
            0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8a, 0x09, 0x83, 0x8b, 0xc1, 0xf2,
            0x0f,
        ]);
        let second = prop::sample::select(vec![0, 1, 125, 126, 127, 0x80, 0xfd, 0xfe, 0xff]);
        let length = prop::sample::select(vec![
            0_u64,
            125,
            126,
            127,
            0xffff,
            0x1_0000,
            u64::MAX >> 1,
            1 << 63,
            u64::MAX,
        ]);
        let rest = prop::collection::vec(any::<u8>(), 0..12);
        (first, second, length, rest).prop_map(|(first, second, length, rest)| {
            let mut bytes = vec![first, second];
            let length = length.to_be_bytes();
            match second & 0x7f {
                126 => bytes.extend(&length[6..]),
                127 => bytes.extend(length),
                _ => {}
            }
            bytes.extend(rest);
            bytes
        })
    }

    proptest! {
        #[test]
        fn a_header_reads_the_same_under_any_split(bytes in tricky()) {
            let whole = FrameHeader::parse(&bytes);
            let mut told = Ok(None);
            for end in 0..=bytes.len() {
                let part = FrameHeader::parse(&bytes[..end]);
                // What was said of fewer bytes is never taken back.
                prop_assert!(told == Ok(None) || part == told, "at {}", end);
                told = part;
            }
            prop_assert_eq!(told, whole);
        }

        #[test]
        fn what_is_read_is_written_again(bytes in tricky()) {
            if let Ok(Some((header, size))) = FrameHeader::parse(&bytes) {
                let mut written = [0; MAX_HEADER];
                let length = header.write(&mut written);
                prop_assert_eq!(&written[..length], &bytes[..size]);
                prop_assert!(!header.opcode.is_control() || header.fin && header.length <= 125);
                prop_assert!(header.length < 1 << 63);
            }
        }

        #[test]
        fn a_mask_taken_off_in_pieces_is_taken_off(
            payload in prop::collection::vec(any::<u8>(), 0..64),
            mask in any::<[u8; 4]>(),
            cut in 0_usize..64,
        ) {
            let mut whole = payload.clone();
            apply_mask(&mut whole, mask, 0);
            let mut pieces = payload.clone();
            let cut = cut.min(pieces.len());
            apply_mask(&mut pieces[..cut], mask, 0);
            apply_mask(&mut pieces[cut..], mask, cut);
            prop_assert_eq!(&pieces, &whole);
            apply_mask(&mut whole, mask, 0);
            prop_assert_eq!(whole, payload);
        }
    }
}
