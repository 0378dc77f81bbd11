//! Frames of one direction, put together to messages.

use bytes::{Bytes, BytesMut};

use super::{Event, Role};
use crate::close::CloseFrame;
use crate::frame::{FrameHeader, OpCode, Violation, apply_mask};
use crate::limits::Limits;
use crate::message::{Message, Text};
use crate::rules::{Extensions, Rules, Sender};
use crate::text::TextCheck;

/// What came of a piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// So many bytes were used. Those behind them come again, in front of what is read next; where
    /// there is no event, they are at most 138.
    pub used: usize,
    /// The event that they end with; `None` when more bytes are needed.
    pub event: Option<Event>,
}

/// Where the peer's direction stands between two reads.
///
/// Payloads of messages are copied out of what was read, so that a message that is kept pins nothing
/// else; one that comes in several pieces grows with what came, never by its declared length.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    max_parts: u32,
    /// Payload bytes of the data frame under way that are still to come.
    remaining: u64,
    /// Its mask, turned to the next of them.
    mask: [u8; 4],
    fin: bool,
    message: Option<Assembly>,
}

/// The message under way.
#[derive(Debug)]
struct Assembly {
    is_text: bool,
    text: TextCheck,
    declared: u64,
    parts: u32,
    buffer: BytesMut,
}

impl Decoder {
    /// The direction towards us, where we are `role`.
    #[must_use]
    pub const fn new(role: Role, limits: &Limits) -> Self {
        Self {
            rules: Rules {
                sender: match role {
                    Role::Server => Sender::Client,
                    Role::Client => Sender::Server,
                },
                extensions: Extensions::None,
                text: true,
                max_frame: limits.max_frame,
                max_message: limits.max_message,
            },
            max_parts: limits.max_parts,
            remaining: 0,
            mask: [0; 4],
            fin: false,
            message: None,
        }
    }

