//! Messages made large again (RFC 7692 section 7.2.2).

use std::fmt;

use bytes::BytesMut;
use zlib_rs::{Inflate, InflateFlush, Status};

use crate::deflate::Agreed;
use crate::deflate::pool::{InflateEngine, with_chunk};
use crate::frame::Violation;

/// What a sender leaves out of a message, and a byte behind it, which is not to be read.
const TAIL: &[u8] = b"\x00\x00\xff\xff\x00";

/// Why a compressed message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InflateError {
    /// It is no DEFLATE data, or ends inside of it, or refers to what was before its context.
    #[error("a compressed message that is no DEFLATE data")]
    Corrupt,
    /// It is larger than allowed.
    #[error("a message that inflates to more than {limit} bytes")]
    TooBig {
        /// The most bytes allowed.
        limit: u64,
    },
}

impl From<InflateError> for Violation {
    /// Neither RFC 7692 nor the registry names a code for data that cannot be inflated. It is 1007, as
    /// of text that is no text: the frames were right, what they carry is not.
    fn from(error: InflateError) -> Self {
        match error {
            InflateError::Corrupt => Self::Compressed,
            InflateError::TooBig { limit } => Self::MessageTooBig {
                length: limit.saturating_add(1),
                limit,
            },
        }
    }
}

/// Inflates the messages of one side of one session.
///
/// Without context takeover it owns an engine only while a message is under way, which comes from the
/// thread's pool. With it, it keeps one from the first compressed message on.
pub struct Inflater {
    takeover: bool,
    engine: Option<InflateEngine>,
    /// What the message under way has become so far, in bytes.
    inflated: u64,
    /// Whether the message under way stands between two streams: at its begin, or right behind a
    /// final block.
    is_between: bool,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater")
            .field("takeover", &self.takeover)
            .field("inflated", &self.inflated)
            .finish_non_exhaustive()
    }
}

impl Inflater {
    /// One for what was agreed.
    #[must_use]
    pub fn new(agreed: &Agreed) -> Self {
        Self {
            takeover: agreed.peer_takeover,
            engine: None,
            inflated: 0,
            is_between: true,
        }
    }

    /// Appends to `into` what the next `piece` of a compressed message becomes; `fin` says that it is
    /// the last one. Pieces may be cut anywhere, and be empty.
    ///
    /// `limit` is the most bytes that the whole message may become. It is judged while inflating: no
    /// more than it is ever appended. The capacity of `into` grows by doubling.
    ///
    /// A stream that ends inside a message, with a final block, may be followed by another one
    /// (section 7.2.3.4), which has no context from before.
    ///
    /// # Errors
    /// After an error the message is lost and, with takeover, the context: the session cannot go on.
    /// `into` may have a part of the message.
    pub fn inflate(
        &mut self,
        piece: &[u8],
        fin: bool,
        into: &mut BytesMut,
        limit: u64,
    ) -> Result<(), InflateError> {
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None if self.takeover => InflateEngine::new(),
            None => InflateEngine::take(),
        };
        self.run(&mut engine.0, piece, into, limit)?;
        if !fin {
            self.engine = Some(engine);
            return Ok(());
        }
        if !self.is_between {
            end(&mut engine.0)?;
        }
        self.inflated = 0;
        self.is_between = true;
        if self.takeover {
            self.engine = Some(engine);
        } else {
            engine.give_back();
        }
        Ok(())
    }

    fn run(
        &mut self,
        engine: &mut Inflate,
        piece: &[u8],
        into: &mut BytesMut,
        limit: u64,
    ) -> Result<(), InflateError> {
        if piece.is_empty() {
            return Ok(());
        }
        let mut left = piece;
        with_chunk(|chunk| {
            loop {
                // One byte over the limit tells that it is too big.
                let room = limit.saturating_sub(self.inflated).saturating_add(1);
                let room = usize::try_from(room).unwrap_or(usize::MAX).min(chunk.len());
                let step = Step::make(engine, left, &mut chunk[..room], InflateFlush::NoFlush)?;
                self.inflated += step.written as u64;
                if self.inflated > limit {
                    return Err(InflateError::TooBig { limit });
                }
                into.extend_from_slice(&chunk[..step.written]);
                left = &left[step.taken..];
                self.is_between = step.status == Status::StreamEnd;
                if self.is_between {
                    engine.reset(false);
                    if left.is_empty() {
                        return Ok(());
                    }
                } else if left.is_empty() && step.written < room {
                    return Ok(());
                } else if step.taken == 0 && step.written == 0 {
                    return Err(InflateError::Corrupt);
                }
            }
        })
    }
}

/// Checks that the engine stands where a sender left out the tail, and gives it the tail.
///
/// The engine stops behind a block, so it takes the tail and no byte more if and only if a stored block
/// without its length was what it had last.
fn end(engine: &mut Inflate) -> Result<(), InflateError> {
    let step = Step::make(engine, TAIL, &mut [0], InflateFlush::Block)?;
    let is_end = step.status == Status::Ok && step.taken == TAIL.len() - 1 && step.written == 0;
    is_end.then_some(()).ok_or(InflateError::Corrupt)
}

/// What an engine did at once.
struct Step {
    /// How many bytes it read.
    taken: usize,
    /// How many bytes it wrote.
    written: usize,
    status: Status,
}

impl Step {
    fn make(
        engine: &mut Inflate,
        from: &[u8],
        to: &mut [u8],
        flush: InflateFlush,
    ) -> Result<Self, InflateError> {
        let (taken, written) = (engine.total_in(), engine.total_out());
        let status = engine
            .decompress(from, to, flush)
            .map_err(|_data| InflateError::Corrupt)?;
        // Neither can be more than what it was given.
        let count = |now: u64, before: u64, most: usize| {
            usize::try_from(now - before).map_or(most, |count| count.min(most))
        };
        Ok(Self {
            taken: count(engine.total_in(), taken, from.len()),
            written: count(engine.total_out(), written, to.len()),
            status,
        })
    }
}
