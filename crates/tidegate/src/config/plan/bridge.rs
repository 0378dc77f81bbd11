//! Bridges: where a route ends at calls over HTTP that come as envelopes.

use std::sync::Arc;
use std::time::Duration;

use tidegate_ws::deflate;

use super::super::defaults;
use super::super::secret::Secret;
use super::{HandlerLimits, ProxyPlan, Rate};
use crate::auth::RoomRule;

/// How a route ends at a bridge.
#[derive(Debug, Clone)]
pub struct BridgePlan {
    /// The services that `baseUrl` may name, and how they are called; none by default.
    pub services: Vec<ProxyPlan>,
    /// Calls of one session that may be under way; 64.
    pub max_in_flight: usize,
    /// Calls of all sessions of one user on this node that may be under way; 256. `None`: any number.
    pub max_in_flight_per_user: Option<usize>,
    /// How long the first byte of an answer may take, and each further part of it; 10 s.
    pub timeout: Duration,
    /// The largest answer in bytes that goes into one frame; 10 MiB.
    pub max_response: u64,
    /// Answers of more bytes are streamed to who asks for it; 256 KiB.
    pub stream_above: u64,
    /// Who the services are told that calls; the token of the handshake.
    pub forward_auth: ForwardAuth,
    /// Which header fields pass.
    pub headers: BridgeHeaders,
    /// What old clients are told of errors; they are told.
    pub legacy_errors: LegacyErrors,
    /// A connection of version 1 on which nothing was sent for so long is sent a `ping`; 25 s.
    /// `None`: never.
    pub ping_interval: Option<Duration>,
    /// How long before its token ends a client is told so; 60 s.
    pub warn_before: Duration,
    /// How long a client may take to say who it is, where its handshake did not; 10 s.
    pub hello_timeout: Duration,
    /// How fast a session may say something; as fast as it likes.
    pub rates: BridgeRates,
    /// How pushes reach its sessions.
    pub push: BridgePush,
    /// For how long a client that was lost may come back to what it missed; 120 s. `None`: it cannot.
    pub resume: Option<Duration>,
    /// How it comes back to what it missed where that is kept elsewhere.
    pub replay: ReplayPlan,
    /// Who may do what in which rooms; nobody may do anything in any.
    pub rooms: Vec<RoomRule>,
    /// What holds for its WebSockets.
    pub websocket: Arc<HandlerLimits>,
}

/// How pushes reach a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BridgePush {
    /// Bytes that may wait for a client that does not take them; 256 KiB. One push is taken whatever its
    /// size, when nothing waits.
    pub outbox: u64,
    /// How long more than that may wait, up to eight times as much, before its client counts as slow; 1 s.
    pub slow_after: Duration,
    /// What happens then; the session is closed.
    pub slow_consumer: SlowConsumer,
    /// What is kept of what was sent, until the client says that it has it.
    pub buffer: PushBuffer,
}

/// What happens where pushes wait for a client that does not take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowConsumer {
    /// The session is closed with 1013.
    #[default]
    Close,
    /// The oldest that wait are thrown away.
    DropOldest,
    /// Of those that wait of one event and room with one key only the newest is kept; where that is not enough, the session is
    /// closed.
    Conflate,
}

/// How much is kept of what was sent; beyond it the oldest is thrown away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushBuffer {
    /// Pushes; 256.
    pub messages: usize,
    /// Bytes; 1 MiB.
    pub bytes: u64,
    /// How long ago they were sent; 120 s.
    pub age: Duration,
}

/// How a client comes back to what it missed of pushes to its user, on whichever node: by a cursor, from
/// what the bus keeps.
#[derive(Debug, Clone)]
pub struct ReplayPlan {
    /// What cursors are signed with; `None` (the default): a key that this process makes, so that they
    /// are good in it alone.
    pub key: Option<Secret>,
    /// Pushes that one client may be sent again; 1000.
    pub messages: usize,
    /// Bytes of them; 1 MiB.
    pub bytes: u64,
}

/// How fast a session may say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BridgeRates {
    /// Messages; `None` (the default): as many as it likes.
    pub messages: Option<Rate>,
    /// Bytes in a second, with a second's worth at once after a rest; `None` (the default): any.
    pub bytes: Option<u64>,
    /// What is done with what comes faster; it is delayed.
    pub over: OverRate,
}

