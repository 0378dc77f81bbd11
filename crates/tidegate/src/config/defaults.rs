//! What holds where a configuration is silent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::plan::Rate;

/// Where the admin listener is bound.
pub const ADMIN_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);
/// How long a draining gateway accepts.
pub const DRAIN_DELAY: Duration = Duration::from_secs(5);
/// Over how long it spreads the ends of WebSockets.
pub const DRAIN_SPREAD: Duration = Duration::from_secs(10);
/// How long what is under way has after that.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long after one line of the access log on an open session the next one may follow.
pub const STATS_INTERVAL: Duration = Duration::from_secs(60);
/// How long a TCP connection to an upstream may take.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an upstream may take to answer a handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an upstream may take to begin its answer.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(60);
/// Idle connections that each worker keeps per endpoint.
pub const POOL_MAX_IDLE: usize = 32;
/// How long an idle connection to an upstream is kept.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How long nothing may pass in a WebSocket session.
pub const WEBSOCKET_IDLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);
/// How long a side may take nothing of its WebSocket session.
pub const WEBSOCKET_WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a closing handshake may take.
pub const WEBSOCKET_CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
/// After how long a silence a side of a WebSocket session is pinged, and how long it then has.
pub const WEBSOCKET_KEEP_ALIVE: (Duration, Duration) =
    (Duration::from_secs(25), Duration::from_secs(10));
