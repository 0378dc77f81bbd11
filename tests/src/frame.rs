//! WebSocket frames (RFC 6455 section 5.2) as they stand on the wire.

/// Continuation.
pub const CONTINUATION: u8 = 0;
/// Text.
pub const TEXT: u8 = 1;
/// Binary.
pub const BINARY: u8 = 2;
/// Close.
pub const CLOSE: u8 = 8;
/// Ping.
pub const PING: u8 = 9;
/// Pong.
pub const PONG: u8 = 10;

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Whether it ends its message.
    pub fin: bool,
    /// The reserved bits, RSV1 highest (4).
    pub reserved: u8,
    /// The opcode.
    pub opcode: u8,
    /// The masking key, where it is masked.
    pub mask: Option<[u8; 4]>,
    /// The payload, unmasked.
    pub payload: Vec<u8>,
}

impl Frame {
    /// A frame that ends its message, unmasked.
    #[must_use]
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self {
            fin: true,
            reserved: 0,
            opcode,
            mask: None,
            payload: payload.as_ref().to_vec(),
        }
    }

    /// A text message.
    #[must_use]
    pub fn text(payload: &str) -> Self {
        Self::new(TEXT, payload)
    }

    /// A close frame with `code` and `reason`.
    #[must_use]
    pub fn close(code: u16, reason: impl AsRef<[u8]>) -> Self {
        let mut payload = code.to_be_bytes().to_vec();
        payload.extend_from_slice(reason.as_ref());
        Self::new(CLOSE, payload)
    }

    /// The same frame, masked with `key`.
    #[must_use]
    pub fn masked(mut self, key: [u8; 4]) -> Self {
        self.mask = Some(key);
        self
    }

    /// The same frame, masked with a key of its own: what a client sends.
    #[must_use]
    pub fn from_client(self) -> Self {
        self.masked(fastrand::u32(..).to_be_bytes())
    }

    /// The same frame, not ending its message.
    #[must_use]
    pub fn unfinished(mut self) -> Self {
        self.fin = false;
        self
    }

    /// The same frame with these reserved bits (RSV1 is 4).
    #[must_use]
    pub fn reserved(mut self, bits: u8) -> Self {
        self.reserved = bits;
        self
    }

    /// The code of a close frame; `None` for an empty one.
    ///
    /// # Panics
    /// When this is no close frame, or has one byte.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        assert_eq!(self.opcode, CLOSE, "a close frame was due, not {self:?}");
        match self.payload[..] {
            [] => None,
            [high, low, ..] => Some(u16::from_be_bytes([high, low])),
            [_] => panic!("a close frame of one byte"),
        }
    }

    /// The bytes on the wire, its length in the shortest form.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.header();
        let start = bytes.len();
        bytes.extend_from_slice(&self.payload);
        if let Some(key) = self.mask {
            apply_mask(key, &mut bytes[start..]);
        }
        bytes
    }

    /// The bytes of its header alone.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let mask_bit = u8::from(self.mask.is_some()) << 7;
        let mut bytes = vec![(u8::from(self.fin) << 7) | (self.reserved << 4) | self.opcode];
        match self.payload.len() {
            length @ 0..=125 => bytes.push(mask_bit | length as u8),
            length @ 126..=0xffff => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if let Some(key) = self.mask {
            bytes.extend_from_slice(&key);
        }
        bytes
    }

    /// Reads one frame from the start of `bytes`; how many bytes it took, or `None` when they do
    /// not hold all of it.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (length, mut at) = match second & 0x7f {
            126 => (
                u64::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?)),
                4,
            ),
            127 => (u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?), 10),
            length => (u64::from(length), 2),
        };
        let mut mask = None;
        if second & 0x80 != 0 {
            mask = Some(bytes.get(at..at + 4)?.try_into().ok()?);
            at += 4;
        }
        let length = usize::try_from(length).ok()?;
        let mut payload = bytes.get(at..at.checked_add(length)?)?.to_vec();
        if let Some(key) = mask {
            apply_mask(key, &mut payload);
        }
        let frame = Self {
            fin: first & 0x80 != 0,
            reserved: (first >> 4) & 7,
            opcode: first & 15,
            mask,
            payload,
        };
        Some((frame, at + length))
    }
}

fn apply_mask(key: [u8; 4], payload: &mut [u8]) {
    for (index, byte) in payload.iter_mut().enumerate() {
        *byte ^= key[index % 4];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for length in [0, 1, 125, 126, 65_535, 65_536] {
            let frame = Frame::new(BINARY, vec![7; length]).masked([1, 2, 3, 4]);
            let bytes = frame.bytes();
            assert_eq!(Frame::parse(&bytes), Some((frame, bytes.len())));
            assert_eq!(Frame::parse(&bytes[..bytes.len() - 1]), None);
        }
    }

    #[test]
    fn writes_the_examples_of_the_rfc() {
        let hello = Frame::text("Hello").masked([0x37, 0xfa, 0x21, 0x3d]);
        let expected = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        assert_eq!(hello.bytes(), expected);
        assert_eq!(
            Frame::text("Hel").unfinished().bytes(),
            [1, 3, b'H', b'e', b'l']
        );
    }
}
