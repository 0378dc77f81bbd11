//! The plan: a configuration with its names linked and its patterns compiled. Nothing here is
//! running yet; `Gateway::start` builds what runs.

mod auth;
mod bridge;
mod broker;
mod bus;
mod cluster;
mod handler;
mod kafka;
mod limits;
mod listener;
mod rooms;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

pub use self::auth::{AuthPlan, JwtPlan, LONGEST_LEEWAY};
pub use self::bridge::{
    BridgeHeaders, BridgePlan, BridgePush, BridgeRates, ForwardAuth, LegacyErrors, OverRate,
    PushBuffer, ReplayPlan, SlowConsumer,
};
pub use self::broker::{
    BusFormat, BusTls, CompatHash, KafkaBusPlan, RegistryPlan, SaslMechanism, SaslPlan,
};
pub use self::bus::{BusHistory, BusPlan};
pub use self::cluster::{ClusterPlan, RedisMode, RedisPlan, RedisTls, StorePlan};
pub use self::handler::{HandlerLimits, HandlerPlan};
pub use self::kafka::KafkaPlan;
pub use self::limits::{
    GatewayLimits, LimitScope, ListenerLimits, OverSessions, Rate, RouteLimits, SessionLimits,
};
pub use self::listener::{Bind, ProxyProtocolPlan, RedirectHost, RedirectPlan, UnixBind};
pub use self::rooms::{RoomHistory, RoomsPlan};
pub use self::tls::{CertificateFiles, ClientCertificates, ListenerTls, ServiceTls, TlsVersion};
use super::defaults;
use super::secret::Secret;
use crate::authority::Authority;
use crate::logs;
use crate::pipeline::{CorsPlan, FilterPlan};
use crate::router::Matcher;

/// Everything that a gateway needs to start.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Data-plane threads, one runtime each; by default one per core.
    pub workers: usize,
    /// What holds for all of it.
    pub limits: GatewayLimits,
    /// The sockets to bind, at least one.
    pub listeners: Vec<ListenerPlan>,
    /// The listener for those who operate the gateway; `None` (the default): there is none.
    pub admin: Option<AdminPlan>,
    /// How it ends.
    pub drain: DrainPlan,
    /// Where it is written what came in; `None`: nowhere. By default to standard error.
    pub access_log: Option<AccessLogPlan>,
    /// Other logs of the process, whose lines its metrics count too.
    pub other_logs: Vec<logs::Control>,
    /// The commit that the program was built from, where that is known; it is told to those who
    /// operate the gateway.
    pub commit: Option<Arc<str>>,
    /// Peers whose word on whom they speak for is believed.
    pub trusted_proxies: Arc<[IpNet]>,
    /// Which of the two they write; by default `x-forwarded-for`.
    pub forwarded_header: ForwardedHeader,
    /// How clients prove who they are.
    pub auth: AuthPlan,
    /// What holds for browsers where no route does; `None` (the default): whatever upstreams say.
    pub cors: Option<CorsPlan>,
    /// What events are called on the bus.
    pub bus: BusPlan,
    /// Where the nodes have their shared memory; by default there is one node.
    pub cluster: ClusterPlan,
    /// What holds for rooms.
    pub rooms: RoomsPlan,
    /// The services that routes name.
    pub services: Vec<Arc<ServicePlan>>,
    /// The routes, in the order in which they are tried.
    pub routes: Vec<RoutePlan>,
}

/// The header by which trusted proxies name their clients. The other one may come from a client, and
/// is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, and with it all `X-Forwarded-*`.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

/// One socket to bind.
#[derive(Debug, Clone)]
pub struct ListenerPlan {
    /// Its name, unique among the listeners.
    pub name: Arc<str>,
    /// Where it listens.
    pub bind: Bind,
    /// TLS; `None` (the default): there is none.
    pub tls: Option<Arc<ListenerTls>>,
    /// What holds for its connections.
    pub limits: Arc<ListenerLimits>,
    /// Which peers say for whom they speak; `None` (the default): nobody does.
    pub proxy_protocol: Option<ProxyProtocolPlan>,
    /// Where it sends every request; `None` (the default): the routes are asked.
    pub redirect: Option<Arc<RedirectPlan>>,
}

