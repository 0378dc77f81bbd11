//! WebSocket (RFC 6455): the protocol without I/O, and sessions on top of it.
//!
//! The bottom is bytes alone: [`frame`], [`close`], [`handshake`], [`scan`] for a relay that leaves
//! payloads as they are, [`codec`] for who wants messages. On it stand [`session`] and [`handler`],
//! over anything that is [`tokio::io::AsyncRead`] and [`tokio::io::AsyncWrite`].

pub mod close;
pub mod codec;
pub mod deflate;
pub mod error;
pub mod frame;
pub mod handler;
pub mod handshake;
pub mod limits;
pub mod message;
mod rules;
pub mod scan;
pub mod session;
mod text;

pub use self::error::{BoxError, SessionError};
pub use self::handler::{AnyHandler, WebSocketHandler};
pub use self::limits::Limits;
pub use self::message::{Close, Message, Text};
pub use self::session::{
    Control, Driver, Ending, HandshakeInfo, Opening, ReceiveHalf, SendHalf, SessionConfig,
    WebSocketSession, run,
};
