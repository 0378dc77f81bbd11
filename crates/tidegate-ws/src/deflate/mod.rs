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
//! it, and each side keeps that context as long as the session lives: 371 KiB to compress and 47 KiB to
//! inflate, from the first message that needs it. Without it, a session owns nothing between two
//! messages: engines are taken from a pool of the thread, of at most four of each kind, and given back.
//! What takeover buys is ratio: similar JSON messages of 1 KiB shrink to 23 % with it, to 41 % without.
//!
//! **Level 6** ([`Level`]), because without takeover it costs hardly more than less of it. Processor
//! time for 1 KiB of such JSON, and what is left of it; behind the bar zlib 1.2.13 in C, measured in the
//! same run (two cores of a shared machine, the best of 15 runs, time of the thread):
//!
//! | takeover | level | compress | inflate | size | zlib: compress | inflate | size |
//! |---|---|---|---|---|---|---|---|
//! | no | fastest | 4.5 µs | 1.7 µs | 52.1 % | | | |
//! | no | 1 | 12.7 µs | 3.1 µs | 42.4 % | 14.7 µs | 4.4 µs | 43.2 % |
//! | no | **6** | 14.7 µs | 3.1 µs | 41.4 % | 18.5 µs | 4.3 µs | 41.2 % |
//! | no | 9 | 17.9 µs | 3.2 µs | 41.2 % | 18.8 µs | 4.4 µs | 41.2 % |
//! | yes | fastest | 2.4 µs | 1.3 µs | 33.7 % | | | |
//! | yes | 1 | 9.1 µs | 2.5 µs | 28.1 % | 10.9 µs | 4.0 µs | 29.9 % |
//! | yes | 6 | 22.1 µs | 2.1 µs | 22.7 % | 29.5 µs | 3.3 µs | 22.5 % |
//! | yes | 9 | 29.2 µs | 2.1 µs | 22.2 % | 67.9 µs | 3.3 µs | 22.0 % |
//!
//! **Threshold 256 B.** Most smaller messages gain less than their handling costs both sides.
//!
//! **Windows of 15 bits.** Smaller ones save little here: an engine that compresses has a hash table
//! of 128 KiB whatever its window, and takes 245 KiB at 9 bits; one that inflates always has room for
//! the largest window.
//!
//! # Attacks avoided
//!
//! - A *bomb*: at most the limit is inflated, and it is judged while it comes ([`Inflater::inflate`]).
//! - *Half a message that looks whole*: data that ends inside a block is refused, where a plain
//!   inflater would wait for more and give what it has.
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

/// The smallest that a peer is asked for: zlib compresses with no smaller one.
const MIN_ASKED_BITS: u8 = 9;

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
    /// nearest of these. A client asks for no less than 9: peers that compress with zlib have no window of
    /// 8 bits, and fail the connection. Default: 15.
    pub server_max_window_bits: u8,
    /// The largest window that the client may compress with, in bits from 8 to 15; others count as the
    /// nearest of these. A server can only ask for less than 15 where a client says that it knows how;
    /// any other client keeps 15. Nor does a server ask for 8 of its own accord, as above. Default: 15.
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

/// What a peer is asked to compress with.
fn askable(bits: u8) -> u8 {
    bits.max(MIN_ASKED_BITS)
}

fn within_range(bits: u8) -> u8 {
    bits.clamp(MIN_WINDOW_BITS, MAX_WINDOW_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_may_move_between_threads() {
        fn is_send<T: Send + Sync>() {}
        is_send::<Compressor>();
        is_send::<Inflater>();
    }
}
