//! Open WebSockets: why they end, and the cheap remote control to each of them.

pub(crate) mod clock;
pub(crate) mod everywhere;
pub(crate) mod facts;
pub(crate) mod handle;
pub(crate) mod id;
pub(crate) mod lifetime;
pub(crate) mod registry;
pub(crate) mod renewal;
#[cfg(test)]
pub(crate) mod testing;

use std::borrow::Cow;
use std::time::Duration;

use tidegate_ws::frame::Violation;

use self::clock::whole_seconds;

/// Why a session ended: a closed set, the same word in log, metric and close reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
#[non_exhaustive]
pub enum Cause {
    /// Somebody who operates the gateway ended it.
    Admin = 1,
    /// The client did not say who it is, or not truly, in a session that began without that.
    AuthFailed,
    /// The client sent a close frame.
    ClientClose,
    /// The client's connection ended without a close frame.
    ClientLost,
    /// The gateway drains.
    Drain,
    /// No frame in either direction for the idle timeout.
    IdleTimeout,
    /// A fault of ours.
    Internal,
    /// The session was as old as its route lets one become.
    MaxAge,
    /// A message or frame over its limit.
    MessageTooBig,
    /// The node that it was on is gone; others tell of it.
    NodeLost,
    /// A peer was asked for a sign of life and gave none.
    PingTimeout,
    /// A filter refused a frame.
    Policy,
    /// A peer broke RFC 6455.
    ProtocolError,
    /// A peer sent more in a second than it may.
    RateLimited,
    /// A newer session has its place.
    Replaced,
    /// A peer did not take what was sent to it.
    SlowConsumer,
    /// The token that it was opened with has ended, and no newer one came.
    TokenExpired,
    /// The token that it was opened with was revoked.
    TokenRevoked,
    /// It was one more than there may be on all nodes together, which was known only when it was open.
    TooManySessions,
    /// The upstream sent a close frame.
    UpstreamClose,
    /// The upstream's connection ended without a close frame.
    UpstreamLost,
}

/// Who ended a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Initiator {
    /// Somebody who operates the gateway.
    Admin = 1,
    /// The client.
    Client,
    /// The gateway.
    Gateway,
    /// The upstream.
    Upstream,
}

impl Cause {
    /// Whether nobody may go on with what a session left that was ordered to end for it.
    pub(crate) const fn is_final(self) -> bool {
        matches!(
            self,
            Self::Admin | Self::AuthFailed | Self::TokenExpired | Self::TokenRevoked
        )
    }

    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::AuthFailed => "auth_failed",
            Self::ClientClose => "client_close",
            Self::ClientLost => "client_lost",
            Self::Drain => "drain",
            Self::IdleTimeout => "idle_timeout",
            Self::Internal => "internal",
            Self::MaxAge => "max_age",
            Self::MessageTooBig => "message_too_big",
            Self::NodeLost => "node_lost",
            Self::PingTimeout => "ping_timeout",
            Self::Policy => "policy",
            Self::ProtocolError => "protocol_error",
            Self::RateLimited => "rate_limited",
            Self::Replaced => "replaced",
            Self::SlowConsumer => "slow_consumer",
            Self::TokenExpired => "token_expired",
            Self::TokenRevoked => "token_revoked",
            Self::TooManySessions => "too_many_sessions",
            Self::UpstreamClose => "upstream_close",
            Self::UpstreamLost => "upstream_lost",
        }
    }

    /// What a close frame of ours says of it, where it has to do with a time that time too.
    pub(crate) fn reason(self, time: Option<Duration>) -> Cow<'static, str> {
        match time.map(whole_seconds) {
            Some(after) => format!("{};after={after}s", self.label()).into(),
            None => self.label().into(),
        }
    }

    const ALL: [Self; 21] = [
        Self::Admin,
        Self::AuthFailed,
        Self::ClientClose,
        Self::ClientLost,
        Self::Drain,
        Self::IdleTimeout,
        Self::Internal,
        Self::MaxAge,
        Self::MessageTooBig,
        Self::NodeLost,
        Self::PingTimeout,
        Self::Policy,
        Self::ProtocolError,
        Self::RateLimited,
        Self::Replaced,
        Self::SlowConsumer,
        Self::TokenExpired,
        Self::TokenRevoked,
        Self::TooManySessions,
        Self::UpstreamClose,
        Self::UpstreamLost,
    ];

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&cause| cause as u8 == byte)
    }

    /// The one that is called so.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cause| cause.label() == label)
    }
}

/// How a session is ended: why, by whom, and what both sides are told (`docs/statuses.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ending {
    pub(crate) cause: Cause,
    pub(crate) initiator: Initiator,
    /// The close code for the client.
    pub(crate) to_client: u16,
    /// The close code for the upstream.
    pub(crate) to_upstream: u16,
}

