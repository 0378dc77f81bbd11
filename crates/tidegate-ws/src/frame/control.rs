//! Control frames of our own.

use super::{FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode, apply_mask};

/// A whole control frame, ready for the wire.
#[derive(Debug, Clone, Copy)]
pub struct ControlFrame {
    bytes: [u8; MAX_HEADER + MAX_CONTROL_PAYLOAD],
    length: u8,
}

impl ControlFrame {
    /// A close frame. The reason is cut to the room that there is; `mask` is what a client must
    /// give and a server must not.
    #[must_use]
    pub fn close(code: u16, reason: &str, mask: Option<[u8; 4]>) -> Self {
        let reason = crate::close::cut_reason(reason);
        let mut payload = [0; MAX_CONTROL_PAYLOAD];
        payload[..2].copy_from_slice(&code.to_be_bytes());
        payload[2..2 + reason.len()].copy_from_slice(reason.as_bytes());
        Self::build(OpCode::Close, &mut payload[..2 + reason.len()], mask)
    }

    /// A close frame without a code, which answers one without a code.
    #[must_use]
    pub fn close_without_code(mask: Option<[u8; 4]>) -> Self {
        Self::build(OpCode::Close, &mut [], mask)
    }

    /// A ping. The payload is cut to the 125 bytes that there is room for; `mask` as for a close.
    #[must_use]
    pub fn ping(payload: &[u8], mask: Option<[u8; 4]>) -> Self {
        Self::with_payload(OpCode::Ping, payload, mask)
    }

    /// A pong, likewise.
    #[must_use]
    pub fn pong(payload: &[u8], mask: Option<[u8; 4]>) -> Self {
        Self::with_payload(OpCode::Pong, payload, mask)
    }

    fn with_payload(opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) -> Self {
        let mut copy = [0; MAX_CONTROL_PAYLOAD];
        let length = payload.len().min(MAX_CONTROL_PAYLOAD);
        copy[..length].copy_from_slice(&payload[..length]);
        Self::build(opcode, &mut copy[..length], mask)
    }

    fn build(opcode: OpCode, payload: &mut [u8], mask: Option<[u8; 4]>) -> Self {
        let header = FrameHeader {
            fin: true,
            reserved: 0,
            opcode,
            mask,
            length: payload.len() as u64,
        };
        if let Some(mask) = mask {
            apply_mask(payload, mask, 0);
        }
        let mut start = [0; MAX_HEADER];
        let at = header.write(&mut start);
        let mut bytes = [0; MAX_HEADER + MAX_CONTROL_PAYLOAD];
        bytes[..at].copy_from_slice(&start[..at]);
        bytes[at..at + payload.len()].copy_from_slice(payload);
        // 14 + 125 fits a byte.
        #[expect(clippy::cast_possible_truncation, reason = "at most 139")]
        Self {
            bytes,
            length: (at + payload.len()) as u8,
        }
    }

    /// Its bytes on the wire.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_and_pongs_of_ours_parse_again() {
        for (frame, opcode) in [
            (ControlFrame::ping(b"abc", Some([1, 2, 3, 4])), OpCode::Ping),
            (ControlFrame::pong(b"abc", None), OpCode::Pong),
        ] {
            let (header, at) = FrameHeader::parse(frame.as_bytes()).unwrap().unwrap();
            assert_eq!((header.opcode, header.length), (opcode, 3));
            let mut payload = frame.as_bytes()[at..].to_vec();
            apply_mask(&mut payload, header.mask.unwrap_or_default(), 0);
            assert_eq!(payload, b"abc");
        }
        let longest = ControlFrame::pong(&[7; 200], Some([0; 4]));
        assert_eq!(longest.as_bytes().len(), 2 + 4 + MAX_CONTROL_PAYLOAD);
    }

    #[test]
    fn a_close_frame_of_ours_parses_again() {
        let frame = ControlFrame::close(1011, &"x".repeat(200), Some([9, 8, 7, 6]));
        let (header, at) = FrameHeader::parse(frame.as_bytes()).unwrap().unwrap();
        assert_eq!((header.opcode, header.length), (OpCode::Close, 125));
        let mut payload = frame.as_bytes()[at..].to_vec();
        apply_mask(&mut payload, header.mask.unwrap(), 0);
        assert_eq!(
            crate::close::CloseFrame::parse(&payload).unwrap().code,
            Some(1011)
        );
    }
}
