//! Messages written as frames.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{Randomness, Role};
use crate::close::is_legal_on_wire;
use crate::deflate::{Agreed, Compressor, Config, Outcome};
use crate::error::SessionError;
use crate::frame::{
    ControlFrame, FrameHeader, MAX_CONTROL_PAYLOAD, MAX_HEADER, OpCode, apply_mask,
};
use crate::message::{Close, Message};

/// What stands on the first frame of a compressed message.
const RSV1: u8 = 0b100;

/// Where our direction stands (RFC 6455 sections 5 and 6.1). One message is one frame.
#[derive(Debug)]
pub struct Encoder {
    role: Role,
    compressor: Option<Box<Compressor>>,
}

impl Encoder {
    /// The direction away from us, where we are `role`.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            compressor: None,
        }
    }

    /// With permessage-deflate, as it was agreed.
    #[must_use]
    pub fn with_deflate(mut self, agreed: &Agreed, config: &Config) -> Self {
        self.compressor = Some(Box::new(Compressor::new(agreed, config)));
        self
    }

    /// Appends the frame of `message` to `into`.
    ///
    /// # Errors
    /// For a ping or pong of more than 125 bytes; nothing is appended then.
    #[inline]
    pub fn encode(&mut self, message: &Message, into: &mut BytesMut) -> Result<(), SessionError> {
        let (opcode, payload) = parts(message)?;
        self.frame(opcode, payload, into);
        Ok(())
    }

    /// Appends a close frame to `into`. One with 1005 is empty, and another code that must not
    /// stand on the wire ([`is_legal_on_wire`](crate::close::is_legal_on_wire)) becomes 1011.
    pub fn close(&mut self, close: &Close, into: &mut BytesMut) {
        let mask = self.mask();
        let frame = match close.code {
            None | Some(1005) => ControlFrame::close_without_code(mask),
            Some(code) => {
                let code = if is_legal_on_wire(code) { code } else { 1011 };
                ControlFrame::close(code, &close.reason, mask)
            }
        };
        into.extend_from_slice(frame.as_bytes());
    }

    /// Appends the header alone, where the payload can go out as it is: unmasked, uncompressed.
    pub(crate) fn header_of(&self, message: &Message, into: &mut BytesMut) -> bool {
        if self.role == Role::Client || self.compressor.is_some() || message.is_control() {
            return false;
        }
        let Ok((opcode, payload)) = parts(message) else {
            return false;
        };
        put_header(opcode, payload.len(), None, into);
        true
    }

    fn frame(&mut self, opcode: OpCode, payload: &[u8], into: &mut BytesMut) {
        let mask = self.mask();
        if !opcode.is_control() && self.compressed(opcode, payload, mask, into) {
            return;
        }
        into.reserve(MAX_HEADER + payload.len());
        put_header(opcode, payload.len(), mask, into);
        let from = into.len();
        into.put_slice(payload);
        if let (Some(mask), Some(payload)) = (mask, into.get_mut(from..)) {
            apply_mask(payload, mask, 0);
        }
    }

    /// Appends the frame of a compressed message, if it pays.
    fn compressed(
        &mut self,
        opcode: OpCode,
        payload: &[u8],
        mask: Option<[u8; 4]>,
        into: &mut BytesMut,
    ) -> bool {
        let Some(compressor) = &mut self.compressor else {
            return false;
        };
        // The payload is moved down to its header, whose size is known afterwards.
        let start = into.len();
        let from = start + MAX_HEADER;
        into.put_bytes(0, MAX_HEADER);
        if compressor.compress(payload, into) == Outcome::AsItIs {
            into.truncate(start);
            return false;
        }
        let payload = into.get_mut(from..).unwrap_or_default();
        let length = payload.len();
        if let Some(mask) = mask {
            apply_mask(payload, mask, 0);
        }
        let header = FrameHeader {
            fin: true,
            reserved: RSV1,
            opcode,
            mask,
            length: length as u64,
        };
        let mut bytes = [0; MAX_HEADER];
        let size = header.write(&mut bytes);
        if let Some(place) = into.get_mut(start..start + size) {
            place.copy_from_slice(bytes.get(..size).unwrap_or_default());
        }
        into.copy_within(from.., start + size);
        into.truncate(start + size + length);
        true
    }

    fn mask(&self) -> Option<[u8; 4]> {
        (self.role == Role::Client).then(Randomness::mask)
    }
}

/// Appends the header of a message's one frame, by words: what is put together byte by byte and then
/// copied makes the processor wait.
#[inline]
fn put_header(opcode: OpCode, length: usize, mask: Option<[u8; 4]>, into: &mut BytesMut) {
    let first = 0x80 | opcode as u8;
    let masked = if mask.is_some() { 0x80 } else { 0 };
    match length {
        short @ 0..=125 => into.put_u16(u16::from_be_bytes([first, masked | short as u8])),
        126..=0xffff => {
            let [.., high, low] = (length as u64).to_be_bytes();
            into.put_u32(u32::from_be_bytes([first, masked | 126, high, low]));
        }
        _ => {
            into.put_u16(u16::from_be_bytes([first, masked | 127]));
            into.put_u64(length as u64);
        }
    }
    if let Some(mask) = mask {
        into.put_slice(&mask);
    }
}

#[inline]
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
