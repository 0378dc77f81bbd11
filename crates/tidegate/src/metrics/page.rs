//! The page that Prometheus reads: which metrics there are, and what each means.

use std::collections::BTreeMap;

use super::bridge::of_call_key;
use super::cell::{Counter, Level, REQUEST_BOUNDS, Sparse};
use super::text::Page;
use super::{BridgeMeters, Meters, PushMeters, REASONS, RouteMeters, ServiceMeters};
use crate::auth::AuthCounts;
use crate::bus::BusState;
use crate::logs::Lines;
use crate::tls::accept;

mod routes;
#[cfg(test)]
mod tests;

/// What is told of the cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ClusterFacts {
    /// Its store can be reached.
    pub(crate) is_connected: bool,
    /// Its nodes, with this one.
    pub(crate) nodes: usize,
    /// The users who are online on any of them.
    pub(crate) users: u64,
}

/// What the page tells besides the cells.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) version: &'a str,
    pub(crate) commit: &'a str,
    /// With what the sessions of each are.
    pub(crate) routes: Vec<(&'a str, &'static str)>,
    pub(crate) services: Vec<&'a str>,
    /// Open connections that speak HTTP.
    pub(crate) connections: usize,
    pub(crate) panics: u64,
    /// How many users have a WebSocket open.
    pub(crate) users: usize,
    /// The cluster; a node on its own is all of one.
    pub(crate) cluster: ClusterFacts,
    /// Of how many sessions and users nothing was told on the bus.
    pub(crate) untold: u64,
    /// Events that the bus has not taken yet.
    pub(crate) waiting: usize,
    pub(crate) bus: BusState,
    /// How many were refused for a cap, by code.
    pub(crate) refusals: Vec<(&'static str, u64)>,
    /// How many lines each log has had.
    pub(crate) logs: Vec<(&'static str, Lines)>,
    /// How often files of TLS were read again in vain, and how often not.
    pub(crate) tls_reloads: [u64; 2],
    pub(crate) auth: AuthCounts,
    pub(crate) pushes: &'a PushMeters,
    /// How many rooms there are, and how many members of all.
    pub(crate) rooms: [usize; 2],
    /// Bytes of pushes that are held for clients that may come back.
    pub(crate) suspended_bytes: usize,
    pub(crate) draining: bool,
    /// Seconds since 1970.
    pub(crate) started: f64,
}

/// The name of the route of requests that found none.
const NO_ROUTE: &str = "-";

/// Writes the page; `meters` are those of all workers.
pub(crate) fn page(facts: &Facts<'_>, meters: &[&Meters]) -> String {
    let mut page = Page::default();
    process(&mut page, facts, meters);
    bus(&mut page, &facts.bus);
    refusals(&mut page, facts);
    auth(&mut page, &facts.auth);
    tls(&mut page, facts, meters);
    logs(&mut page, facts);
    let names = facts.routes.iter().map(|(name, _)| *name).chain([NO_ROUTE]);
    let mut by_route: Vec<(&str, Vec<&RouteMeters>)> = Vec::new();
    for (place, name) in names.enumerate() {
        let of_workers = meters.iter().map(|meters| &**meters.route(place));
        by_route.push((name, of_workers.collect()));
    }
    cluster(&mut page, facts.cluster);
    routes::requests(&mut page, &by_route);
    upstream(&mut page, facts, meters);
    bridge(&mut page, facts, meters);
    let push_times = meters.iter().map(|meters| &meters.push_time);
    facts.pushes.write(&mut page, push_times);
    super::push::rooms(&mut page, facts.rooms);
    super::push::suspended_bytes(&mut page, facts.suspended_bytes);
    routes::handshakes(&mut page, &by_route);
    by_route.pop(); // no session is without a route
    routes::open_sessions(&mut page, facts, &by_route);
    routes::sessions(&mut page, &by_route);
    page.into_text()
}

type Routes<'a> = [(&'a str, Vec<&'a RouteMeters>)];

fn process(page: &mut Page, facts: &Facts<'_>, meters: &[&Meters]) {
    let mut one = |name, kind, help, value: f64| {
        page.family(name, kind, help);
        page.sample(name, &[], value);
    };
    let accepted = total(meters.iter().map(|meters| &meters.accepted));
    #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps f64")]
    for (name, kind, help, value) in [
        (
            "tidegate_connections",
            "gauge",
            "Open connections that speak HTTP.",
            facts.connections as f64,
        ),
        (
            "tidegate_connections_accepted_total",
            "counter",
            "Accepted connections.",
            accepted as f64,
        ),
        (
            "tidegate_draining",
            "gauge",
            "1 while the gateway drains, else 0.",
            f64::from(u8::from(facts.draining)),
        ),
        (
            "tidegate_panics_total",
            "counter",
            "Panics in tasks of the process; each is a fault of ours.",
            facts.panics as f64,
        ),
        (
            "tidegate_users_online",
            "gauge",
            "Users with at least one open WebSocket.",
            facts.users as f64,
        ),
        (
            "tidegate_events_untold_total",
            "counter",
            "Sessions and users of whose coming and going nothing was told, because the bus took no more.",
            facts.untold as f64,
        ),
        (
            "tidegate_events_waiting",
            "gauge",
            "Events of sessions and users that the bus has not taken yet.",
            facts.waiting as f64,
        ),
        (
            "process_start_time_seconds",
            "gauge",
            "When the gateway was started, in seconds since 1970.",
            facts.started,
        ),
    ] {
        one(name, kind, help, value);
    }
    page.family(
        "tidegate_build_info",
        "gauge",
        "Always 1; the labels tell what runs.",
    );
    let labels = [("version", facts.version), ("commit", facts.commit)];
    page.sample("tidegate_build_info", &labels, 1);
}

/// Nothing of a bus that stays within the process.
fn bus(page: &mut Page, state: &BusState) {
    if let Some(is_connected) = state.is_connected {
        let help = "1 while the brokers can be reached, else 0.";
        page.family("tidegate_kafka_connected", "gauge", help);
        page.sample("tidegate_kafka_connected", &[], u8::from(is_connected));
    }
    if !state.dead_letters.is_empty() {
        let help = "Records that were no events, and what became of them.";
        page.family("tidegate_kafka_dead_letters_total", "counter", help);
    }
    for (result, count) in &state.dead_letters {
        let labels = [("result", *result)];
        page.sample("tidegate_kafka_dead_letters_total", &labels, count);
    }
    for (name, kind, help, samples) in [
        (
            "tidegate_kafka_consumer_lag",
            "gauge",
            "Records of a topic that have not arrived here yet.",
            &state.lag,
        ),
        (
            "tidegate_kafka_undecodable_total",
            "counter",
            "Records of a topic that were no events, and were skipped.",
            &state.undecodable,
        ),
    ] {
        if !samples.is_empty() {
            page.family(name, kind, help);
        }
        for (topic, count) in samples {
            page.sample(name, &[("topic", topic)], count);
        }
    }
}

/// What there is of other nodes.
fn cluster(page: &mut Page, cluster: ClusterFacts) {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps f64")]
    let counts = [
        (
            "tidegate_cluster_connected",
            "1 while the store of the cluster can be reached, else 0.",
            f64::from(u8::from(cluster.is_connected)),
        ),
        (
            "tidegate_cluster_nodes",
            "Nodes of the cluster, with this one, as of its last look.",
            cluster.nodes as f64,
        ),
        (
            "tidegate_cluster_users_online",
            "Users with at least one open WebSocket on any node, as of the last look.",
            cluster.users as f64,
        ),
    ];
    for (name, help, value) in counts {
        page.family(name, "gauge", help);
        page.sample(name, &[], value);
    }
}

/// The refusal that is for a rate, and so has a metric of its own.
const TOO_MANY_HANDSHAKES: &str = "too_many_handshakes";

fn tls(page: &mut Page, facts: &Facts<'_>, meters: &[&Meters]) {
    let name = "tidegate_tls_handshakes_total";
    page.family(
        name,
        "counter",
        "Handshakes of TLS with clients, by result.",
    );
    for (place, result) in accept::RESULTS.into_iter().enumerate() {
        let counters = meters.iter().filter_map(|meters| meters.tls.get(place));
        page.sample(name, &[("result", result)], total(counters));
    }
    let name = "tidegate_tls_reloads_total";
    page.family(
        name,
        "counter",
        "Files of TLS that had changed and were read again, by result.",
    );
    for (result, count) in ["failed", "ok"].into_iter().zip(facts.tls_reloads) {
        page.sample(name, &[("result", result)], count);
    }
}

fn auth(page: &mut Page, counts: &AuthCounts) {
    let name = "tidegate_auth_refused_total";
    page.family(
        name,
        "counter",
        "Requests and handshakes that were not let through for who sent them or from where, by code.",
    );
    for (code, count) in &counts.refusals {
        page.sample(name, &[("code", code)], *count);
    }
    let name = "tidegate_token_cache_total";
    page.family(
        name,
        "counter",
        "Tokens that were looked for among those seen before, by result.",
    );
    for (result, count) in ["hit", "miss"].into_iter().zip(counts.cache) {
        page.sample(name, &[("result", result)], count);
    }
    let name = "tidegate_token_refresh_total";
    page.family(
        name,
        "counter",
        "Newer tokens that open sessions were shown, by result.",
    );
    for (result, count) in ["refused", "ok"].into_iter().zip(counts.renewals) {
        page.sample(name, &[("result", result)], count);
    }
    let name = "tidegate_revocations";
    page.family(name, "gauge", "Revocations of tokens that are in force.");
    page.sample(name, &[], counts.revocations);
    let name = "tidegate_revocations_refused_total";
    page.family(name, "counter", "Revocations that there was no room for.");
    page.sample(name, &[], counts.unkept_revocations);
    let name = "tidegate_jwks_fetches_total";
    page.family(name, "counter", "Fetches of the keys of tokens, by result.");
    for (result, count) in ["failed", "ok"].into_iter().zip(counts.fetches) {
        page.sample(name, &[("result", result)], count);
    }
}

fn refusals(page: &mut Page, facts: &Facts<'_>) {
    let name = "tidegate_refused_total";
    page.family(
        name,
        "counter",
        "Connections, requests and handshakes refused for a cap or a PROXY header, by code.",
    );
    let is_rate = |code: &str| code == TOO_MANY_HANDSHAKES;
    for (code, count) in facts.refusals.iter().filter(|(code, _)| !is_rate(code)) {
        page.sample(name, &[("code", code)], *count);
    }
    let name = "tidegate_ws_rate_limited_total";
    page.family(name, "counter", "WebSocket handshakes over a rate.");
    for (_, count) in facts.refusals.iter().filter(|(code, _)| is_rate(code)) {
        let labels = [("scope", "address"), ("action", "refuse")];
        page.sample(name, &labels, *count);
    }
}

fn logs(page: &mut Page, facts: &Facts<'_>) {
    let name = "tidegate_log_lines_total";
    page.family(
        name,
        "counter",
        "Lines of logs: written out, and dropped because they could not be in time.",
    );
    for (log, lines) in &facts.logs {
        for (result, count) in [("written", lines.written), ("dropped", lines.dropped)] {
            page.sample(name, &[("log", log), ("result", result)], count);
        }
    }
}

fn upstream(page: &mut Page, facts: &Facts<'_>, meters: &[&Meters]) {
    let mut services: Vec<(&str, Vec<&ServiceMeters>)> = Vec::new();
    for (place, name) in facts.services.iter().enumerate() {
        let of_workers = meters
            .iter()
            .filter_map(|meters| meters.services.get(place));
        services.push((name, of_workers.collect()));
    }
    let name = "tidegate_upstream_request_duration_seconds";
    page.family(name, "histogram", "From the choice of an endpoint to the head of its answer, the dial included; HTTP calls only.");
    for (service, meters) in &services {
        let histograms = meters.iter().map(|meters| &meters.request_time);
        page.histogram(name, &[("service", service)], REQUEST_BOUNDS, histograms);
    }
    let name = "tidegate_upstream_retries_total";
    page.family(
        name,
        "counter",
        "Requests and handshakes that were tried anew, by the failure before.",
    );
    for (service, meters) in &services {
        for (key, count) in sums(meters.iter().map(|meters| &meters.retries)) {
            let reason = REASONS.get(key as usize).unwrap_or(&REASONS[0]);
            page.sample(name, &[("service", service), ("reason", reason)], count);
        }
    }
}

/// Calls of bridges; those that named no service have `-` for one.
fn bridge(page: &mut Page, facts: &Facts<'_>, meters: &[&Meters]) {
    let names = facts.services.iter().copied().map(Some).chain([None]);
    let services: Vec<(&str, Vec<&BridgeMeters>)> = names
        .enumerate()
        .map(|(place, name)| {
            let place = name.map(|_| place);
            let of_workers = meters.iter().map(|meters| &**meters.bridged(place));
            (name.unwrap_or(NO_ROUTE), of_workers.collect())
        })
        .collect();
    let name = "tidegate_bridge_requests_total";
    let help = "Bridged calls, by who made their answer; 499: taken back, or the client left.";
    page.family(name, "counter", help);
    for (service, meters) in &services {
        for (key, count) in sums(meters.iter().map(|meters| meters.parts().0)) {
            let (method, code, source) = of_call_key(key);
            let labels = [
                ("service", *service),
                ("method", method),
                ("code", &code),
                ("source", source),
            ];
            page.sample(name, &labels, count);
        }
    }
    let name = "tidegate_bridge_request_duration_seconds";
    let help = "From the envelope to the last frame of its answer.";
    page.family(name, "histogram", help);
    for (service, meters) in &services {
        let times = meters.iter().map(|meters| meters.parts().1);
        page.histogram(name, &[("service", service)], REQUEST_BOUNDS, times);
    }
    let name = "tidegate_bridge_in_flight";
    page.family(name, "gauge", "Bridged calls that are under way.");
    for (service, meters) in &services {
        let value = level(meters.iter().map(|meters| meters.parts().2));
        page.sample(name, &[("service", service)], value);
    }
    let all = || services.iter().flat_map(|(_, meters)| meters);
    let name = "tidegate_bridge_cancelled_total";
    page.family(
        name,
        "counter",
        "Bridged calls that were taken back, or whose client left.",
    );
    page.sample(name, &[], total(all().map(|meters| meters.parts().3)));
    let name = "tidegate_bridge_streams_open";
    page.family(
        name,
        "gauge",
        "Answers of bridged calls that go out in chunks.",
    );
    page.sample(name, &[], level(all().map(|meters| meters.parts().4)));
}

fn total<'a>(cells: impl Iterator<Item = &'a Counter>) -> u64 {
    cells.map(Counter::value).fold(0, u64::wrapping_add)
}

fn level<'a>(cells: impl Iterator<Item = &'a Level>) -> i64 {
    cells.map(Level::value).fold(0, i64::wrapping_add)
}

fn sums<'a>(cells: impl Iterator<Item = &'a Sparse>) -> BTreeMap<u32, u64> {
    let mut sums = BTreeMap::new();
    cells.for_each(|cell| cell.sum_into(&mut sums));
    sums
}
