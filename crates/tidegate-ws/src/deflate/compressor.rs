//! Messages made small (RFC 7692 section 7.2.1).

use std::fmt;

use bytes::BytesMut;
use zlib_rs::DeflateFlush;

use crate::deflate::pool::{CompressEngine, with_chunk};
use crate::deflate::{Agreed, Config};

/// What ends a flush, and is left out of a message.
const TAIL: &[u8] = b"\x00\x00\xff\xff";

/// How hard a compressor tries, from 1 (fast) to 9 (small), as zlib counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Level(u8);

impl Level {
    /// Fixed codes only: a third of the time of level 1, and a fifth to a quarter more bytes.
    pub const FASTEST: Self = Self(0);

    /// A level from 1 to 9.
    #[must_use]
    pub fn new(level: u8) -> Option<Self> {
        (1..=9).contains(&level).then_some(Self(level))
    }

    /// The engine's number for it.
    pub(super) fn of_engine(self) -> i32 {
        match self.0 {
            0 => 1,
            // The engine's 1 knows fixed codes only, zlib's does not.
            1 => 2,
            level => i32::from(level),
        }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self(6)
    }
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// It is to be sent as it is: too small to try, or no smaller afterwards.
    AsItIs,
    /// It was compressed; its first frame has RSV1.
    Compressed,
}

/// Compresses the messages of one side of one session.
///
/// Without context takeover it owns no engine and takes one from the thread's pool for each message;
/// with it, it makes its own at the first message that is large enough.
///
/// A window of 8 bits is kept with an engine of 9: zlib and what descends from it have no engine of 8,
/// but look back at most 262 bytes less than their window, so one of 512 bytes never refers to more
/// than 250, which a peer with 256 can follow.
pub struct Compressor {
    takeover: bool,
    bits: u8,
    level: Level,
    threshold: usize,
    /// Only with takeover.
    engine: Option<CompressEngine>,
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor")
            .field("takeover", &self.takeover)
            .field("bits", &self.bits)
            .field("level", &self.level)
            .field("threshold", &self.threshold)
            .finish_non_exhaustive()
    }
}

impl Compressor {
    /// One for what was agreed.
    #[must_use]
    pub fn new(agreed: &Agreed, config: &Config) -> Self {
        Self {
            takeover: agreed.own_takeover,
            bits: agreed.own_bits,
            level: config.level,
            threshold: config.threshold,
            engine: None,
        }
    }

    /// Appends the compressed `payload` of one whole message to `into`, or leaves it as it was.
    ///
    /// With context takeover a message may come out a little larger (a sixteenth and 64 bytes at
    /// most), because the context would be lost if it were sent as it is.
    pub fn compress(&mut self, payload: &[u8], into: &mut BytesMut) -> Outcome {
        // An empty message cannot become smaller.
        if payload.len() < self.threshold.max(1) {
            return Outcome::AsItIs;
        }
        let mut engine = match self.engine.take() {
            Some(engine) => engine,
            None if self.takeover => CompressEngine::new(self.level, self.bits),
            None => CompressEngine::take(self.level, self.bits),
        };
        let most = if self.takeover {
            payload.len() + payload.len() / 16 + 64
        } else {
            payload.len() - 1
        };
        let start = into.len();
        let is_compressed = run(&mut engine, payload, into, start + most);
        if !is_compressed {
            into.truncate(start);
        }
        if !self.takeover {
            engine.give_back();
        } else if is_compressed {
            self.engine = Some(engine);
        } else {
            // The peer does not see what went into the context: it starts anew.
            engine.deflate.reset();
            self.engine = Some(engine);
        }
        if is_compressed {
            Outcome::Compressed
        } else {
            Outcome::AsItIs
        }
    }
}

/// Compresses and flushes; `false` if the result, without the tail, makes `into` longer than `most`.
fn run(engine: &mut CompressEngine, payload: &[u8], into: &mut BytesMut, most: usize) -> bool {
    let deflate = &mut engine.deflate;
    with_chunk(|chunk| {
        let mut left = payload;
        loop {
            let (taken, written) = (deflate.total_in(), deflate.total_out());
            let flush = DeflateFlush::SyncFlush;
            if deflate.compress(left, &mut chunk[..], flush).is_err() {
                return false;
            }
            let taken = usize::try_from(deflate.total_in() - taken).unwrap_or(usize::MAX);
            let written = usize::try_from(deflate.total_out() - written).unwrap_or(usize::MAX);
            left = left.get(taken..).unwrap_or_default();
            into.extend_from_slice(chunk.get(..written).unwrap_or_default());
            if into.len() > most + TAIL.len() {
                return false;
            }
            // Room that was left over says that the flush is complete.
            if left.is_empty() && written < chunk.len() {
                break;
            }
        }
        let is_flushed = into.ends_with(TAIL);
        into.truncate(into.len() - TAIL.len().min(into.len()));
        is_flushed
    })
}
