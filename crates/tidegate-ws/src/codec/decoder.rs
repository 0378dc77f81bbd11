//! Frames of one direction, put together to messages.

use std::num::NonZeroUsize;
use std::ops::Range;

use bytes::{Bytes, BytesMut};

use super::{Event, Role};
use crate::close::CloseFrame;
use crate::deflate::{Agreed, Inflater};
use crate::frame::{FrameHeader, OpCode, Violation, apply_mask};
use crate::limits::Limits;
use crate::message::{Message, Text};
use crate::rules::{Extensions, Rules, Sender};
use crate::text::TextCheck;

/// From how many bytes on payload is read to where it is to be.
const LARGE: usize = 8 << 10;

/// What came of a piece of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// So many bytes were used. Those behind them come again, in front of what is read next; where
    /// there is no event, they are at most 138.
    pub used: usize,
    /// The event that they end with; `None` when more bytes are needed.
    pub event: Option<Event>,
}

/// Where the peer's direction stands between two reads (RFC 6455 sections 5 and 6.2).
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
    message: Option<Box<Assembly>>,
    /// The length of the message's buffer before it was read into.
    filled_from: Option<NonZeroUsize>,
    inflater: Option<Box<Inflater>>,
}

/// A message where it was read.
#[derive(Debug)]
pub(crate) struct InPlace {
    /// Where its payload is.
    pub(crate) payload: Range<usize>,
    is_text: bool,
}

impl InPlace {
    /// The message, with the bytes of that place.
    pub(crate) const fn message(&self, payload: Bytes) -> Message {
        of_kind(self.is_text, payload)
    }
}

/// What a frame came to.
enum Step {
    /// It is a data frame, whose header takes so many bytes.
    Begun(usize),
    Incomplete,
    /// An event has ended with so many bytes.
    Whole(usize, Event),
}

/// The message under way.
#[derive(Debug)]
struct Assembly {
    is_text: bool,
    is_compressed: bool,
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
            filled_from: None,
            inflater: None,
        }
    }

    /// With permessage-deflate, as it was agreed.
    #[must_use]
    pub fn with_deflate(mut self, agreed: &Agreed) -> Self {
        self.rules.extensions = Extensions::Deflate;
        self.inflater = Some(Box::new(Inflater::new(agreed)));
        self
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
        self.filled()?;
        let mut used = 0;
        loop {
            let rest = wire.get_mut(used..).unwrap_or_default();
            if self.remaining > 0 {
                used += self.payload(rest)?;
            } else if !self.is_complete() {
                match self.frame(rest)? {
                    Step::Begun(size) => used += size,
                    Step::Incomplete => return Ok(Decoded { used, event: None }),
                    Step::Whole(size, event) => {
                        let (used, event) = (used + size, Some(event));
                        return Ok(Decoded { used, event });
                    }
                }
            }
            if self.is_complete()
                && let Some(message) = self.message.take()
            {
                let event = Some(Event::Message(self.finish(*message)?));
                return Ok(Decoded { used, event });
            }
            if self.remaining > 0 && used == wire.len() {
                return Ok(Decoded { used, event: None });
            }
        }
    }

    /// Whether the message under way has all of its payload.
    const fn is_complete(&self) -> bool {
        self.remaining == 0 && self.fin && self.message.is_some()
    }

    /// The frame that `wire` begins with.
    fn frame(&mut self, wire: &mut [u8]) -> Result<Step, Violation> {
        if let Some(found) = self.in_place(wire)? {
            let payload = wire.get(found.payload.clone()).unwrap_or_default();
            let payload = Bytes::copy_from_slice(payload);
            let event = Event::Message(found.message(payload));
            return Ok(Step::Whole(found.payload.end, event));
        }
        let Some((header, size)) = self.header(wire)? else {
            return Ok(Step::Incomplete);
        };
        let payload = wire.get_mut(size..).unwrap_or_default();
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        if header.opcode.is_control() {
            let event = control(&header, payload)?;
            return Ok(event.map_or(Step::Incomplete, |event| Step::Whole(size + length, event)));
        }
        self.begin(&header)?;
        Ok(Step::Begun(size))
    }

    /// Where payload of a large message can be read to, and the most that may be: not for small
    /// ones, which come together with others. [`Decoder::decode`] has to be called before the next
    /// read, be it with nothing.
    pub(crate) fn room(&mut self) -> Option<(&mut BytesMut, usize)> {
        let message = self.message.as_mut()?;
        let length = message.buffer.len();
        if message.is_compressed || self.remaining < LARGE as u64 || length < LARGE {
            return None;
        }
        let remaining = usize::try_from(self.remaining).unwrap_or(usize::MAX);
        if message.buffer.capacity() - length < LARGE {
            // What came is doubled, and no more.
            message.buffer.reserve(remaining.min(length));
        }
        self.filled_from = NonZeroUsize::new(length);
        let spare = message.buffer.capacity() - length;
        Some((&mut message.buffer, spare.min(remaining)))
    }

    /// Whether there is payload in the room that was not looked at yet.
    pub(crate) fn has_filled(&self) -> bool {
        let length = self
            .message
            .as_ref()
            .map_or(0, |message| message.buffer.len());
        self.filled_from.is_some_and(|from| length > from.get())
    }

    /// Looks at what was read into the room.
    fn filled(&mut self) -> Result<(), Violation> {
        let (Some(from), Some(message)) = (self.filled_from.take(), &mut self.message) else {
            return Ok(());
        };
        let payload = message.buffer.get_mut(from.get()..).unwrap_or_default();
        if self.mask != [0; 4] {
            apply_mask(payload, self.mask, 0);
            self.mask.rotate_left(payload.len() & 3);
        }
        self.remaining = self.remaining.saturating_sub(payload.len() as u64);
        if message.is_text {
            message.text.push(payload)?;
        }
        Ok(())
    }

    #[inline(always)]
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
                *message = Some(Box::new(Assembly {
                    is_text: opcode == OpCode::Text,
                    is_compressed: header.reserved != 0,
                    text: TextCheck::default(),
                    declared: length,
                    parts: 1,
                    buffer: BytesMut::new(),
                }));
            }
        }
        if let Some(message) = &self.message {
            judge(length, message.declared, &self.rules, message.is_compressed)?;
            if message.parts > self.max_parts {
                return Err(Violation::TooManyParts(self.max_parts));
            }
        }
        self.fin = header.fin;
        self.mask = header.mask.unwrap_or_default();
        self.remaining = length;
        Ok(())
    }

    /// A message of one frame, not compressed, that has come as a whole: the way that most go,
    /// without anything to be put together. It is unmasked and judged where it is. `None`, and
    /// nothing is done, where there is none.
    #[inline]
    pub(crate) fn in_place(&self, wire: &mut [u8]) -> Result<Option<InPlace>, Violation> {
        if self.message.is_some() {
            return Ok(None);
        }
        let Some((header, size)) = self.header(wire)? else {
            return Ok(None);
        };
        let is_it = header.fin
            && header.reserved == 0
            && matches!(header.opcode, OpCode::Text | OpCode::Binary);
        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
        let place = size..size.saturating_add(length);
        let Some(payload) = wire.get_mut(place.clone()).filter(|_| is_it) else {
            return Ok(None);
        };
        judge(header.length, header.length, &self.rules, false)?;
        if let Some(mask) = header.mask {
            apply_mask(payload, mask, 0);
        }
        let is_text = header.opcode == OpCode::Text;
        if is_text && simdutf8::basic::from_utf8(payload).is_err() {
            return Err(Violation::Text);
        }
        Ok(Some(InPlace {
            payload: place,
            is_text,
        }))
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
        let Some(message) = &mut self.message else {
            return Ok(length);
        };
        if message.is_compressed {
            message.inflate(
                self.inflater.as_deref_mut(),
                payload,
                false,
                self.rules.max_message,
            )?;
        } else {
            if message.is_text {
                message.text.push(payload)?;
            }
            message.grow(payload.len(), self.remaining);
            message.buffer.extend_from_slice(payload);
        }
        Ok(length)
    }

    fn finish(&mut self, mut message: Assembly) -> Result<Message, Violation> {
        if message.is_compressed {
            let limit = self.rules.max_message;
            message.inflate(self.inflater.as_deref_mut(), &[], true, limit)?;
        }
        message.finish()
    }
}