    /// Whether nothing of a message has come that is not told yet.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.message.is_none()
    }

    /// Takes bytes as they were read, up to the end of the first event among them. They are unmasked
    /// in place.
    ///
    /// # Errors
    /// Where the peer breaks a rule or a limit; the direction is over then, and what more comes of
    /// it means nothing.
    pub fn decode(&mut self, wire: &mut [u8]) -> Result<Decoded, Violation> {
        let mut used = 0;
        loop {
            if self.remaining > 0 {
                let rest = wire.get_mut(used..).unwrap_or_default();
                used += self.payload(rest)?;
                if self.remaining > 0 {
                    return Ok(Decoded { used, event: None });
                }
            } else {
                let rest = wire.get_mut(used..).unwrap_or_default();
                let Some((header, size)) = self.header(rest)? else {
                    return Ok(Decoded { used, event: None });
                };
                let payload = rest.get_mut(size..).unwrap_or_default();
                if header.opcode.is_control() {
                    let Some(event) = control(&header, payload)? else {
                        return Ok(Decoded { used, event: None });
                    };
                    used += size + usize::try_from(header.length).unwrap_or_default();
                    return Ok(Decoded {
                        used,
                        event: Some(event),
                    });
                }
                self.begin(&header)?;
                used += size;
                if let Some(message) = self.at_once(payload)? {
                    return Ok(Decoded {
                        used: used + message.payload().len(),
                        event: Some(Event::Message(message)),
                    });
                }
                if self.remaining > 0 {
                    continue;
                }
            }
            if self.fin
                && let Some(message) = self.message.take()
            {
                let event = Some(Event::Message(message.finish()?));
                return Ok(Decoded { used, event });
            }
        }
    }

    fn header(&self, wire: &[u8]) -> Result<Option<(FrameHeader, usize)>, Violation> {
        let Some((header, size)) = FrameHeader::parse(wire)? else {
            return Ok(None);
        };
        self.rules
            .check_reserved(wire.first().copied().unwrap_or_default())?;
        self.rules.check_mask(&header)?;
        Ok(Some((header, size)))
    }

    /// A data frame begins.
    fn begin(&mut self, header: &FrameHeader) -> Result<(), Violation> {
        let length = header.length;
        match (header.opcode, &mut self.message) {
            (OpCode::Continuation, None) => return Err(Violation::StrayContinuation),
            (OpCode::Continuation, Some(message)) => {
                message.parts += 1;
                message.declared = message.declared.saturating_add(length);
            }
            (_, Some(_)) => return Err(Violation::MessageInside),
            (opcode, message @ None) => {
                *message = Some(Assembly {
                    is_text: opcode == OpCode::Text,
                    text: TextCheck::default(),
                    declared: length,
                    parts: 1,
                    buffer: BytesMut::new(),
                });
            }
        }
        let declared = self.message.as_ref().map_or(0, |message| message.declared);
        let parts = self.message.as_ref().map_or(0, |message| message.parts);
        if length > self.rules.max_frame {
            let limit = self.rules.max_frame;
            return Err(Violation::FrameTooBig { length, limit });
        }
        if declared > self.rules.max_message {
            return Err(Violation::MessageTooBig {
                length: declared,
                limit: self.rules.max_message,
            });
        }
        if parts > self.max_parts {
            return Err(Violation::TooManyParts(self.max_parts));
        }
        self.fin = header.fin;
        self.mask = header.mask.unwrap_or_default();
        self.remaining = length;
        Ok(())
    }

    /// A message of one frame that has come as a whole: the way that most go.
    fn at_once(&mut self, wire: &mut [u8]) -> Result<Option<Message>, Violation> {
        let is_whole = self.fin
            && self
                .message
                .as_ref()
                .is_some_and(|message| message.parts == 1)
            && self.remaining <= wire.len() as u64;
        if !is_whole {
            return Ok(None);
        }
        let length = usize::try_from(self.remaining).unwrap_or_default();
        let Some((payload, message)) = wire.get_mut(..length).zip(self.message.take()) else {
            return Ok(None);
        };
        self.remaining = 0;
        if self.mask != [0; 4] {
            apply_mask(payload, self.mask, 0);
        }
        if message.is_text && std::str::from_utf8(payload).is_err() {
            return Err(Violation::Text);
        }
        Ok(Some(of_kind(
            message.is_text,
            Bytes::copy_from_slice(payload),
        )))
    }

    /// Takes payload of the frame under way; says how much.
    fn payload(&mut self, wire: &mut [u8]) -> Result<usize, Violation> {
        let length = usize::try_from(self.remaining).map_or(wire.len(), |all| all.min(wire.len()));
        let payload = wire.get_mut(..length).unwrap_or_default();
        if self.mask != [0; 4] {
            apply_mask(payload, self.mask, 0);
            self.mask.rotate_left(length & 3);
        }
        self.remaining -= length as u64;
        if let Some(message) = &mut self.message {
            if message.is_text {
                message.text.push(payload)?;
            }
            message.buffer.extend_from_slice(payload);
        }
        Ok(length)
    }
}

impl Assembly {
    fn finish(self) -> Result<Message, Violation> {
        if self.is_text {
            self.text.finish()?;
        }
        Ok(of_kind(self.is_text, settle(self.buffer)))
    }
}

/// Lets go of room that would pin more than twice the payload.
fn settle(buffer: BytesMut) -> Bytes {
    if buffer.capacity() / 2 > buffer.len() {
        Bytes::copy_from_slice(&buffer)
    } else {
        buffer.freeze()
    }
}

const fn of_kind(is_text: bool, payload: Bytes) -> Message {
    if is_text {
        Message::Text(Text::checked(payload))
    } else {
        Message::Binary(payload)
    }
}

/// A control frame, once it has come as a whole.
fn control(header: &FrameHeader, wire: &mut [u8]) -> Result<Option<Event>, Violation> {
    let length = usize::try_from(header.length).unwrap_or(usize::MAX);
    let Some(payload) = wire.get_mut(..length) else {
        return Ok(None);
    };
    if let Some(mask) = header.mask {
        apply_mask(payload, mask, 0);
    }
    Ok(Some(match header.opcode {
        OpCode::Close => Event::Close(CloseFrame::parse(payload)?.into()),
        OpCode::Ping => Event::Message(Message::Ping(Bytes::copy_from_slice(payload))),
        _ => Event::Message(Message::Pong(Bytes::copy_from_slice(payload))),
    }))
}
