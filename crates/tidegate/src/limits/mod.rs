//! Caps: how much of the gateway may be in use at once, by all clients and by one.
//!
//! Whoever uses something that is capped holds a permit, and gives it back by dropping it. The
//! acceptor asks for those of a connection, `dispatch` for those of a request; a session takes both
//! with it. Whoever gets none has [`Overload`] as its answer, before anything is dialled.

mod addresses;
mod body;
pub(crate) mod bucket;
mod cluster;
pub mod descriptors;
mod gauge;
mod rates;
mod sessions;
mod users;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;
use ipnet::IpNet;
use tokio::time::Instant;

pub(crate) use self::addresses::Addresses;
use self::addresses::Counted;
pub(crate) use self::addresses::{Client, client_of};
pub(crate) use self::cluster::ClusterCaps;
pub(crate) use self::gauge::{Gauge, Taken};
pub(crate) use self::rates::Rates;
pub(crate) use self::sessions::SessionCaps;
pub(crate) use self::users::Users;
use crate::config::plan::{ForwardedHeader, Plan, RouteLimits};
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::presence::Eviction;

/// A client has many when it has more than one in so many of those in use.
const MANY_SHARE: usize = 4;

/// A cap that is reached: what the client is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Overload {
    /// The gateway has as many connections as it may.
    #[error("the gateway has as many connections as it may")]
    GatewayFull,
    /// The listener has as many connections as it may.
    #[error("the listener has as many connections as it may")]
    ListenerFull,
    /// The route has as many sessions or requests under way as it may.
    #[error("the route serves as many clients as it may")]
    RouteFull,
    /// The service has as many calls and sessions under way as it may.
    #[error("the service has as many connections as it may")]
    ServiceFull,
    /// The gateway has as many sessions as it may.
    #[error("the gateway has as many WebSockets open as it may")]
    SessionsFull,
    /// The client has as many connections as it may.
    #[error("this client has as many connections as it may")]
    TooManyConnections,
    /// The user, or the client, has as many sessions as it may.
    #[error("this user or client has as many WebSockets open as it may")]
    TooManySessions,
    /// The client shakes hands too often.
    #[error("this client asks for WebSockets too often")]
    TooManyHandshakes {
        /// Seconds until it may again, at least 1.
        retry_after: u32,
    },
}

impl Overload {
    /// What it is as an answer.
    pub(crate) const fn status_and_label(self) -> (StatusCode, &'static str) {
        const FULL: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        const TOO_MANY: StatusCode = StatusCode::TOO_MANY_REQUESTS;
        match self {
            Self::GatewayFull => (FULL, "gateway_full"),
            Self::ListenerFull => (FULL, "listener_full"),
            Self::RouteFull => (FULL, "route_full"),
            Self::ServiceFull => (FULL, "service_full"),
            Self::SessionsFull => (FULL, "sessions_full"),
            Self::TooManySessions => (TOO_MANY, "too_many_sessions"),
            Self::TooManyConnections => (TOO_MANY, "too_many_connections"),
            Self::TooManyHandshakes { .. } => (TOO_MANY, "too_many_handshakes"),
        }
    }

    /// Seconds after which to try again.
    pub(crate) const fn retry_after(self) -> u32 {
        match self {
            Self::TooManyHandshakes { retry_after } => retry_after,
            _ => 1,
        }
    }
}

/// What its holder uses of what is capped; dropped, it is given back. There is one for each request
/// and for each idle session, so what they need has its place in here.
#[derive(Debug, Default)]
pub(crate) struct Permits {
    counted: Option<Counted>,
    /// Of a listener, of the gateway and of a route.
    taken: [Option<Taken>; 3],
    /// What has no place above.
    more: Option<Box<Self>>,
}

impl Permits {
    /// Those of a request join those of its connection: a session holds both.
    pub(crate) fn join(&mut self, mut other: Self) {
        if let Some(counted) = other.counted.take() {
            self.count(counted);
        }
        for taken in other.taken.iter_mut().filter_map(Option::take) {
            self.put(taken);
        }
        if let Some(more) = other.more.take() {
            self.join(*more);
        }
    }

    fn count(&mut self, held: Counted) {
        if self.counted.is_none() {
            self.counted = Some(held);
        } else {
            self.more.get_or_insert_default().count(held);
        }
    }