impl Assembly {
    /// Makes room for bytes that came: for those that are declared behind them too, but for no more
    /// than came so far.
    fn grow(&mut self, came: usize, remaining: u64) {
        let length = self.buffer.len() + came;
        if length > self.buffer.capacity() {
            let more = usize::try_from(remaining).map_or(length, |more| more.min(length));
            self.buffer.reserve(came + more);
        }
    }

    /// Takes payload of a compressed message.
    fn inflate(
        &mut self,
        inflater: Option<&mut Inflater>,
        piece: &[u8],
        fin: bool,
        limit: u64,
    ) -> Result<(), Violation> {
        // RSV1 has been refused where nothing was agreed.
        let inflater = inflater.ok_or(Violation::Compressed)?;
        let before = self.buffer.len();
        inflater.inflate(piece, fin, &mut self.buffer, limit)?;
        if self.is_text {
            self.text
                .push(self.buffer.get(before..).unwrap_or_default())?;
        }
        Ok(())
    }

    fn finish(self) -> Result<Message, Violation> {
        if self.is_text {
            self.text.finish()?;
        }
        Ok(of_kind(self.is_text, settle(self.buffer)))
    }
}

/// Whether a frame of `length` bytes, which makes its message `declared` bytes long, is too big.
fn judge(length: u64, declared: u64, rules: &Rules, is_compressed: bool) -> Result<(), Violation> {
    // What cannot be compressed comes out a little larger.
    let most = |limit: u64| match is_compressed {
        true => limit.saturating_add(limit / 64 + 64),
        false => limit,
    };
    if length > most(rules.max_frame) {
        let limit = rules.max_frame;
        return Err(Violation::FrameTooBig { length, limit });
    }
    if declared > most(rules.max_message) {
        return Err(Violation::MessageTooBig {
            length: declared,
            limit: rules.max_message,
        });
    }
    Ok(())
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