/// Pings and pongs that a side of a WebSocket session may send in a second.
pub const WEBSOCKET_MAX_CONTROL_FRAMES: u32 = 100;
/// The largest message that a handler is given.
pub const HANDLER_MAX_MESSAGE: u64 = 1024 * 1024;
/// How long nothing may pass in a WebSocket session with a handler.
pub const HANDLER_IDLE_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// How far the clocks of issuers of tokens may differ from ours.
pub const AUTH_LEEWAY: Duration = Duration::from_secs(10);
/// How often one client may show a credential that is wrong.
pub const AUTH_FAILURES: Rate = Rate {
    every: Duration::from_millis(50),
    burst: 500,
};
/// How often keys of tokens are fetched.
pub const JWKS_REFRESH: Duration = Duration::from_secs(10 * 60);
/// How long after a fetch a key that nobody knows brings the next one.
pub const JWKS_COOLDOWN: Duration = Duration::from_secs(30);
/// How long keys of tokens hold that could not be fetched again.
pub const JWKS_MAX_STALE: Duration = Duration::from_secs(60 * 60);
/// How long a fetch of keys may take.
pub const JWKS_TIMEOUT: Duration = Duration::from_secs(5);
/// An endpoint's share against its siblings'.
pub const ENDPOINT_WEIGHT: u32 = 1;
/// The port of an endpoint whose URL names none.
pub const ENDPOINT_PORT: u16 = 80;
/// The same, over TLS.
pub const ENDPOINT_TLS_PORT: u16 = 443;
/// How long a handshake of TLS may take.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a head may take from its first byte to its last.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest head in bytes.
pub const MAX_HEAD: usize = 64 * 1024;
/// The most fields of a head.
pub const MAX_FIELDS: usize = 100;
/// The longest request target in bytes.
pub const MAX_TARGET: usize = 8 * 1024;
/// How long a connection may wait for its next request.
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a client may send nothing of a body that it has announced.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// The least that a client may send of a body on average, in bytes per second.
pub const MIN_BODY_RATE: u64 = 64;
/// How long a client may take nothing of its answer.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Who may connect to a unix socket: its owner and its group.
pub const UNIX_MODE: u32 = 0o660;
/// The port of https, which a URL need not name.
pub const HTTPS_PORT: u16 = 443;
/// WebSockets that a route which ends at a bridge may have open.
pub const BRIDGE_MAX_SESSIONS: usize = 10_000;
/// Calls of one bridge session that may be under way.
pub const BRIDGE_MAX_IN_FLIGHT: usize = 64;
/// Calls that may be under way in all bridge sessions of one user.
pub const BRIDGE_MAX_IN_FLIGHT_PER_USER: usize = 256;
/// How long before its token ends a bridge's client is told so.
pub const BRIDGE_WARN_BEFORE: Duration = Duration::from_secs(60);
/// How long a bridge's client may take to say who it is, where its handshake did not.
pub const BRIDGE_HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a bridged call waits for the first byte of its answer, and for each part of it.
pub const BRIDGE_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest answer that a bridge puts into one frame.
pub const BRIDGE_MAX_RESPONSE: u64 = 10 * 1024 * 1024;
/// Larger answers of a bridge are streamed to who asks for it.
pub const BRIDGE_STREAM_ABOVE: u64 = 256 * 1024;
/// For how long a client that was lost may come back to what it missed.
pub const BRIDGE_RESUME: Duration = Duration::from_secs(120);
/// Bytes of pushes that are held for all clients together that may come back.
pub const RESUME_MEMORY: u64 = 256 * 1024 * 1024;
/// Pushes of the history that one client may be sent, in number and in bytes.
pub const REPLAY_MESSAGES: usize = 1000;
/// See [`REPLAY_MESSAGES`].
pub const REPLAY_BYTES: u64 = 1024 * 1024;
/// Bytes of pushes that may wait for one session.
pub const PUSH_OUTBOX: u64 = 256 * 1024;
/// For how long more may wait.
pub const PUSH_SLOW_AFTER: Duration = Duration::from_secs(1);
/// Pushes that are kept until their client has them, in number, in bytes, and for how long.
pub const PUSH_BUFFER_MESSAGES: usize = 256;
/// See [`PUSH_BUFFER_MESSAGES`].
pub const PUSH_BUFFER_BYTES: u64 = 1024 * 1024;
/// See [`PUSH_BUFFER_MESSAGES`].
pub const PUSH_BUFFER_AGE: Duration = Duration::from_secs(120);
/// See [`RoomsPlan`](super::plan::RoomsPlan).
pub const ROOMS_PER_SESSION: usize = 100;
/// See [`RoomsPlan`](super::plan::RoomsPlan).
pub const ROOM_PRESENCE_GRACE: Duration = Duration::from_secs(10);
/// See [`RoomHistory`](super::plan::RoomHistory).
pub const ROOM_HISTORY_MESSAGES: usize = 100;
/// See [`RoomHistory`](super::plan::RoomHistory).
pub const ROOM_HISTORY_AGE: Duration = Duration::from_secs(5 * 60);
/// See [`RoomHistory`](super::plan::RoomHistory).
pub const ROOM_HISTORY_MEMORY: u64 = 64 * 1024 * 1024;
/// How long a record may take until the brokers have it.
pub const KAFKA_PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// Records that may wait for the brokers.
pub const KAFKA_MAX_QUEUED: u32 = 10_000;
/// The most bytes of a record.
pub const KAFKA_MAX_MESSAGE_SIZE: u32 = 1_000_000;
/// How often it is looked for new partitions.
pub const KAFKA_TOPIC_REFRESH: Duration = Duration::from_secs(10);
/// See [`BusHistory`](super::plan::BusHistory).
pub const BUS_HISTORY_EVENTS: usize = 1000;
/// See [`BUS_HISTORY_EVENTS`].
pub const BUS_HISTORY_BYTES: u64 = 16 * 1024 * 1024;
/// See [`BUS_HISTORY_EVENTS`].
pub const BUS_HISTORY_AGE: Duration = Duration::from_secs(5 * 60);
/// See [`ClusterPlan`](super::plan::ClusterPlan).
pub const CLUSTER_LEASE: Duration = Duration::from_secs(30);
/// See [`RedisPlan`](super::plan::RedisPlan).
pub const REDIS_PREFIX: &str = "tidegate";
/// See [`RedisPlan`](super::plan::RedisPlan).
pub const REDIS_TIMEOUT: Duration = Duration::from_secs(1);
/// Where a Redis is, and where a sentinel, unless its URL says so.
pub const REDIS_PORT: u16 = 6379;
/// See [`REDIS_PORT`].
pub const SENTINEL_PORT: u16 = 26_379;