/// What is written down of what comes in, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLogPlan {
    /// Where; by default to standard error.
    pub target: logs::Target,
    /// How; by default as JSON.
    pub format: AccessLogFormat,
    /// How long after one line on an open session the next one may follow; whole seconds, by default
    /// 60. `None`: there is none between its first and its last.
    pub stats_interval: Option<Duration>,
}

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AccessLogFormat {
    /// A JSON object.
    #[default]
    Json,
    /// For people: `key=value`.
    Text,
    /// As Apache and nginx write theirs, one line for a request.
    Combined,
}

impl Default for AccessLogPlan {
    fn default() -> Self {
        Self {
            target: logs::Target::Stderr,
            format: AccessLogFormat::default(),
            stats_interval: Some(defaults::STATS_INTERVAL),
        }
    }
}

/// The listener for those who operate the gateway.
#[derive(Debug, Clone)]
pub struct AdminPlan {
    bind: SocketAddr,
    token: Option<Secret>,
    aliases: Vec<AdminAlias>,
    kafka: Option<Arc<KafkaPlan>>,
    tls: Option<Arc<ListenerTls>>,
}

/// Paths by which users of other gateways ask the admin listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminAlias {
    /// `/actuator/websocket` and `/actuator/websocket/count`: how many sessions there are.
    ActuatorWebsocket,
    /// `/application/websockets`: all of them.
    ApplicationWebsockets,
}

impl AdminPlan {
    /// An admin listener at `bind`, for those who know the token. `None`: it would be open to other
    /// machines, because `bind` is no loopback address and there is no token.
    #[must_use]
    pub fn new(bind: SocketAddr, token: Option<Secret>) -> Option<Self> {
        let plan = Self {
            bind,
            token,
            aliases: Vec::new(),
            kafka: None,
            tls: None,
        };
        (plan.token.is_some() || Self::is_loopback(bind)).then_some(plan)
    }

    /// With these aliases; by default there are none.
    #[must_use]
    pub fn with_aliases(mut self, aliases: Vec<AdminAlias>) -> Self {
        self.aliases = aliases;
        self
    }

    /// With `POST /kafka`; by default there is none.
    #[must_use]
    pub fn with_kafka(mut self, kafka: Option<KafkaPlan>) -> Self {
        self.kafka = kafka.map(Arc::new);
        self
    }

    /// `POST /kafka`, where it is switched on.
    #[must_use]
    pub const fn kafka(&self) -> Option<&Arc<KafkaPlan>> {
        self.kafka.as_ref()
    }

    /// With TLS; by default there is none.
    #[must_use]
    pub fn with_tls(mut self, tls: Option<ListenerTls>) -> Self {
        self.tls = tls.map(Arc::new);
        self
    }

    /// TLS, where there is some.
    #[must_use]
    pub const fn tls(&self) -> Option<&Arc<ListenerTls>> {
        self.tls.as_ref()
    }

    /// Paths of other gateways that it answers too.
    #[must_use]
    pub fn aliases(&self) -> &[AdminAlias] {
        &self.aliases
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

/// How a gateway ends politely. Zero means that there is no such time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainPlan {
    /// How long connections are still accepted when it is not ready any more; 5 s.
    pub delay: Duration,
    /// Over how long the ends of WebSockets are spread, once nothing is accepted any more; 10 s.
    pub spread: Duration,
    /// How long what is under way has after that, before it is cut; 10 s.
    pub timeout: Duration,
}

impl Default for DrainPlan {
    fn default() -> Self {
        Self {
            delay: defaults::DRAIN_DELAY,
            spread: defaults::DRAIN_SPREAD,
            timeout: defaults::DRAIN_TIMEOUT,
        }
    }
}

/// A named upstream application.
#[derive(Debug, Clone)]
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
    /// TLS to those of its endpoints that want it.
    pub tls: ServiceTls,
    /// Local addresses to dial from, used in turn; empty: the system chooses.
    pub source_addresses: Vec<IpAddr>,
    /// Idle connections that each worker keeps per endpoint; 32.
    pub max_idle: usize,
    /// How long an idle connection is kept; 60 s.
    pub idle_timeout: Duration,
    /// Calls and sessions under way on all endpoints together; `None` (the default): no limit.
    pub max_connections: Option<usize>,
}

