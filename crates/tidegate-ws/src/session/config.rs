//! How a session is to behave, and what it starts with.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::HandshakeInfo;
use crate::codec::Role;
use crate::deflate;
use crate::frame::OpCode;
use crate::limits::Limits;

/// How sessions behave. One is shared by all sessions of a handler.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct SessionConfig {
    /// What the peer may send.
    pub limits: Limits,
    /// What is wanted of permessage-deflate (RFC 7692); `None` unless set: nothing. A handshake negotiates by
    /// it, a session compresses by its level and threshold.
    pub deflate: Option<deflate::Config>,
    /// How many bytes may wait to be written; 256 KiB unless set. A message is taken whole once
    /// less than this waits, so that at most one message more is held.
    pub outbox: usize,
    /// Ends the session with 1001 when no message came or went for so long; `None`, as it is unless
    /// set, waits forever.
    pub idle_timeout: Option<Duration>,
    /// Finds peers that are gone; every 25 s and 10 s unless set, `None` never asks.
    pub keep_alive: Option<KeepAlive>,
    /// How long the peer may take for its part of the closing handshake (RFC 6455 section 7.1.2); 5 s
    /// unless set. Then the connection is dropped; the code stays what it was.
    pub close_timeout: Duration,
    /// How long the peer may take nothing of what waits to be written; 30 s unless set. The session
    /// then ends with 1013.
    pub write_timeout: Duration,
    /// How long a handler may run on once its session is over; 30 s unless set. It is dropped then.
    /// As long at most it may receive what the peer has said, once nothing can be written any more,
    /// or send to a peer that has ended its stream without a close frame.
    pub handler_grace: Duration,
    /// Whether pings and pongs are received like messages; `false` unless set. Pings are answered
    /// either way.
    pub deliver_control: bool,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            deflate: None,
            outbox: 256 << 10,
            idle_timeout: None,
            keep_alive: Some(KeepAlive::default()),
            close_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            handler_grace: Duration::from_secs(30),
            deliver_control: false,
        }
    }
}

/// How a peer is asked for a sign of life: by a ping with eight bytes that cannot be foreseen (RFC 6455
/// section 5.5.2). Any byte of the peer's is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// A peer that was not heard from one look to the next, which are so far apart, is sent a ping; 25 s
    /// unless set.
    pub every: Duration,
    /// It then has so long to send anything, 10 s unless set; after that the session ends with 1001.
    pub wait: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(25),
            wait: Duration::from_secs(10),
        }
    }
}

/// What one session starts with. A [`HandshakeInfo`] turns into that of a server.
#[non_exhaustive]
pub struct Opening {
    /// Which side we are.
    pub role: Role,
    /// The session's name, if it has one already; one is drawn otherwise.
    pub id: Option<Box<str>>,
    /// What the handshake told.
    pub info: Option<Box<HandshakeInfo>>,
    /// What was agreed of permessage-deflate.
    pub deflate: Option<deflate::Agreed>,
    /// What was read behind the handshake already.
    pub leftover: Bytes,
    /// Who is told of what passes.
    pub observer: Option<Arc<dyn Observer>>,
}

impl Opening {
    /// A session without a story.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self {
            role,
            id: None,
            info: None,
            deflate: None,
            leftover: Bytes::new(),
            observer: None,
        }
    }
}

impl From<HandshakeInfo> for Opening {
    fn from(info: HandshakeInfo) -> Self {
        Self {
            info: Some(Box::new(info)),
            ..Self::new(Role::Server)
        }
    }
}

impl fmt::Debug for Opening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opening")
            .field("role", &self.role)
            .field("id", &self.id)
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Is told of what passes, while the session is locked: an implementation counts and returns.
pub trait Observer: Send + Sync {
    /// A message, ping, pong or close of so many payload bytes was received.
    fn received(&self, _opcode: OpCode, _bytes: usize) {}

    /// One was taken for sending.
    fn sent(&self, _opcode: OpCode, _bytes: usize) {}

    /// The handler returned an error.
    fn failed(&self, _error: &(dyn std::error::Error + 'static)) {}

    /// Whether the embedder wakes the session when its time has come, so that it needs no timer of
    /// its own. Then [`Observer::deadline`] tells when that is.
    fn keeps_time(&self) -> bool {
        false
    }

    /// The session wants to be woken ([`super::Control::wake`]) at this time or later; `None`: not
    /// at all. Told only when it changes.
    fn deadline(&self, _at: Option<Instant>) {}
}