impl Ending {
    /// What the gateway ends for `cause`, or what ends because a side is lost.
    pub(crate) const fn of(cause: Cause) -> Self {
        let (initiator, to_client, to_upstream) = match cause {
            Cause::Admin => (Initiator::Admin, 1008, 1001),
            Cause::ClientClose | Cause::ClientLost => (Initiator::Client, 1001, 1001),
            Cause::UpstreamClose | Cause::UpstreamLost => (Initiator::Upstream, 1011, 1001),
            Cause::SlowConsumer => (Initiator::Gateway, 1013, 1001),
            Cause::AuthFailed
            | Cause::Policy
            | Cause::Replaced
            | Cause::TokenExpired
            | Cause::TokenRevoked
            | Cause::TooManySessions => (Initiator::Gateway, 1008, 1001),
            Cause::Internal => (Initiator::Gateway, 1011, 1011),
            Cause::Drain
            | Cause::IdleTimeout
            | Cause::MaxAge
            | Cause::MessageTooBig
            | Cause::NodeLost
            | Cause::PingTimeout
            | Cause::ProtocolError
            | Cause::RateLimited => (Initiator::Gateway, 1001, 1001),
        };
        Self {
            cause,
            initiator,
            to_client,
            to_upstream,
        }
    }

    /// The same for a session with a handler, whose client knows that it speaks with the gateway: there
    /// is nobody behind it to be told.
    pub(crate) const fn of_handler(cause: Cause) -> Self {
        let proxied = Self::of(cause);
        let code = match cause {
            Cause::Admin | Cause::TokenRevoked => 4440,
            Cause::AuthFailed | Cause::TokenExpired => 4401,
            Cause::Drain => 1012,
            Cause::MessageTooBig => 1009,
            Cause::ProtocolError => 1002,
            Cause::RateLimited | Cause::TooManySessions => 4429,
            Cause::Replaced => 4409,
            _ => proxied.to_client,
        };
        Self {
            to_client: code,
            to_upstream: code,
            ..proxied
        }
    }

    /// What ends because `offender` broke a rule: it is told which kind, the other side that it is
    /// over, and a client that the fault is not its own.
    pub(crate) const fn violation(violation: Violation, offender: Initiator) -> Self {
        let code = violation.close_code();
        let cause = if code == 1009 {
            Cause::MessageTooBig
        } else {
            Cause::ProtocolError
        };
        let (to_client, to_upstream) = match (offender, code) {
            (Initiator::Upstream, 1002) => (1011, code),
            (Initiator::Upstream, _) => (1001, code),
            (Initiator::Admin | Initiator::Client | Initiator::Gateway, _) => (code, 1001),
        };
        Self {
            cause,
            initiator: offender,
            to_client,
            to_upstream,
        }
    }

    /// What ends because `offender` sends too much.
    pub(crate) const fn flood(offender: Initiator) -> Self {
        let (to_client, to_upstream) = match offender {
            Initiator::Upstream => (1001, 1008),
            Initiator::Admin | Initiator::Client | Initiator::Gateway => (1008, 1001),
        };
        Self {
            cause: Cause::RateLimited,
            initiator: offender,
            to_client,
            to_upstream,
        }
    }
}

impl Initiator {
    /// The word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Client => "client",
            Self::Gateway => "gateway",
            Self::Upstream => "upstream",
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&one| one as u8 == byte)
    }

    /// The one that is called so.
    pub(crate) fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.label() == label)
    }

    const ALL: [Self; 4] = [Self::Admin, Self::Client, Self::Gateway, Self::Upstream];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_as_bytes() {
        for cause in Cause::ALL {
            assert_eq!(Cause::from_byte(cause as u8), Some(cause));
        }
        for initiator in [
            Initiator::Admin,
            Initiator::Client,
            Initiator::Gateway,
            Initiator::Upstream,
        ] {
            assert_eq!(Initiator::from_byte(initiator as u8), Some(initiator));
        }
        assert_eq!((Cause::from_byte(0), Initiator::from_byte(0)), (None, None));
    }

    #[test]
    fn every_cause_has_its_row_in_the_document() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/admin.md");
        let document = std::fs::read_to_string(document).unwrap();
        let (_, table) = document
            .split_once("| `cause` | `initiator` | `code` |")
            .unwrap();
        let rows = table
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'));
        let causes: Vec<_> = rows.filter_map(|row| row.split('|').nth(1)).collect();
        for cause in Cause::ALL {
            let word = format!("`{}`", cause.label());
            assert!(causes.iter().any(|cell| cell.contains(&word)), "{word}");
        }
    }
}
