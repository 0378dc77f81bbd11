//! `limits`: how much may be in use at once and how long a client may take, at the four levels of
//! the file.

use std::time::Duration;

use super::super::defaults;
use super::super::error::{Place, Problems};
use super::super::plan::{
    GatewayLimits, LimitScope, ListenerLimits, OverSessions, Rate, RouteLimits, SessionLimits,
};
use super::super::value;
use super::super::yaml::{Fields, Spot};

/// A head larger than this is held in memory by nobody.
const LARGEST_HEAD: u64 = 1024 * 1024;
const MOST_FIELDS: u32 = 1000;
const LARGEST_BURST: u32 = 1_000_000;

/// What was read of the gateway's, and where what must go with other parts of the file stands.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct Gateway {
    pub(in crate::config) plan: GatewayLimits,
    /// `max_connections`.
    pub(in crate::config) max_connections: Option<Place>,
    /// Each `scope: cluster`.
    pub(in crate::config) cluster_wide: Vec<Place>,
}

/// Those of the whole gateway.
pub(super) fn gateway(spot: &Spot<'_>, problems: &mut Problems) -> Option<Gateway> {
    let mut fields = spot.fields(problems)?;
    let most = fields.take("max_connections");
    let place = most.as_ref().map(Spot::place);
    let remedy = "leave it out: it then follows from the descriptors";
    let most = most.and_then(|spot| number(&spot, value::MOST, remedy, problems));
    let per_address = fields.take("max_connections_per_address");
    let mut cluster_wide = Vec::new();
    let sessions = sessions(&mut fields, None, &mut cluster_wide, problems);
    let limits = GatewayLimits {
        sessions,
        max_connections: most.map(|most| most as usize),
        max_connections_per_address: per_address
            .as_ref()
            .and_then(|spot| spot.value(problems, value::count).flatten()),
        handshakes_per_address: fields
            .take("handshakes_per_address")
            .and_then(|spot| rate(&spot, problems)),
        tls_handshakes_per_address: fields
            .take("tls_handshakes_per_address")
            .and_then(|spot| rate(&spot, problems)),
        resume_memory: fields
            .take("resume_memory")
            .and_then(|spot| spot.value(problems, value::bounded_size))
            .unwrap_or(defaults::RESUME_MEMORY),
    };
    finish(fields, problems);
    if let (Some(spot), Some(most), Some(one)) = (
        per_address,
        limits.max_connections,
        limits.max_connections_per_address,
    ) && one > most
    {
        let message = format!("one client may have more connections than all together, {most}");
        problems.doubt(&spot.place(), message, "write a smaller number, or `none`");
    }
    Some(Gateway {
        plan: limits,
        max_connections: place,
        cluster_wide,
    })
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
    finish(fields, problems);
    Some(limits)
}

/// Those of a route, which has so many sessions where nothing is said, and where each `scope: cluster`
/// among them stands.
pub(super) fn route(
    spot: &Spot<'_>,
    max_sessions: Option<usize>,
    problems: &mut Problems,
) -> Option<(RouteLimits, Vec<Place>)> {
    let mut fields = spot.fields(problems)?;
    let mut cluster_wide = Vec::new();
    let limits = RouteLimits {
        sessions: sessions(&mut fields, max_sessions, &mut cluster_wide, problems),
        max_requests: count(&mut fields, "max_requests", problems),
        max_body: fields
            .take("max_body")
            .and_then(|spot| spot.value(problems, value::limit))
            .flatten(),
    };
    finish(fields, problems);
    Some((limits, cluster_wide))
}

/// That of a service: its connections.
pub(super) fn service(spot: &Spot<'_>, problems: &mut Problems) -> Option<usize> {
    let mut fields = spot.fields(problems)?;
    let most = count(&mut fields, "max_connections", problems);
    finish(fields, problems);
    most
}

const OVER: [(&str, OverSessions); 2] = [
    ("reject", OverSessions::Reject),
    ("evict_oldest", OverSessions::EvictOldest),
];

/// Those of sessions, of the gateway or of a route.
fn sessions(
    fields: &mut Fields<'_>,
    most: Option<usize>,
    cluster_wide: &mut Vec<Place>,
    problems: &mut Problems,
) -> SessionLimits {
    let mut read = |key| {
        let limit = scoped(&fields.take(key)?, problems)?;
        if limit.scope == LimitScope::Cluster {
            cluster_wide.push(limit.place);
        }
        Some((limit.most, limit.scope))
    };
    let (most, most_on) = read("max_sessions").unwrap_or((most, LimitScope::Node));
    let (per_user, per_user_on) = read("max_sessions_per_user").unwrap_or_default();
    let limits = SessionLimits {
        most,
        per_user,
        per_address: per_address(fields, problems),
        over: OverSessions::default(),
        most_on,
        per_user_on,
    };
    let Some(spot) = fields.take("over") else {
        return limits;
    };
    let over = spot.name_of(problems, "way with one session too many", &OVER);
    let limits = SessionLimits {
        over: over.unwrap_or_default(),
        ..limits
    };
    if limits.over == OverSessions::EvictOldest && !limits.are_any() {
        let message = "there is no limit on sessions here, so nobody is ever sent away";
        problems.doubt(&spot.place(), message, "write `max_sessions_per_user: 5`");
    }
    limits
}

