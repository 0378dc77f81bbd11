//! What can go wrong with a session.

use std::io;

use crate::frame::Violation;

/// Any error, as handlers return it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a message was not received or not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session is closed, or is closing: nothing can be sent any more. How it ended is told by
    /// [`WebSocketSession::ending`](crate::WebSocketSession::ending), or that of a
    /// [`ReceiveHalf`](crate::ReceiveHalf).
    #[error("the session is closed")]
    Closed,
    /// A ping or pong of more than 125 bytes (RFC 6455 section 5.5); it was not sent, and the session goes on.
    #[error("a ping or pong of more than 125 bytes")]
    ControlTooLong,
    /// The connection failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The connection ended without a close frame: 1006 (RFC 6455 section 7.1.5).
    #[error("the connection ended without a close frame")]
    Lost,
    /// A [`Sink`](futures_sink::Sink) was given a message without having been ready; it was not sent,
    /// and the session goes on.
    #[error("the sink was not ready")]
    NotReady,
    /// The peer broke a rule or a limit; it was told with the violation's close code.
    #[error("the peer broke the protocol: {0}")]
    Violation(#[from] Violation),
}
