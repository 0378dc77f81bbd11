//! How much may be in use at once, and how long a client may take.

use std::time::Duration;

use super::super::defaults;

/// What holds for the gateway as a whole.
#[derive(Debug, Clone)]
pub struct GatewayLimits {
    /// Accepted connections of all listeners together; `None`: as many as the descriptors of the
    /// process allow for, two for each.
    pub max_connections: Option<usize>,
    /// Sessions of all routes together; none by default.
    pub sessions: SessionLimits,
    /// Connections and sessions of one client address; `None` (the default): no limit.
    pub max_connections_per_address: Option<usize>,
    /// WebSocket handshakes of one client address; `None` (the default): no limit.
    pub handshakes_per_address: Option<Rate>,
    /// Handshakes of TLS of one peer address; `None` (the default): no limit.
    pub tls_handshakes_per_address: Option<Rate>,
    /// Bytes of pushes that are held for clients of bridges that were lost and may come back, of all
    /// together; 256 MiB. Beyond it, what those hold who are gone for longest is thrown away.
    pub resume_memory: u64,
}

impl Default for GatewayLimits {
    fn default() -> Self {
        Self {
            max_connections: None,
            sessions: SessionLimits::default(),
            max_connections_per_address: None,
            handshakes_per_address: None,
            tls_handshakes_per_address: None,
            resume_memory: defaults::RESUME_MEMORY,
        }
    }
}

/// How many WebSockets may be open, handshakes under way counted where one too many is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionLimits {
    /// All; `None` (the default): no limit.
    pub most: Option<usize>,
    /// Of one user, where that is known; `None` (the default): no limit.
    pub per_user: Option<usize>,
    /// Of one client address; `None` (the default): no limit.
    pub per_address: Option<usize>,
    /// What becomes of one too many; it is refused.
    pub over: OverSessions,
    /// Where `most` holds; on each node by itself.
    pub most_on: LimitScope,
    /// The same for `per_user`.
    pub per_user_on: LimitScope,
}

/// Where a limit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitScope {
    /// On each node by itself.
    #[default]
    Node,
    /// On all nodes of the cluster together.
    Cluster,
}

impl SessionLimits {
    /// Whether there is any limit among them.
    #[must_use]
    pub const fn are_any(&self) -> bool {
        self.most.is_some() || self.per_user.is_some() || self.per_address.is_some()
    }
}

/// What becomes of one session too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OverSessions {
    /// It is refused.
    #[default]
    Reject,
    /// It is accepted, and the oldest of those that count with it is ended.
    EvictOldest,
}

/// How often something may happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How long one has to wait for the next, in the long run.
    pub every: Duration,
    /// How many may come at once after a rest.
    pub burst: u32,
}

/// What holds for the connections of one listener.
#[derive(Debug, Clone)]
pub struct ListenerLimits {
    /// Accepted connections; `None` (the default): no limit but the gateway's.
    pub max_connections: Option<usize>,
    /// From the first byte of a head to its last, and from the accept to the first byte; 10 s.
    pub head_timeout: Duration,
    /// The largest head of a request in bytes; 64 KiB.
    pub max_head: usize,
    /// The most fields of a request; 100.
    pub max_fields: usize,
    /// The longest request target in bytes; 8 KiB.
    pub max_target: usize,
    /// How long a connection may wait for its next request; 75 s.
    pub keep_alive_timeout: Duration,
    /// How long a client may send nothing of a body that it has announced; 30 s.
    pub body_timeout: Duration,
    /// The least that a client may send of a body on average, in bytes per second, from
    /// `body_timeout` on; `None`: no limit; 64.
    pub min_body_rate: Option<u64>,
    /// How long a client may take nothing of its answer; 30 s.
    pub write_timeout: Duration,
}

impl Default for ListenerLimits {
    fn default() -> Self {
        Self {
            max_connections: None,
            head_timeout: defaults::HEAD_TIMEOUT,
            max_head: defaults::MAX_HEAD,
            max_fields: defaults::MAX_FIELDS,
            max_target: defaults::MAX_TARGET,
            keep_alive_timeout: defaults::KEEP_ALIVE_TIMEOUT,
            body_timeout: defaults::BODY_TIMEOUT,
            min_body_rate: Some(defaults::MIN_BODY_RATE),
            write_timeout: defaults::WRITE_TIMEOUT,
        }
    }
}

/// What holds for one route.
#[derive(Debug, Clone, Default)]
pub struct RouteLimits {
    /// Its sessions. A bridge has 10,000 by default, anything else any number.
    pub sessions: SessionLimits,
    /// Plain requests under way, from their head to the last byte of their answer; `None` (the
    /// default): no limit.
    pub max_requests: Option<usize>,
    /// The largest body of a request in bytes; `None` (the default): no limit.
    pub max_body: Option<u64>,
}
