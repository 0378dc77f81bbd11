//! The WebSocket protocol (RFC 6455) without I/O: frame headers, close codes, the handshake.
//!
//! No socket, no clock and no executor is in here; what goes in is bytes, what comes out is what
//! they mean. A relay stands on [`scan`], which reads frame headers only and leaves payloads as
//! they are (and looks whether text is UTF-8, where it is asked to); both ends of a handshake stand on [`handshake`].

pub mod close;
pub mod cors;
pub mod frame;
pub mod handshake;
mod rules;
pub mod scan;
mod text;
