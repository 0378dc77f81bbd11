//! From bytes to messages and back, without I/O.
//!
//! A [`Decoder`] takes what was read at any cuts and tells one [`Event`] at a time; an [`Encoder`]
//! writes messages as frames. Neither owns a socket, a clock or, between messages, a buffer.

mod decoder;
mod encoder;
mod mask;

pub use self::decoder::{Decoded, Decoder};
pub use self::encoder::Encoder;
pub(crate) use self::mask::Randomness;

use crate::message::{Close, Message};

/// Which side of a WebSocket we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// We were opened to: what comes is masked, what goes is not.
    Server,
    /// We opened it: what goes is masked.
    Client,
}

/// What came from the peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A whole message.
    Message(Message),
    /// The peer's close frame. Nothing may follow it.
    Close(Close),
}
