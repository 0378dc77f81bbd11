//! `services`: the upstream applications.

use std::net::IpAddr;
use std::time::Duration;

use super::super::defaults;
use super::super::error::{Place, Problems};
use super::super::plan::{Balance, ServiceTls};
use super::super::url::{self, EndpointUrl};
use super::super::value;
use super::super::yaml::{Located, Spot};
use super::{limits, tls};

const BALANCES: [(&str, Balance); 3] = [
    ("least_sessions", Balance::LeastSessions),
    ("round_robin", Balance::RoundRobin),
    ("random", Balance::Random),
];
const LARGEST_WEIGHT: u32 = 1000;
const LARGEST_POOL: u32 = 100_000;

/// One entry of `services`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Service {
    pub(in crate::config) name: Located<String>,
    pub(in crate::config) endpoints: Vec<Endpoint>,
    pub(in crate::config) balance: Option<Balance>,
    pub(in crate::config) connect_timeout: Duration,
    pub(in crate::config) handshake_timeout: Duration,
    pub(in crate::config) response_timeout: Duration,
    pub(in crate::config) tls: ServiceTls,
    pub(in crate::config) source_addresses: Vec<IpAddr>,
    pub(in crate::config) max_idle: usize,
    pub(in crate::config) idle_timeout: Duration,
    pub(in crate::config) max_connections: Option<usize>,
}

/// One item of `endpoints`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Endpoint {
    pub(in crate::config) url: EndpointUrl,
    pub(in crate::config) weight: u32,
}

impl Service {
    /// Reads one. It is there under its name even where nothing else of it can be read, so that
    /// routes do not complain about it as well.
    pub(super) fn read(name: &Located<&str>, spot: &Spot<'_>, problems: &mut Problems) -> Self {
        if let Err(fault) = value::name(name.value) {
            problems.fault(&name.place, fault);
        }
        let mut service = Self {
            name: Located {
                value: name.value.to_owned(),
                place: name.place.clone(),
            },
            endpoints: Vec::new(),
            balance: None,
            connect_timeout: defaults::CONNECT_TIMEOUT,
            handshake_timeout: defaults::HANDSHAKE_TIMEOUT,
            response_timeout: defaults::RESPONSE_TIMEOUT,
            tls: ServiceTls::default(),
            source_addresses: Vec::new(),
            max_idle: defaults::POOL_MAX_IDLE,
            idle_timeout: defaults::POOL_IDLE_TIMEOUT,
            max_connections: None,
        };
        service.read_fields(spot, problems);
        service
    }

    fn read_fields(&mut self, spot: &Spot<'_>, problems: &mut Problems) -> Option<()> {
        let mut fields = spot.fields(problems)?;
        let example = "endpoints: http://127.0.0.1:9000";
        if let Some(spot) = fields.need("endpoints", example, problems) {
            self.endpoints = read_endpoints(&spot, problems);
        }
        if let Some(spot) = fields.take("balance") {
            self.balance = spot.name_of(problems, "balance", &BALANCES);
        }
        for (key, timeout) in [
            ("connect_timeout", &mut self.connect_timeout),
            ("handshake_timeout", &mut self.handshake_timeout),
            ("response_timeout", &mut self.response_timeout),
        ] {
            let written = fields.take(key);
            let written = written.and_then(|spot| spot.value(problems, value::duration));
            *timeout = written.unwrap_or(*timeout);
        }
        if let Some(spot) = fields.take("tls") {
            self.read_tls(&spot, problems);
        }
        if let Some(spot) = fields.take("source_addresses") {
            let addresses = spot.one_or_many(problems);
            let addresses = addresses.iter();
            self.source_addresses = addresses
                .filter_map(|spot| spot.value(problems, value::address))
                .collect();
        }
        if let Some(spot) = fields.take("pool") {
            self.read_pool(&spot, problems);
        }
        let limits = fields.take("limits");
        self.max_connections = limits.and_then(|spot| limits::service(&spot, problems));
        fields.finish(problems);
        Some(())
    }

    fn read_tls(&mut self, spot: &Spot<'_>, problems: &mut Problems) -> Option<()> {
        self.tls = tls::service(spot, problems)?;
        let has_some = self.endpoints.iter().any(|endpoint| endpoint.url.is_tls);
        if !has_some && !self.endpoints.is_empty() {
            let message = "no endpoint of this service is spoken to over TLS";
            problems.doubt(
                &spot.place(),
                message,
                "write `https://` or `wss://` in its URLs",
            );
        }
        Some(())
    }

    fn read_pool(&mut self, spot: &Spot<'_>, problems: &mut Problems) -> Option<()> {
        let mut fields = spot.fields(problems)?;
        let max_idle = fields.take("max_idle");
        let max_idle = max_idle.and_then(|spot| spot.whole(problems, 0..=LARGEST_POOL));
        self.max_idle = max_idle.map_or(self.max_idle, |number| number as usize);
        let idle_timeout = fields.take("idle_timeout");
        let idle_timeout = idle_timeout.and_then(|spot| spot.value(problems, value::duration));
        self.idle_timeout = idle_timeout.unwrap_or(self.idle_timeout);
        fields.finish(problems);
        Some(())
    }
}

/// An endpoint before it is known whether its siblings have weights.
struct Written {
    url: Option<EndpointUrl>,
    weight: Option<Option<u32>>,
    place: Place,
}

fn read_endpoints(spot: &Spot<'_>, problems: &mut Problems) -> Vec<Endpoint> {
    let written: Vec<_> = spot
        .one_or_many(problems)
        .iter()
        .map(|spot| read_endpoint(spot, problems))
        .collect();
    let is_weighted = |endpoint: &&Written| endpoint.weight.is_some();
    let is_unweighted = |endpoint: &&Written| endpoint.weight.is_none() && endpoint.url.is_some();
    if let (Some(_), Some(bare)) = (
        written.iter().find(is_weighted),
        written.iter().find(is_unweighted),
    ) {
        problems.suggest(
            &bare.place,
            "this endpoint has no weight, but others of the service have",
            "give all endpoints a weight or none: `{ url: ..., weight: 1 }`",
        );
    }
    let endpoints = written.into_iter();
    endpoints
        .filter_map(|endpoint| {
            Some(Endpoint {
                url: endpoint.url?,
                weight: endpoint
                    .weight
                    .flatten()
                    .unwrap_or(defaults::ENDPOINT_WEIGHT),
            })
        })
        .collect()
}

fn read_endpoint(spot: &Spot<'_>, problems: &mut Problems) -> Written {
    let mut written = Written {
        url: None,
        weight: None,
        place: spot.place(),
    };
    if spot.is_scalar() {
        written.url = spot.value(problems, url::endpoint);
    } else if let Some(mut fields) = spot.fields(problems) {
        let example = "url: http://127.0.0.1:9000";
        let url = fields.need("url", example, problems);
        written.url = url.and_then(|spot| spot.value(problems, url::endpoint));
        let weight = fields.take("weight");
        written.weight = weight.map(|spot| spot.whole(problems, 1..=LARGEST_WEIGHT));
        fields.finish(problems);
    }
    written
}
