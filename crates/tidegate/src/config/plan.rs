//! The plan: a configuration with its names linked and its patterns compiled. Nothing here is
//! running yet; `Gateway::start` builds what runs.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::secret::Secret;
use crate::authority::Authority;
use crate::pipeline::FilterPlan;
use crate::router::Matcher;

/// Everything that a gateway needs to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Data-plane threads, one runtime each; by default one per core.
    pub workers: usize,
    /// The sockets to bind, at least one.
    pub listeners: Vec<ListenerPlan>,
    /// The listener for those who operate the gateway; `None` (the default): there is none.
    pub admin: Option<AdminPlan>,
    /// The commit that the program was built from, where that is known; it is told to those who
    /// operate the gateway.
    pub commit: Option<Arc<str>>,
    /// Peers whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// The services that routes name.
    pub services: Vec<Arc<ServicePlan>>,
    /// The routes, in the order in which they are tried.
    pub routes: Vec<RoutePlan>,
}

/// One socket to bind.
#[derive(Debug, Clone)]
pub struct ListenerPlan {
    /// Its name, unique among the listeners.
    pub name: Arc<str>,
    /// Its address; port 0 takes a free one.
    pub bind: SocketAddr,
}

/// The listener for those who operate the gateway.
#[derive(Debug, Clone)]
pub struct AdminPlan {
    bind: SocketAddr,
    token: Option<Secret>,
}

impl AdminPlan {
    /// An admin listener at `bind`, for those who know the token. `None`: it would be open to other
    /// machines, because `bind` is no loopback address and there is no token.
    #[must_use]
    pub fn new(bind: SocketAddr, token: Option<Secret>) -> Option<Self> {
        (token.is_some() || Self::is_loopback(bind)).then_some(Self { bind, token })
    }

    /// Its address; port 0 takes a free one.
    #[must_use]
    pub const fn bind(&self) -> SocketAddr {
        self.bind
    }

    /// What callers must know.
    #[must_use]
    pub const fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Whether only this machine can connect to `address`.
    pub(crate) fn is_loopback(address: SocketAddr) -> bool {
        address.ip().to_canonical().is_loopback()
    }
}

/// A named upstream application.
#[derive(Debug)]
pub struct ServicePlan {
    /// Its name, unique among the services.
    pub name: Arc<str>,
    /// Its addresses, at least one.
    pub endpoints: Vec<EndpointPlan>,
    /// How an endpoint is chosen; by default `least_sessions` for WebSockets, else `round_robin`.
    pub balance: Option<Balance>,
    /// How long a TCP connection (name look-up included) may take; 5 s.
    pub connect_timeout: Duration,
    /// How long the upstream may take to answer a handshake, once connected; 10 s.
    pub handshake_timeout: Duration,
    /// How long the upstream may take to begin its answer once it has the request; 60 s.
    pub response_timeout: Duration,
    /// Local addresses to dial from, used in turn; empty: the system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// Idle connections that each worker keeps per endpoint; 32.
    pub max_idle: usize,
    /// How long an idle connection is kept; 60 s.
    pub idle_timeout: Duration,
}

/// One address of a service.
#[derive(Debug, Clone)]
pub struct EndpointPlan {
    /// Host and port; the port is always there.
    pub authority: Authority,
    /// The path of the endpoint's URL, without its trailing slash: put before every request path.
    pub path: Box<str>,
    /// Its share against its siblings', 1 to 1000; 1.
    pub weight: u32,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    /// The one with the fewest live sessions and calls for its weight.
    LeastSessions,
    /// By chance, in proportion to the weights.
    Random,
    /// In turn, in proportion to the weights.
    RoundRobin,
}

/// The rule which picks a pipeline and a target.
#[derive(Debug, Clone)]
pub struct RoutePlan {
    /// Its name, unique among the routes.
    pub name: Arc<str>,
    /// What a request must be like.
    pub matcher: Matcher,
    /// What is done to it, in this order.
    pub filters: Vec<FilterPlan>,
    /// Where it ends.
    pub target: TargetPlan,
}

/// Where a route ends.
#[derive(Debug, Clone)]
pub enum TargetPlan {
    /// At a service.
    Proxy(ProxyPlan),
}

/// How a route hands requests to a service.
#[derive(Debug, Clone)]
pub struct ProxyPlan {
    /// The service.
    pub service: Arc<ServicePlan>,
    /// The `Host` that the upstream sees.
    pub host: HostPolicy,
    /// The `Origin` that the upstream sees.
    pub origin: OriginPolicy,
    /// What holds for WebSockets on this route.
    pub websocket: WebSocketPlan,
}

/// The `Host` that the upstream sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// The client's (the default).
    Keep,
    /// The endpoint's own host and port.
    Rewrite,
    /// This one.
    Literal(Authority),
}

/// The `Origin` that the upstream sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OriginPolicy {
    /// The client's; none where it sent none (the default).
    Keep,
    /// The scheme, host and port of the endpoint, so that a same-origin check there passes. Sent
    /// only where the client sent one.
    Rewrite,
    /// This one, always.
    Literal(http::HeaderValue),
    /// The client's, and this one where it sent none.
    Default(http::HeaderValue),
}

/// What holds for WebSockets on a route.
#[derive(Debug, Clone)]
pub struct WebSocketPlan {
    /// A session in which nothing passes, either way, for so long is ended; 1 h.
    pub idle_timeout: Duration,
    /// The largest message (all its frames' payloads together) in either direction, in bytes, on
    /// the declared length; `None` (the default): no limit.
    pub max_message: Option<u64>,
    /// The largest frame payload in either direction, in bytes, on the declared length; `None`
    /// (the default): no limit.
    pub max_frame: Option<u64>,
}
