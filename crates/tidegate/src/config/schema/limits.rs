//! `limits`: how much may be in use at once and how long a client may take, at the four levels of
//! the file.

use std::time::Duration;

use super::super::error::Problems;
use super::super::plan::{GatewayLimits, ListenerLimits, Rate, RouteLimits};
use super::super::value;
use super::super::yaml::{Fields, Spot};

/// A head larger than this is held in memory by nobody.
const LARGEST_HEAD: u64 = 1024 * 1024;
const MOST_FIELDS: u32 = 1000;
const MOST_CONNECTIONS: u32 = 100_000_000;
const LARGEST_BURST: u32 = 1_000_000;

/// Those of the whole gateway.
pub(super) fn gateway(spot: &Spot<'_>, problems: &mut Problems) -> Option<GatewayLimits> {
    let mut fields = spot.fields(problems)?;
    let most = fields.take("max_connections");
    let most = most.and_then(|spot| spot.whole(problems, 1..=MOST_CONNECTIONS));
    let limits = GatewayLimits {
        max_connections: most.map(|most| most as usize),
        max_connections_per_address: count(&mut fields, "max_connections_per_address", problems),
        handshakes_per_address: fields
            .take("handshakes_per_address")
            .and_then(|spot| rate(&spot, problems)),
    };
    fields.finish(problems);
    Some(limits)
}

/// Those of a listener.
pub(super) fn listener(spot: &Spot<'_>, problems: &mut Problems) -> Option<ListenerLimits> {
    let mut fields = spot.fields(problems)?;
    let mut limits = ListenerLimits {
        max_connections: count(&mut fields, "max_connections", problems),
        ..ListenerLimits::default()
    };
    for (key, timeout) in [
        ("head_timeout", &mut limits.head_timeout),
        ("keep_alive_timeout", &mut limits.keep_alive_timeout),
        ("body_timeout", &mut limits.body_timeout),
        ("write_timeout", &mut limits.write_timeout),
    ] {
        *timeout = duration(&mut fields, key, problems).unwrap_or(*timeout);
    }
    if let Some(spot) = fields.take("min_body_rate") {
        let rate = spot.value(problems, value::limit);
        limits.min_body_rate = rate.unwrap_or(limits.min_body_rate);
    }
    let max_target = fields.take("max_target");
    for (spot, size) in [
        (fields.take("max_head"), &mut limits.max_head),
        (max_target.clone(), &mut limits.max_target),
    ] {
        *size = spot
            .and_then(|spot| head_size(&spot, problems))
            .unwrap_or(*size);
    }
    if let Some(spot) = max_target.filter(|_| limits.max_target > limits.max_head) {
        let message = "the target is part of the head, and cannot be larger than `max_head`";
        problems.add(&spot.place(), message);
    }
    if let Some(spot) = fields.take("max_fields") {
        let most = spot.whole(problems, 1..=MOST_FIELDS);
        limits.max_fields = most.map_or(limits.max_fields, |most| most as usize);
    }
    fields.finish(problems);
    Some(limits)
}

/// Those of a route.
pub(super) fn route(spot: &Spot<'_>, problems: &mut Problems) -> Option<RouteLimits> {
    let mut fields = spot.fields(problems)?;
    let limits = RouteLimits {
        max_sessions: count(&mut fields, "max_sessions", problems),
        max_requests: count(&mut fields, "max_requests", problems),
        max_body: fields
            .take("max_body")
            .and_then(|spot| spot.value(problems, value::limit))
            .flatten(),
    };
    fields.finish(problems);
    Some(limits)
}

/// That of a service: its connections.
pub(super) fn service(spot: &Spot<'_>, problems: &mut Problems) -> Option<usize> {
    let mut fields = spot.fields(problems)?;
    let most = count(&mut fields, "max_connections", problems);
    fields.finish(problems);
    most
}

fn count(fields: &mut Fields<'_>, key: &'static str, problems: &mut Problems) -> Option<usize> {
    let spot = fields.take(key)?;
    spot.value(problems, value::count).flatten()
}

fn duration(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<Duration> {
    fields.take(key)?.value(problems, value::duration)
}

fn head_size(spot: &Spot<'_>, problems: &mut Problems) -> Option<usize> {
    let size = spot.value(problems, value::size)?;
    if size > LARGEST_HEAD {
        problems.add(&spot.place(), "a head is held in memory: at most 1MiB");
    }
    usize::try_from(size).ok()
}

/// `10/s`, `{ rate: 10/s, burst: 30 }` or `none`; the burst is what the rate's time brings.
fn rate(spot: &Spot<'_>, problems: &mut Problems) -> Option<Rate> {
    let (written, burst) = if spot.is_scalar() {
        if spot.text(problems) == Some("none") {
            return None;
        }
        (spot.value(problems, value::rate), None)
    } else {
        let mut fields = spot.fields(problems)?;
        let written = fields.need("rate", "rate: 10/s", problems);
        let written = written.and_then(|spot| spot.value(problems, value::rate));
        let burst = fields.take("burst");
        let burst = burst.and_then(|spot| spot.whole(problems, 1..=LARGEST_BURST));
        fields.finish(problems);
        (written, burst)
    };
    let (number, per) = written?;
    Some(Rate {
        every: per / number,
        burst: burst.unwrap_or(number),
    })
}
