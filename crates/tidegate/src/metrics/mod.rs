//! What the gateway counts, and the page on which Prometheus reads it.
//!
//! Each worker counts in cells of its own, which are found once, when the gateway is built: a request
//! costs a few relaxed additions that no other core contends for. The admin listener sums the cells
//! of all workers when it is asked (`page`). Why not a crate: ADR 0006.

mod bridge;
mod cell;
mod exchange;
mod page;
mod push;
mod session;
mod text;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::bridge::{BridgeMeters, CallMeter};
use self::cell::{Counter, Histogram, Level, Sparse};
pub(crate) use self::exchange::ExchangeMeter;
pub(crate) use self::page::{ClusterFacts, Facts, page};
pub(crate) use self::push::{PushMeters, PushSource, Resumed};
pub(crate) use self::session::{SessionMeter, microseconds};
use crate::error::UpstreamError;
use crate::tls::accept;

/// What one worker counts.
#[derive(Debug)]
pub(crate) struct Meters {
    /// In the order of the routes; behind them one for what found no route.
    routes: Box<[Arc<RouteMeters>]>,
    /// In the order of the services.
    services: Box<[ServiceMeters]>,
    /// Of bridged calls, in the order of the services; behind them one for those that reach none.
    bridged: Box<[Arc<BridgeMeters>]>,
    /// Accepted connections.
    pub(crate) accepted: Counter,
    /// How long pushes took to a session's socket.
    push_time: Histogram,
    /// Handshakes of TLS with clients, by result.
    pub(crate) tls: [Counter; accept::RESULTS.len()],
}

/// What one worker counts for one route.
#[derive(Debug, Default)]
pub(crate) struct RouteMeters {
    /// By method and status.
    requests: Sparse,
    /// By method.
    request_time: [Histogram; METHODS.len()],
    in_flight: Level,
    /// By status.
    handshakes: Sparse,
    handshake_time: Histogram,
    sessions: Level,
    opened: Counter,
    /// By code, cause and initiator.
    closed: Sparse,
    session_time: Histogram,
    /// Pings of ours that were answered, by leg.
    ping_time: [Histogram; 2],
    /// Bytes that a leg did not take, by leg.
    queued: [Histogram; 2],
    /// By direction and kind.
    messages: [[Counter; 2]; 2],
    /// By direction.
    bytes: [Counter; 2],
}

impl RouteMeters {
    /// So many bytes have passed in a direction, as a whole message, of which one is binary, or as
    /// something else.
    pub(crate) fn frame_passed(&self, direction: usize, is_binary: Option<bool>, bytes: u64) {
        let places = (self.messages.get(direction), self.bytes.get(direction));
        let (Some([text, binary]), Some(sum)) = places else {
            return;
        };
        match is_binary {
            Some(true) => binary.add(1),
            Some(false) => text.add(1),
            None => {}
        }
        sum.add(bytes);
    }

    /// Its open sessions.
    pub(crate) fn open_sessions(&self) -> i64 {
        self.sessions.value()
    }
}

/// What one worker counts for one service.
#[derive(Debug, Default)]
pub(crate) struct ServiceMeters {
    request_time: Histogram,
    /// By the label of the failure that they follow.
    retries: Sparse,
}

/// The methods that have a label of their own. Strangers choose methods, so the others share one.
const METHODS: [&str; 10] = [
    "other", "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];

impl Meters {
    /// Cells for so many routes and services.
    pub(crate) fn new(routes: usize, services: usize) -> Self {
        Self {
            routes: (0..=routes).map(|_| Arc::default()).collect(),
            services: (0..services).map(|_| ServiceMeters::default()).collect(),
            bridged: (0..=services).map(|_| Arc::default()).collect(),
            accepted: Counter::default(),
            push_time: Histogram::default(),
            tls: Default::default(),
        }
    }

    /// The cells of the route at `place`.
    pub(crate) fn route(&self, place: usize) -> &Arc<RouteMeters> {
        // Any other place is a fault of ours, which is no reason to fail a request.
        self.routes.get(place).unwrap_or_else(|| self.no_route())
    }

    /// The cells of bridged calls to the service at `place`, or of those that reach none.
    pub(crate) fn bridged(&self, place: Option<usize>) -> &Arc<BridgeMeters> {
        let none = self.bridged.len() - 1;
        let place = place.filter(|place| *place < none);
        &self.bridged[place.unwrap_or(none)]
    }

    /// A push was given to a session's socket so long after it was taken.
    pub(crate) fn pushed(&self, took: Duration) {
        self.push_time.observe(took, cell::REQUEST_BOUNDS);
    }

    fn no_route(&self) -> &Arc<RouteMeters> {
        &self.routes[self.routes.len() - 1]
    }

    /// A call to the service at `place` was answered: its head took so long, the dial included.
    pub(crate) fn call_answered(&self, place: usize, took: Duration) {
        if let Some(service) = self.services.get(place) {
            service.request_time.observe(took, cell::REQUEST_BOUNDS);
        }
    }

    /// A request is tried anew at the service at `place`, after `failure`.
    pub(crate) fn retried(&self, place: usize, failure: &UpstreamError) {
        if let Some(service) = self.services.get(place) {
            service.retries.add(reason_key(failure));
        }
    }
}

/// Why a request is tried anew: failures before which nothing can have been acted on, and a lost
/// connection.
const REASONS: [&str; 7] = [
    "other",
    "addresses_exhausted",
    "upstream_connect_timeout",
    "upstream_lost",
    "upstream_refused",
    "upstream_tls_failed",
    "upstream_unresolvable",
];

fn reason_key(failure: &UpstreamError) -> u32 {
    let label = failure.label();
    let place = REASONS.iter().position(|reason| *reason == label);
    u32::try_from(place.unwrap_or_default()).unwrap_or_default()
}