    fn put(&mut self, held: Taken) {
        match self.taken.iter_mut().find(|place| place.is_none()) {
            Some(place) => *place = Some(held),
            None => self.more.get_or_insert_default().put(held),
        }
    }

    fn take(&mut self, gauge: &Arc<Gauge>, full: Overload) -> Result<(), Overload> {
        self.put(gauge.take().ok_or(full)?);
        Ok(())
    }
}

/// The caps that all workers share.
#[derive(Debug)]
pub(crate) struct Caps {
    connections: Arc<Gauge>,
    addresses: Arc<Addresses>,
    per_address: Option<usize>,
    sessions: SessionCaps,
    handshakes: Option<Rates>,
    tls_handshakes: Option<Rates>,
    trusted_proxies: Arc<[IpNet]>,
    forwarded_header: ForwardedHeader,
    /// How many were refused for them and not told of yet.
    refused: AtomicU64,
    /// How many did not say for whom they speak, likewise.
    nameless: AtomicU64,
    /// How many were refused in all, by the places of [`CODES`].
    refusals: [AtomicU64; CODES.len()],
}

/// A peer that is to say for whom it speaks did not.
const BAD_PROXY_HEADER: &str = "bad_proxy_header";

/// What refusals are counted by.
const CODES: [&str; 10] = [
    BAD_PROXY_HEADER,
    "descriptors_short",
    "gateway_full",
    "listener_full",
    "route_full",
    "service_full",
    "sessions_full",
    "too_many_connections",
    "too_many_handshakes",
    "too_many_sessions",
];

/// The caps of one route.
#[derive(Debug)]
pub(crate) struct RouteCaps {
    sessions: SessionCaps,
    requests: Option<Arc<Gauge>>,
    max_body: Option<u64>,
}

impl RouteCaps {
    pub(crate) fn new(limits: &RouteLimits, route: &Arc<str>) -> Self {
        Self {
            sessions: SessionCaps::new(&limits.sessions, Some(route)),
            requests: Gauge::up_to(limits.max_requests),
            max_body: limits.max_body,
        }
    }

    /// Who goes where there is one session too many, where that is wanted.
    pub(crate) const fn eviction(&self) -> Option<&Eviction> {
        self.sessions.eviction()
    }

    /// Those limits on its sessions that hold on all nodes together.
    pub(crate) const fn cluster(&self) -> Option<&Arc<ClusterCaps>> {
        self.sessions.cluster()
    }
}

impl Caps {
    pub(crate) fn new(plan: &Plan) -> Self {
        let limits = &plan.limits;
        let most = limits
            .max_connections
            .unwrap_or_else(|| descriptors::connections(plan.workers, plan.listeners.len()));
        Self {
            connections: Arc::new(Gauge::new(most)),
            addresses: Arc::new(Addresses::default()),
            per_address: limits.max_connections_per_address,
            sessions: SessionCaps::new(&limits.sessions, None),
            handshakes: limits.handshakes_per_address.map(Rates::new),
            tls_handshakes: limits.tls_handshakes_per_address.map(Rates::new),
            trusted_proxies: Arc::clone(&plan.trusted_proxies),
            forwarded_header: plan.forwarded_header,
            refused: AtomicU64::new(0),
            nameless: AtomicU64::new(0),
            refusals: Default::default(),
        }
    }

    /// Those limits on sessions that hold on all nodes together.
    pub(crate) const fn cluster(&self) -> Option<&Arc<ClusterCaps>> {
        self.sessions.cluster()
    }

    /// The most connections that are accepted.
    pub(crate) fn max_connections(&self) -> usize {
        self.connections.most()
    }

