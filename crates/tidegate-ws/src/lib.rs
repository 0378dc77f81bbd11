//! WebSocket (RFC 6455): the protocol without I/O, and sessions on top of it.
//!
//! The bottom is bytes alone: [`frame`], [`close`], [`handshake`], [`scan`] for a relay that leaves
//! payloads as they are, [`codec`] for who wants messages. On it stand [`session`] and [`handler`],
//! over anything that is [`tokio::io::AsyncRead`] and [`tokio::io::AsyncWrite`].
//!
//! Around a session: [`service`] opens it from any HTTP server's request, [`cors`] says which pages
//! may,
#![cfg_attr(feature = "mapping", doc = "[`mapping`]")]
#![cfg_attr(not(feature = "mapping"), doc = "`mapping`")]
//! chooses the handler by its path (feature `mapping`, on by default), and
#![cfg_attr(feature = "client", doc = "[`client`]")]
#![cfg_attr(not(feature = "client"), doc = "`client`")]
//! opens sessions with servers (features `client` and `tls`). The
#![cfg_attr(feature = "mapping", doc = "[`manual`]")]
#![cfg_attr(not(feature = "mapping"), doc = "`manual`")]
//! begins with how to.
//!
//! `unsafe` stands in one file, `unchecked.rs`, twice: it calls a copy of the masking that is compiled
//! for AVX2, once the processor has said that it has it, and reads a [`Text`] as the UTF-8 that every
//! constructor has checked, because a second look costs as much as receiving it.

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
mod unchecked;

pub use self::error::{BoxError, SessionError};
pub use self::handler::{AnyHandler, WebSocketHandler};
pub use self::limits::Limits;
pub use self::message::{Close, Message, Text};
pub use self::session::{
    Control, Driver, Ending, HandshakeInfo, Opening, ReceiveHalf, SendHalf, SessionConfig,
    WebSocketSession, run,
};
