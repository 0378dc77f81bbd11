//! How a session ended.

use std::borrow::Cow;

use crate::frame::Violation;

/// How a session ended: what came first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ending {
    /// The close code: ours or the peer's, whichever came first; 1005 where the peer gave none, 1006
    /// where there was no close frame (RFC 6455 section 7.1.5).
    pub code: u16,
    /// The reason that stood with it, at most 123 bytes (RFC 6455 section 7.1.6).
    pub reason: Cow<'static, str>,
    /// Who began the end.
    pub initiator: Initiator,
    /// Why.
    pub cause: Cause,
}

/// Who began an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Initiator {
    /// The embedder, through a [`super::Control`].
    Embedder,
    /// The handler: it closed the session, or it ended.
    Handler,
    /// The other side.
    Peer,
    /// The session itself: a limit, a rule or a timeout.
    Session,
}

/// Why a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The handler, or whoever holds a half, closed it.
    Closed,
    /// What drove the session was dropped, and the connection with it.
    Dropped,
    /// The embedder ended it.
    Ended,
    /// The handler returned.
    HandlerDone,
    /// The handler returned an error.
    HandlerFailed,
    /// The handler panicked.
    HandlerPanicked,
    /// Nothing came or went for too long.
    IdleTimeout,
    /// The peer closed it.
    PeerClosed,
    /// The connection ended or failed without a close frame (RFC 6455 section 7.1.7).
    PeerLost,
    /// The peer gave no sign of life.
    PingTimeout,
    /// The peer broke a rule or a limit.
    Violation(Violation),
    /// The peer took nothing of what waited for it.
    WriteStall,
}

impl Ending {
    pub(super) const fn new(
        code: u16,
        reason: Cow<'static, str>,
        initiator: Initiator,
        cause: Cause,
    ) -> Self {
        Self {
            code,
            reason,
            initiator,
            cause,
        }
    }

    pub(super) const fn lost() -> Self {
        Self::new(1006, Cow::Borrowed(""), Initiator::Peer, Cause::PeerLost)
    }
}