    /// Whether an address is one of the trusted proxies.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies
            .iter()
            .any(|net| net.contains(&address))
    }

    /// The header by which they name their clients.
    pub(crate) const fn forwarded_header(&self) -> ForwardedHeader {
        self.forwarded_header
    }

    /// The permits of a connection that was just accepted. Of a trusted proxy's the address is not
    /// counted: its requests count for those whom they are from.
    pub(crate) fn admit_connection(
        &self,
        listener: Option<&Arc<Gauge>>,
        peer: IpAddr,
    ) -> Result<Permits, Overload> {
        let mut permits = Permits::default();
        if !self.trusts(peer) {
            self.count(peer, listener, &mut permits)?;
        }
        self.take_connection(listener, &mut permits)?;
        Ok(permits)
    }

    /// The permits of a connection that was just accepted from a peer who will say for whom.
    pub(crate) fn admit_unnamed(&self, listener: Option<&Arc<Gauge>>) -> Result<Permits, Overload> {
        let mut permits = Permits::default();
        self.take_connection(listener, &mut permits)?;
        Ok(permits)
    }

    /// The same for it and for its client, now that this one is known.
    pub(crate) fn admit_client(
        &self,
        mut permits: Permits,
        listener: Option<&Arc<Gauge>>,
        client: IpAddr,
    ) -> Result<Permits, Overload> {
        if !self.trusts(client) {
            self.count(client, listener, &mut permits)?;
        }
        Ok(permits)
    }

    fn take_connection(
        &self,
        listener: Option<&Arc<Gauge>>,
        permits: &mut Permits,
    ) -> Result<(), Overload> {
        if let Some(listener) = listener {
            permits.take(listener, Overload::ListenerFull)?;
        }
        permits.take(&self.connections, Overload::GatewayFull)
    }

    /// Whether a peer may hold a handshake of TLS now. Trusted proxies always may: they speak for many.
    pub(crate) fn admit_tls_handshake(&self, peer: IpAddr) -> Result<(), Overload> {
        match &self.tls_handshakes {
            Some(rates) if !self.trusts(peer) => rates.take(peer, Instant::now()),
            _ => Ok(()),
        }
    }

    /// The permits of a request that has found its route, held until it is answered or its session
    /// has ended. A body that may be too long is bounded.
    pub(crate) fn admit_request(
        &self,
        route: &RouteCaps,
        exchange: &mut Exchange,
        permits: &mut Permits,
    ) -> Result<(), GatewayError> {
        let client = exchange.client;
        // Joined at the end: whoever is refused holds nothing while it takes its answer.
        let mut held = Permits::default();
        let gauge = if exchange.upgrade {
            route.sessions.all()
        } else {
            route.requests.as_ref()
        };
        let sessions = gauge.filter(|_| exchange.upgrade);
        if exchange.downstream.trusted {
            // A proxy that names nobody is itself the client.
            if exchange.upgrade || self.per_address.is_some() {
                self.count(client, sessions, &mut held)?;
            }
        } else if let Some(gauge) = sessions
            && gauge.is_contested()
            // The connection that it asks on is counted already.
            && has_many(self.addresses.has(client).saturating_sub(1), gauge)
        {
            return Err(Overload::TooManyConnections.into());
        }
        if exchange.upgrade {
            self.look_elsewhere(route)?;
        }
        if let Some(gauge) = gauge {
            held.take(gauge, Overload::RouteFull)?;
        }
        if exchange.upgrade {
            self.sessions.admit_client(client, &mut held)?;
            route.sessions.admit_client(client, &mut held)?;
            if let Some(gauge) = self.sessions.all() {
                held.take(gauge, Overload::SessionsFull)?;
            }
        }
        // The last of all: what is refused otherwise costs no token.
        if exchange.upgrade
            && let Some(handshakes) = &self.handshakes
        {
            handshakes.take(client, Instant::now())?;
        }
        if let Some(limit) = route.max_body {
            body::bound(&mut exchange.body, limit)?;
        }
        permits.join(held);
        Ok(())
    }

    /// Whether other nodes leave room for one more session, as far as is known.
    fn look_elsewhere(&self, route: &RouteCaps) -> Result<(), Overload> {
        if route.sessions.is_full_elsewhere() {
            return Err(Overload::RouteFull);
        }
        if self.sessions.is_full_elsewhere() {
            return Err(Overload::SessionsFull);
        }
        Ok(())
    }

    /// The permits of one more session of a user.
    pub(crate) fn admit_user(
        &self,
        route: &RouteCaps,
        user: &str,
        permits: &mut Permits,
    ) -> Result<(), Overload> {
        let mut held = Permits::default();
        self.sessions.admit_user(user, &mut held)?;
        route.sessions.admit_user(user, &mut held)?;
        permits.join(held);
        Ok(())
    }

    /// Counts one more for a client, unless it has as many as it may, or, where there are few left
    /// of the gateway's or of those of `also`, more than its share.
    fn count(
        &self,
        client: IpAddr,
        also: Option<&Arc<Gauge>>,
        permits: &mut Permits,
    ) -> Result<(), Overload> {
        let may = |has| self.may_have_more(has, also);
        let held = self.addresses.count(client, may);
        permits.count(held.ok_or(Overload::TooManyConnections)?);
        Ok(())
    }

    fn may_have_more(&self, has: usize, also: Option<&Arc<Gauge>>) -> bool {
        let contested = |gauge: &&Arc<Gauge>| gauge.is_contested();
        let connections = Some(&self.connections).filter(contested);
        let mut contested = connections.into_iter().chain(also.filter(contested));
        self.per_address.is_none_or(|most| has < most)
            && !contested.any(|gauge| has_many(has, gauge))
    }

    /// Whether a handshake would be admitted in place of this plain request, which is. Nothing is taken.
    pub(crate) fn would_admit(
        &self,
        route: &RouteCaps,
        exchange: &Exchange,
    ) -> Result<(), Overload> {
        let (client, sessions) = (exchange.client, route.sessions.all());
        let has = self.addresses.has(client);
        let may = if exchange.downstream.trusted {
            // It is counted itself, where those of a client have a bound.
            let others = has.saturating_sub(usize::from(self.per_address.is_some()));
            self.may_have_more(others, sessions)
        } else {
            let contested = sessions.filter(|gauge| gauge.is_contested());
            contested.is_none_or(|gauge| !has_many(has.saturating_sub(1), gauge))
        };
        if !may {
            return Err(Overload::TooManyConnections);
        }
        if sessions.is_some_and(|gauge| gauge.used() >= gauge.most()) {
            return Err(Overload::RouteFull);
        }
        let user = exchange.principal.as_ref().map(|one| one.user());
        self.sessions.would_admit(client, user)?;
        route.sessions.would_admit(client, user)?;
        self.look_elsewhere(route)?;
        let all = self.sessions.all();
        if all.is_some_and(|gauge| gauge.used() >= gauge.most()) {
            return Err(Overload::SessionsFull);
        }
        let handshakes = self.handshakes.as_ref();
        let looked = handshakes.map_or(Ok(()), |rates| rates.look(client, Instant::now()));
        looked.map_err(|retry_after| Overload::TooManyHandshakes { retry_after })
    }

    /// Somebody was refused with `code`.
    pub(crate) fn note_refusal(&self, code: &str) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.count_refusal(code);
    }

    /// A peer did not say for whom it speaks, as it is to.
    pub(crate) fn note_nameless(&self) {
        self.nameless.fetch_add(1, Ordering::Relaxed);
        self.count_refusal(BAD_PROXY_HEADER);
    }

    fn count_refusal(&self, code: &str) {
        let place = CODES.iter().position(|one| *one == code);
        if let Some(count) = place.and_then(|place| self.refusals.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many were refused so far, by code.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refusals.iter();
        CODES
            .into_iter()
            .zip(counts.map(|count| count.load(Ordering::Relaxed)))
    }

    /// Once a second: forgets whom it need not remember, and tells of those who were refused.
    pub(crate) fn tick(&self) {
        for rates in [&self.handshakes, &self.tls_handshakes]
            .into_iter()
            .flatten()
        {
            rates.forget_some(Instant::now());
        }
        if self.refused.load(Ordering::Relaxed) > 0 {
            let refused = self.refused.swap(0, Ordering::Relaxed);
            tracing::warn!(refused, "connections or requests over a limit");
        }
        if self.nameless.load(Ordering::Relaxed) > 0 {
            let refused = self.nameless.swap(0, Ordering::Relaxed);
            tracing::warn!(refused, "connections without a proper PROXY header");
        }
    }
}

/// Whether one who has so many connections and sessions has too many of a gauge's for its last share.
fn has_many(has: usize, gauge: &Gauge) -> bool {
    has > gauge.used() / MANY_SHARE
}

#[cfg(test)]
mod tests;