const SCOPES: [(&str, LimitScope); 2] =
    [("node", LimitScope::Node), ("cluster", LimitScope::Cluster)];

/// A limit, where it holds, and where that is said.
struct Scoped {
    most: Option<usize>,
    scope: LimitScope,
    place: Place,
}

/// `5`, `none`, or `{ most: 5, scope: cluster }`.
fn scoped(spot: &Spot<'_>, problems: &mut Problems) -> Option<Scoped> {
    if !spot.is_map() {
        let most = spot.value(problems, value::count)?;
        return Some(Scoped {
            most,
            scope: LimitScope::Node,
            place: spot.place(),
        });
    }
    let mut fields = spot.fields(problems)?;
    let most = fields.need("most", "most: 5", problems);
    let remedy = "leave the whole of it out: then there is no limit";
    let most = most.and_then(|spot| number(&spot, value::MOST, remedy, problems));
    let scope = fields.take("scope");
    let place = scope.as_ref().map_or_else(|| spot.place(), Spot::place);
    let scope = scope.and_then(|spot| spot.name_of(problems, "scope", &SCOPES));
    fields.finish(problems);
    Some(Scoped {
        most: Some(most? as usize),
        scope: scope.unwrap_or_default(),
        place,
    })
}

/// That of one address, which other nodes are not asked about.
fn per_address(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<usize> {
    let spot = fields.take("max_sessions_per_address")?;
    if !spot.is_map() {
        return spot.value(problems, value::count).flatten();
    }
    let limit = scoped(&spot, problems)?;
    if limit.scope == LimitScope::Cluster {
        problems.suggest(
            &limit.place,
            "sessions of one address are counted on each node by itself",
            "leave `scope` out, or limit `max_sessions_per_user` so",
        );
    }
    limit.most
}

/// The keys of each level's `limits`, and of what is looked for among them.
const LEVELS: [(&str, &[&str]); 5] = [
    (
        "the gateway's `limits`",
        &[
            "max_connections",
            "max_connections_per_address",
            "max_sessions",
            "max_sessions_per_address",
            "max_sessions_per_user",
            "over",
            "handshakes_per_address",
            "tls_handshakes_per_address",
            "resume_memory",
        ],
    ),
    (
        "a listener's `limits`",
        &[
            "max_connections",
            "head_timeout",
            "keep_alive_timeout",
            "body_timeout",
            "write_timeout",
            "max_head",
            "max_target",
            "max_fields",
        ],
    ),
    (
        "a route's `limits`",
        &[
            "max_sessions",
            "max_sessions_per_address",
            "max_sessions_per_user",
            "over",
            "max_requests",
            "max_body",
        ],
    ),
    ("a service's `limits`", &["max_connections"]),
    ("`proxy.websocket`", &["max_message", "max_frame"]),
];

/// Reports the keys that nobody asked for; of one of another level, which that is.
fn finish(fields: Fields<'_>, problems: &mut Problems) {
    fields.finish_with(problems, |key| {
        let levels = LEVELS.iter().filter(|(_, keys)| keys.contains(&key));
        let levels: Vec<_> = levels.map(|(level, _)| *level).collect();
        (!levels.is_empty()).then(|| format!("it is a key of {}", levels.join(", ")))
    });
}

/// A whole number up to `most`; `none` is none, and has its own remedy.
fn number(spot: &Spot<'_>, most: u32, remedy: &str, problems: &mut Problems) -> Option<u32> {
    if spot.is_scalar() && spot.text(problems) == Some("none") {
        let message = format!("expected a whole number from 1 to {most}, found `none`");
        problems.suggest(&spot.place(), message, remedy);
        return None;
    }
    spot.whole(problems, 1..=most)
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
pub(super) fn rate(spot: &Spot<'_>, problems: &mut Problems) -> Option<Rate> {
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
        let remedy = "leave it out: it is then the rate's number";
        let burst = burst.and_then(|spot| number(&spot, LARGEST_BURST, remedy, problems));
        fields.finish(problems);
        (written, burst)
    };
    let (number, per) = written?;
    Some(Rate {
        every: per / number,
        burst: burst.unwrap_or(number),
    })
}