/// What is done with messages that come too fast.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverRate {
    /// The session is not read until they would be in time.
    #[default]
    Delay,
    /// They are answered with 429.
    Reject,
    /// The session is closed with 4429.
    Close,
}

/// Who a service is told that calls.
#[derive(Debug, Clone, Default)]
pub enum ForwardAuth {
    /// Whoever has the token of the handshake, in `Authorization`.
    #[default]
    Bearer,
    /// Nobody.
    None,
    /// The session's user, in header fields that are signed with this secret.
    SignedHeaders(Secret),
}

/// What old clients are told where a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LegacyErrors {
    /// An answer with `status` and `error`.
    #[default]
    Answer,
    /// Nothing, as ever.
    Silent,
}

/// Which header fields pass through a bridge. Names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BridgeHeaders {
    /// Fields of the handshake that each call has; `accept-language`.
    pub from_handshake: Vec<Box<str>>,
    /// Fields that a client may say once, in its `hello`, for all of its calls; a `*` at the end stands
    /// for anything. `accept`, `accept-language`, `x-*`.
    pub from_client: Vec<Box<str>>,
    /// Fields of an answer that its client sees; a `*` at the end stands for anything. `content-*`,
    /// `etag`, `last-modified`, `link`, `location`, `retry-after`, `traceparent`, `x-*`.
    pub to_client: Vec<Box<str>>,
    /// Whether clients see `Set-Cookie`; no.
    pub cookies: bool,
}

impl BridgePlan {
    /// What holds for its WebSockets where nothing is said: what does for handlers, and
    /// permessage-deflate, because JSON is worth it.
    #[must_use]
    pub fn websocket() -> HandlerLimits {
        HandlerLimits {
            deflate: Some(deflate::Config::default()),
            ..HandlerLimits::default()
        }
    }
}

impl Default for BridgePlan {
    fn default() -> Self {
        Self {
            services: Vec::new(),
            max_in_flight: defaults::BRIDGE_MAX_IN_FLIGHT,
            max_in_flight_per_user: Some(defaults::BRIDGE_MAX_IN_FLIGHT_PER_USER),
            timeout: defaults::BRIDGE_TIMEOUT,
            max_response: defaults::BRIDGE_MAX_RESPONSE,
            stream_above: defaults::BRIDGE_STREAM_ABOVE,
            forward_auth: ForwardAuth::default(),
            headers: BridgeHeaders::default(),
            legacy_errors: LegacyErrors::default(),
            ping_interval: Some(defaults::WEBSOCKET_KEEP_ALIVE.0),
            warn_before: defaults::BRIDGE_WARN_BEFORE,
            hello_timeout: defaults::BRIDGE_HELLO_TIMEOUT,
            rates: BridgeRates::default(),
            push: BridgePush::default(),
            resume: Some(defaults::BRIDGE_RESUME),
            replay: ReplayPlan::default(),
            rooms: Vec::new(),
            websocket: Arc::new(Self::websocket()),
        }
    }
}

impl Default for BridgePush {
    fn default() -> Self {
        Self {
            outbox: defaults::PUSH_OUTBOX,
            slow_after: defaults::PUSH_SLOW_AFTER,
            slow_consumer: SlowConsumer::default(),
            buffer: PushBuffer::default(),
        }
    }
}

impl Default for ReplayPlan {
    fn default() -> Self {
        Self {
            key: None,
            messages: defaults::REPLAY_MESSAGES,
            bytes: defaults::REPLAY_BYTES,
        }
    }
}

impl Default for PushBuffer {
    fn default() -> Self {
        Self {
            messages: defaults::PUSH_BUFFER_MESSAGES,
            bytes: defaults::PUSH_BUFFER_BYTES,
            age: defaults::PUSH_BUFFER_AGE,
        }
    }
}

impl Default for BridgeHeaders {
    fn default() -> Self {
        let to_client = [
            "content-*",
            "etag",
            "last-modified",
            "link",
            "location",
            "retry-after",
            "traceparent",
            "x-*",
        ];
        Self {
            from_handshake: vec!["accept-language".into()],
            from_client: ["accept", "accept-language", "x-*"].map(Into::into).into(),
            to_client: to_client.map(Into::into).into(),
            cookies: false,
        }
    }
}
