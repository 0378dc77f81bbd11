//! What is told by route: requests, handshakes, and the sessions that come of them.

use super::super::METHODS;
use super::super::cell::{QUEUE_BOUNDS, REQUEST_BOUNDS, SESSION_BOUNDS};
use super::super::exchange::{of_request_key, status_label};
use super::super::session::{is_of_slow_consumer, of_end_key};
use super::super::text::{Page, Unit};
use super::{Facts, NO_ROUTE, Routes, level, sums, total};

pub(super) fn requests(page: &mut Page, routes: &Routes<'_>) {
    let name = "tidegate_http_requests_total";
    page.family(name, "counter", "Answered HTTP requests, WebSocket handshakes not among them; 499: the client left before its answer.");
    for (route, meters) in routes {
        for (key, count) in sums(meters.iter().map(|meters| &meters.requests)) {
            let (method, code) = of_request_key(key);
            let labels = [("route", *route), ("method", method), ("code", &code)];
            page.sample(name, &labels, count);
        }
    }
    let name = "tidegate_http_request_duration_seconds";
    page.family(
        name,
        "histogram",
        "From the request's head to the last byte of its answer.",
    );
    for (route, meters) in routes {
        for (place, method) in METHODS.iter().enumerate() {
            let histograms = meters.iter().filter_map(|one| one.request_time.get(place));
            let labels = [("route", *route), ("method", *method)];
            page.histogram(name, &labels, REQUEST_BOUNDS, histograms);
        }
    }
    let name = "tidegate_http_requests_in_flight";
    page.family(
        name,
        "gauge",
        "HTTP requests that have a route and not yet their whole answer.",
    );
    for (route, meters) in routes.iter().filter(|(route, _)| *route != NO_ROUTE) {
        let value = level(meters.iter().map(|meters| &meters.in_flight));
        page.sample(name, &[("route", route)], value);
    }
}

pub(super) fn handshakes(page: &mut Page, routes: &Routes<'_>) {
    let name = "tidegate_ws_handshakes_total";
    page.family(
        name,
        "counter",
        "Answered WebSocket handshakes; 499: the client left before its answer.",
    );
    for (route, meters) in routes {
        for (key, count) in sums(meters.iter().map(|meters| &meters.handshakes)) {
            let labels = [("route", *route), ("code", &status_label(key))];
            page.sample(name, &labels, count);
        }
    }
    let name = "tidegate_ws_handshake_duration_seconds";
    page.family(
        name,
        "histogram",
        "From the handshake's head to the 101, or to the last byte of the refusal.",
    );
    for (route, meters) in routes {
        let histograms = meters.iter().map(|meters| &meters.handshake_time);
        page.histogram(name, &[("route", route)], REQUEST_BOUNDS, histograms);
    }
}

pub(super) fn open_sessions(page: &mut Page, facts: &Facts<'_>, routes: &Routes<'_>) {
    let name = "tidegate_ws_connections";
    page.family(name, "gauge", "Open WebSockets.");
    for ((route, meters), (_, kind)) in routes.iter().zip(&facts.routes) {
        let value = level(meters.iter().map(|meters| &meters.sessions));
        page.sample(name, &[("route", route), ("kind", kind)], value);
    }
}

pub(super) fn sessions(page: &mut Page, routes: &Routes<'_>) {
    let name = "tidegate_ws_connections_opened_total";
    page.family(name, "counter", "WebSockets that were opened.");
    for (route, meters) in routes {
        let value = total(meters.iter().map(|meters| &meters.opened));
        page.sample(name, &[("route", route)], value);
    }
    let name = "tidegate_ws_connections_closed_total";
    page.family(name, "counter", "WebSockets that have ended; the code is that of the client's leg, codes of applications by their thousand.");
    for (route, meters) in routes {
        for (key, count) in sums(meters.iter().map(|meters| &meters.closed)) {
            let (code, cause, initiator) = of_end_key(key);
            let labels = [
                ("route", *route),
                ("code", code.as_str()),
                ("cause", cause),
                ("initiator", initiator),
            ];
            page.sample(name, &labels, count);
        }
    }
    let name = "tidegate_ws_connection_duration_seconds";
    page.family(
        name,
        "histogram",
        "From the 101 to the end, of WebSockets that have ended.",
    );
    for (route, meters) in routes {
        let histograms = meters.iter().map(|meters| &meters.session_time);
        page.histogram(name, &[("route", route)], SESSION_BOUNDS, histograms);
    }
    traffic(page, routes);
    health(page, routes);
}

/// By leg, as the relay counts them.
const LEGS: [&str; 2] = ["client", "upstream"];

/// How well the peers of sessions do.
fn health(page: &mut Page, routes: &Routes<'_>) {
    let name = "tidegate_ws_ping_rtt_seconds";
    let help = "From a ping of the gateway's to its pong.";
    page.family(name, "histogram", help);
    for (route, meters) in routes {
        for (place, leg) in LEGS.iter().enumerate() {
            let labels = [("route", *route), ("leg", *leg)];
            let times = meters.iter().map(|meters| &meters.ping_time[place]);
            page.histogram(name, &labels, REQUEST_BOUNDS, times);
        }
    }
    let name = "tidegate_ws_send_queue_bytes";
    let help = "What a leg has not taken, once a second while there is anything.";
    page.family(name, "histogram", help);
    for (route, meters) in routes {
        for (place, leg) in LEGS.iter().enumerate() {
            let labels = [("route", *route), ("leg", *leg)];
            let queues = meters.iter().map(|meters| &meters.queued[place]);
            page.histogram_of(Unit::Bytes, name, &labels, QUEUE_BOUNDS, queues);
        }
    }
    let name = "tidegate_ws_slow_consumers_total";
    let help = "WebSockets with a peer that did not take what was sent to it, by what was done.";
    page.family(name, "counter", help);
    let ends = routes.iter().flat_map(|(_, meters)| meters);
    let ends = sums(ends.map(|meters| &meters.closed)).into_iter();
    let slow = ends.filter(|(key, _)| is_of_slow_consumer(*key));
    let slow = slow.fold(0_u64, |sum, (_, count)| sum.wrapping_add(count));
    page.sample(name, &[("action", "close")], slow);
}

/// By direction, as the relay counts them: what the client sent, what the upstream sent.
const DIRECTIONS: [&str; 2] = ["in", "out"];

fn traffic(page: &mut Page, routes: &Routes<'_>) {
    let name = "tidegate_ws_messages_total";
    page.family(
        name,
        "counter",
        "Whole messages; in: from clients, out: to clients.",
    );
    for (route, meters) in routes {
        for (place, direction) in DIRECTIONS.iter().enumerate() {
            for (kind, what) in ["text", "binary"].iter().enumerate() {
                let cells = meters.iter().map(|meters| &meters.messages[place][kind]);
                let labels = [
                    ("route", *route),
                    ("direction", *direction),
                    ("kind", *what),
                ];
                page.sample(name, &labels, total(cells));
            }
        }
    }
    let name = "tidegate_ws_bytes_total";
    page.family(
        name,
        "counter",
        "Payload bytes of all frames, as they pass; in: from clients, out: to clients.",
    );
    for (route, meters) in routes {
        for (place, direction) in DIRECTIONS.iter().enumerate() {
            let cells = meters.iter().map(|meters| &meters.bytes[place]);
            let labels = [("route", *route), ("direction", *direction)];
            page.sample(name, &labels, total(cells));
        }
    }
}
