//! What holds where a configuration is silent.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Where the admin listener is bound.
pub const ADMIN_BIND: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9900);
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
/// An endpoint's share against its siblings'.
pub const ENDPOINT_WEIGHT: u32 = 1;
/// The port of an endpoint whose URL names none.
pub const ENDPOINT_PORT: u16 = 80;
