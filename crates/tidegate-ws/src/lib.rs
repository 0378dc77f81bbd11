//! WebSocket (RFC 6455): the protocol without I/O, and sessions on top of it.
//!
//! The bottom is bytes alone: [`frame`], [`close`], [`handshake`], [`scan`] for a relay that leaves
//! payloads as they are, [`codec`] for who wants messages. On it stand [`session`] and [`handler`],
//! over anything that is [`tokio::io::AsyncRead`] and [`tokio::io::AsyncWrite`].
//!
//! Around a session: [`service`] opens it from any HTTP server's request, [`cors`] says which pages
//! may, `mapping` chooses the handler by its path (feature `mapping`, on by default), and `client`
//! opens sessions with servers (features `client` and `tls`). The `manual` begins with how to.

pub mod attributes;
#[cfg(feature = "client")]
pub mod client;
pub mod close;
pub mod codec;
pub mod cors;
pub mod deflate;
pub mod error;
pub mod frame;
pub mod handler;
pub mod handshake;
pub mod limits;
#[cfg(feature = "mapping")]
pub mod manual;
#[cfg(feature = "mapping")]
pub mod mapping;
pub mod message;
mod names;
#[cfg(feature = "mapping")]
pub mod path;
mod rules;
pub mod scan;
pub mod service;
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