/// One address of a service.
#[derive(Debug, Clone)]
pub struct EndpointPlan {
    /// Host and port; the port is always there.
    pub authority: Authority,
    /// Whether it is spoken to over TLS: the scheme of its URL is `https` or `wss`.
    pub is_tls: bool,
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
    /// What holds for browsers, that of the plan included; `None`: whatever its upstream says.
    pub cors: Option<CorsPlan>,
    /// What is done to it, in this order.
    pub filters: Vec<FilterPlan>,
    /// What holds for them.
    pub limits: RouteLimits,
    /// What becomes of a WebSocket whose token ends; it is closed.
    pub on_expiry: OnExpiry,
    /// Which ends of a WebSocket revoke the token that it was opened with; none.
    pub revoke_on_disconnect: RevokeOnDisconnect,
    /// The cookie, which scripts can read, that tells a browser the id of its session; `None` (the
    /// default): there is none.
    pub session_cookie: Option<Box<str>>,
    /// Where it ends.
    pub target: TargetPlan,
}

/// What becomes of a WebSocket whose token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExpiry {
    /// It is closed.
    #[default]
    Close,
    /// It goes on. A bridge calls nobody in it until it has a newer token.
    Keep,
}

/// Which ends of a WebSocket revoke the token that it was opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RevokeOnDisconnect {
    /// None.
    #[default]
    Never,
    /// Those for which nothing passed for `idle_timeout`.
    Timeout,
    /// Each.
    Always,
}

/// Where a route ends.
#[derive(Debug, Clone)]
pub enum TargetPlan {
    /// At calls over HTTP that come as envelopes.
    Bridge(Arc<BridgePlan>),
    /// At a handler of the embedder's.
    Handler(HandlerPlan),
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
    pub websocket: Arc<WebSocketPlan>,
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

/// What holds for WebSockets on a route. Sizes are in bytes, on the lengths that frames declare;
/// timers are looked at once a second, so each may come up to a second late.
#[derive(Debug, Clone)]
pub struct WebSocketPlan {
    /// The largest message (all its frames' payloads together), by who sends it; `None` (the
    /// default): no limit.
    pub max_message: Sides<Option<u64>>,
    /// The largest frame payload, by who sends it; `None` (the default): no limit.
    pub max_frame: Sides<Option<u64>>,
    /// Whether the payload of text messages is looked at; by default it is not.
    pub text: TextCheck,
    /// What becomes of pings; by default they are forwarded.
    pub ping: PingMode,
    /// How the gateway finds out that a side is gone; 25 s and 10 s. `None`: it does not.
    pub keep_alive: Sides<Option<KeepAlive>>,
    /// A session in which nothing passes, either way, for so long is ended; 1 h. `None`: never.
    pub idle_timeout: Option<Duration>,
    /// A session is ended at an age between 90 and 100 % of this; `None` (the default): never.
    pub max_age: Option<Duration>,
    /// How long a side may take nothing of what is sent to it; 30 s.
    pub write_timeout: Duration,
    /// How long a closing handshake may take, and the boundary that it waits for; 5 s.
    pub close_timeout: Duration,
    /// Pings and pongs that each side may send in a second, 100; `None`: any number.
    pub max_control_frames: Option<u32>,
    /// Names of extensions whose offers are passed on besides those of permessage-deflate; none.
    pub extensions: Vec<Box<str>>,
    /// The subprotocols whose offers are passed on; `None`, the default: all.
    pub subprotocols: Option<Vec<Box<str>>>,
}

/// A value for each side of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sides<T> {
    /// For the client's.
    pub client: T,
    /// For the upstream's.
    pub upstream: T,
}

/// Whether the payload of text messages is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextCheck {
    /// It is not.
    Any,
    /// It must be UTF-8, unless it is compressed.
    Utf8,
}

/// What becomes of the pings of either side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PingMode {
    /// The gateway answers them, and they do not pass.
    Answer,
    /// They pass like any other frame.
    Forward,
}

/// How the gateway finds out that a side is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive {
    /// A side that says nothing for so long is pinged.
    pub interval: Duration,
    /// A side that says nothing for so long after that is gone.
    pub timeout: Duration,
}
