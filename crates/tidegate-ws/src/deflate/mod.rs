//! permessage-deflate (RFC 7692) without I/O: the negotiation, and messages made small and large
//! again.
//!
//! A client [`offers`], a server [accepts](accept) the first offer that it can keep, and the client
//! checks what was [`answered`]. Both then hold what was [`Agreed`], of which a [`Compressor`] and an
//! [`Inflater`] are made. Whether a message is compressed is told by RSV1 on its first frame, which
//! is the business of the codec above.
//!
//! # Defaults, and why
//!
//! **No context takeover**, in both directions. With it, each message may refer to the 32 KiB before
//! it, and each side keeps that context as long as the session lives: ENGINE_MEMORY. Without it, a session owns nothing between
//! two messages: engines are taken from a pool of the thread and given back. What takeover buys is
//! ratio: a stream of similar JSON messages of 1 KiB shrinks to 23 % with it, to 44 % without.
//!
//! **Level 6** ([`Level`]). The engine's table of levels differs from that of zlib; ours are so set
//! that each is within 5 % of the size that zlib has at the same level.
//!
//! **Threshold 256 B.** Below, most messages gain less than their handling costs both sides.
//!
//! **Windows of 15 bits.** Smaller ones save little here: an engine that compresses has a hash table
//! of 128 KiB whatever its window, and one that inflates always has room for the largest.
//!
//! # Attacks avoided
//!
//! - A *bomb*: at most the limit is inflated, and it is judged while it comes ([`Inflater::inflate`]).
//! - *Contexts kept for nothing*: without takeover, an engine is only held while a message is under way.
//! - *A header read in two ways*: parameters are parsed once, by one grammar, and an offer with a
//!   parameter that is unknown, doubled or out of range is declined as a whole.
//! - *CRIME, BREACH*: who compresses secrets together with what an attacker chose tells their length.
//!   Without takeover that holds for one message alone; turn deflate off where one message has both.

mod compressor;
mod inflater;
mod parameters;
mod pool;

pub use compressor::{Compressor, Level, Outcome};
pub use inflater::{InflateError, Inflater};
pub use parameters::{Agreed, accept, answered, answers, offers};

/// The smallest window that can be agreed on, in bits (RFC 7692 section 7.1.2).
pub const MIN_WINDOW_BITS: u8 = 8;

/// The largest window that can be agreed on, in bits, and the one that holds where nothing is said.
pub const MAX_WINDOW_BITS: u8 = 15;

/// What one side wants of permessage-deflate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Whether the server compresses each message alone. A client demands it, a server does so.
    /// Default: yes.
    pub server_no_context_takeover: bool,
    /// Whether the client compresses each message alone. A client does so, a server demands it.
    /// Default: yes.
    pub client_no_context_takeover: bool,
    /// The largest window that the server may compress with, in bits from 8 to 15; others count as the
    /// nearest of these. Default: 15.
    pub server_max_window_bits: u8,
    /// The largest window that the client may compress with, in bits from 8 to 15; others count as the
    /// nearest of these. A server can only ask for less than 15 where a client says that it knows how;
    /// any other client keeps 15. Default: 15.
    pub client_max_window_bits: u8,
    /// How hard this side tries. Default: 6.
    pub level: Level,
    /// The size in bytes from which a message is compressed. Default: 256.
    pub threshold: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            server_no_context_takeover: true,
            client_no_context_takeover: true,
            server_max_window_bits: MAX_WINDOW_BITS,
            client_max_window_bits: MAX_WINDOW_BITS,
            level: Level::default(),
            threshold: 256,
        }
    }
}

impl Config {
    fn server_bits(&self) -> u8 {
        within_range(self.server_max_window_bits)
    }

    fn client_bits(&self) -> u8 {
        within_range(self.client_max_window_bits)
    }
}

fn within_range(bits: u8) -> u8 {
    bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS)
}
