//! Messages written as frames.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Randomness, Role};
use crate::error::SessionError;
use crate::frame::{
    ControlFrame, FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode, apply_mask,
};
use crate::message::{Close, Message};

/// Where our direction stands. One message is one frame.
#[derive(Debug)]
pub struct Encoder {
    role: Role,
}

impl Encoder {
    /// The direction away from us, where we are `role`.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { role }
    }

    /// Appends the frame of `message` to `into`.
    ///
    /// # Errors
    /// For a ping or pong of more than 125 bytes; nothing is appended then.
    pub fn encode(&mut self, message: &Message, into: &mut BytesMut) -> Result<(), SessionError> {
        let (opcode, payload) = parts(message)?;
        self.frame(opcode, payload, into);
        Ok(())
    }

    /// Appends a close frame to `into`.
    pub fn close(&mut self, close: &Close, into: &mut BytesMut) {
        let mask = self.mask();
        let frame = close.code.map_or_else(
            || ControlFrame::close_without_code(mask),
            |code| ControlFrame::close(code, &close.reason, mask),
        );
        into.extend_from_slice(frame.as_bytes());
    }

    /// Appends the header alone, where the payload can go out as it is: unmasked, uncompressed.
    pub(crate) fn header_of(&mut self, message: &Message, into: &mut BytesMut) -> Option<Bytes> {
        if self.role == Role::Client || message.is_control() {
            return None;
        }
        let (opcode, payload) = parts(message).ok()?;
        self.header(opcode, payload.len(), None, into);
        Some(payload.clone())
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8], into: &mut BytesMut) {
        let mask = self.mask();
        into.reserve(MAX_HEADER + payload.len());
        self.header(opcode, payload.len(), mask, into);
        let from = into.len();
        into.put_slice(payload);
        if let (Some(mask), Some(payload)) = (mask, into.get_mut(from..)) {
            apply_mask(payload, mask, 0);
        }
    }

    fn header(&self, opcode: OpCode, length: usize, mask: Option<[u8; 4]>, into: &mut BytesMut) {
        let header = FrameHeader {
            fin: true,
            reserved: 0,
            opcode,
            mask,
            length: length as u64,
        };
        let mut bytes = [0; MAX_HEADER];
        let size = header.write(&mut bytes);
        into.extend_from_slice(bytes.get(..size).unwrap_or_default());
    }

    fn mask(&self) -> Option<[u8; 4]> {
        (self.role == Role::Client).then(Randomness::mask)
    }
}

fn parts(message: &Message) -> Result<(OpCode, &Bytes), SessionError> {
    let payload = message.payload();
    if message.is_control() && payload.len() > MAX_CONTROL_PAYLOAD {
        return Err(SessionError::ControlTooLong);
    }
    let opcode = match message {
        Message::Text(_) => OpCode::Text,
        Message::Binary(_) => OpCode::Binary,
        Message::Ping(_) => OpCode::Ping,
        Message::Pong(_) => OpCode::Pong,
    };
    Ok((opcode, payload))
}
