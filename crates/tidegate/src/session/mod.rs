//! Open WebSockets: why they end, and the cheap remote control to each of them.

pub(crate) mod registry;

/// Why a session ended: a closed set, the same word in log, metric and close reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Cause {
    /// The client sent a close frame.
    ClientClose = 1,
    /// The client's connection ended without a close frame.
    ClientLost,
    /// The gateway is stopping.
    Drain,
    /// No frame in either direction for the idle timeout.
    IdleTimeout,
    /// A fault of ours.
    Internal,
    /// A message or frame over its limit.
    MessageTooBig,
    /// A filter refused a frame.
    Policy,
    /// A peer broke RFC 6455.
    ProtocolError,
    /// A peer did not take what was sent to it.
    SlowConsumer,
    /// The upstream sent a close frame.
    UpstreamClose,
    /// The upstream's connection ended without a close frame.
    UpstreamLost,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Initiator {
    /// The client.
    Client,
    /// The gateway.
    Gateway,
    /// The upstream.
    Upstream,
}

impl Cause {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::ClientClose => "client_close",
            Self::ClientLost => "client_lost",
            Self::Drain => "drain",
            Self::IdleTimeout => "idle_timeout",
            Self::Internal => "internal",
            Self::MessageTooBig => "message_too_big",
            Self::Policy => "policy",
            Self::ProtocolError => "protocol_error",
            Self::SlowConsumer => "slow_consumer",
            Self::UpstreamClose => "upstream_close",
            Self::UpstreamLost => "upstream_lost",
        }
    }

    pub(crate) const fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::ClientClose,
            2 => Self::ClientLost,
            3 => Self::Drain,
            4 => Self::IdleTimeout,
            5 => Self::Internal,
            6 => Self::MessageTooBig,
            7 => Self::Policy,
            8 => Self::ProtocolError,
            9 => Self::SlowConsumer,
            10 => Self::UpstreamClose,
            11 => Self::UpstreamLost,
            _ => return None,
        })
    }

    /// The close codes of a proxied session that the gateway ends: to the client, to the upstream
    /// (`conventions`, table of close codes). Faults of a peer have their own, which name the sender.
    #[must_use]
    pub const fn close_codes(self) -> (u16, u16) {
        match self {
            Self::SlowConsumer => (1013, 1001),
            Self::Policy => (1008, 1001),
            Self::Internal => (1011, 1011),
            Self::UpstreamLost => (1011, 1001),
            _ => (1001, 1001),
        }
    }
}

impl Initiator {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }
}
