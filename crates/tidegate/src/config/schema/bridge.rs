//! `bridge`: the services that envelopes may call, and what holds for their calls.

use std::sync::Arc;

use super::super::error::{Fault, Problems};
use super::super::plan::{
    BridgeHeaders, BridgePlan, BridgeRates, ForwardAuth, LegacyErrors, OverRate,
};
use super::super::secret::Secret;
use super::super::value;
use super::super::yaml::{Fields, Located, Spot};
use super::{auth, handler, limits, located, push, rooms};

/// The value of `bridge`.
#[derive(Debug, Clone)]
pub(in crate::config) struct Bridge {
    /// What `baseUrl` may name.
    pub(in crate::config) services: Vec<Located<String>>,
    /// All of the plan but the services.
    pub(in crate::config) plan: BridgePlan,
}

/// What `forward_auth` may say.
#[derive(Clone, Copy)]
enum Identity {
    Bearer,
    None,
    SignedHeaders,
}

const IDENTITIES: [(&str, Identity); 3] = [
    ("bearer", Identity::Bearer),
    ("signed_headers", Identity::SignedHeaders),
    ("none", Identity::None),
];
/// As many bytes as the hash that the secret is for.
const SHORTEST_SECRET: usize = 32;
const ERRORS: [(&str, LegacyErrors); 2] = [
    ("answer", LegacyErrors::Answer),
    ("silent", LegacyErrors::Silent),
];
const OVER: [(&str, OverRate); 3] = [
    ("delay", OverRate::Delay),
    ("reject", OverRate::Reject),
    ("close", OverRate::Close),
];
const COOKIES: [(&str, bool); 2] = [("forward", true), ("drop", false)];

impl Bridge {
    pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = spot.fields(problems)?;
        let mut plan = BridgePlan::default();
        let services = fields.take("services");
        let services = services.map_or_else(Vec::new, |spot| spot.any_number());
        let services = services
            .iter()
            .filter_map(|spot| located(spot, problems, |text| Ok(text.to_owned())))
            .collect();
        if let Some(spot) = fields.take("max_in_flight") {
            let most = spot.whole(problems, 1..=MOST_IN_FLIGHT);
            plan.max_in_flight = most.map_or(plan.max_in_flight, |most| most as usize);
        }
        if let Some(spot) = fields.take("max_in_flight_per_user") {
            plan.max_in_flight_per_user = spot.value(problems, value::count).flatten();
        }
        if let Some(spot) = fields.take("timeout") {
            let timeout = spot.value(problems, value::duration);
            plan.timeout = timeout.unwrap_or(plan.timeout);
        }
        for (key, size) in [
            ("max_response", &mut plan.max_response),
            ("stream_above", &mut plan.stream_above),
        ] {
            let written = fields.take(key);
            let written = written.and_then(|spot| spot.value(problems, value::bounded_size));
            *size = written.unwrap_or(*size);
        }
        plan.forward_auth = read_identity(&mut fields, problems);
        if let Some(spot) = fields.take("legacy_errors") {
            let errors = spot.name_of(problems, "way to tell of errors", &ERRORS);
            plan.legacy_errors = errors.unwrap_or(plan.legacy_errors);
        }
        if let Some(spot) = fields.take("ping_interval") {
            let interval = spot.value(problems, value::timeout);
            plan.ping_interval = interval.unwrap_or(plan.ping_interval);
        }
        if let Some(spot) = fields.take("token") {
            read_token(&spot, &mut plan, problems);
        }
        if let Some(spot) = fields.take("headers") {
            plan.headers = read_headers(&spot, problems);
        }
        if let Some(spot) = fields.take("rates") {
            plan.rates = read_rates(&spot, problems);
        }
        if let Some(spot) = fields.take("push") {
            plan.push = push::read(&spot, problems);
        }
        if let Some(spot) = fields.take("resume") {
            read_resume(&spot, &mut plan, problems);
        }
        if let Some(spot) = fields.take("rooms") {
            plan.rooms = rooms::read_rules(&spot, problems);
        }
        if let Some(spot) = fields.take("websocket") {
            let limits = handler::read_limits(&spot, BridgePlan::websocket(), problems);
            plan.websocket = Arc::new(limits);
        }
        fields.finish(problems);
        Some(Self { services, plan })
    }
}

fn read_resume(spot: &Spot<'_>, plan: &mut BridgePlan, problems: &mut Problems) {
    let Some(mut fields) = spot.fields(problems) else {
        return;
    };
    if let Some(spot) = fields.take("ttl") {
        let ttl = spot.value(problems, value::timeout);
        plan.resume = ttl.unwrap_or(plan.resume);
    }
    let replay = &mut plan.replay;
    if let Some(spot) = fields.take("key") {
        replay.key = spot.value(problems, secret);
    }
    if let Some(spot) = fields.take("messages") {
        let messages = spot.whole(problems, 1..=MOST_REPLAYED);
        replay.messages = messages.map_or(replay.messages, |messages| messages as usize);
    }
    if let Some(spot) = fields.take("bytes") {
        let bytes = spot.value(problems, value::bounded_size);
        replay.bytes = bytes.unwrap_or(replay.bytes);
    }
    fields.finish(problems);
}

/// All that one client missed is in memory at once.
const MOST_REPLAYED: u32 = 100_000;

/// Each call under way holds an answer in memory.
const MOST_IN_FLIGHT: u32 = 10_000;

fn read_identity(fields: &mut Fields<'_>, problems: &mut Problems) -> ForwardAuth {
    let (spot, signing) = (fields.take("forward_auth"), fields.take("signing_secret"));
    let identity = spot
        .as_ref()
        .and_then(|spot| spot.name_of(problems, "identity", &IDENTITIES));
    let signing = signing.map(|spot| (spot.place(), spot.value(problems, secret)));
    match (identity, signing) {
        (Some(Identity::SignedHeaders), Some((_, Some(secret)))) => {
            return ForwardAuth::SignedHeaders(secret);
        }
        (Some(Identity::SignedHeaders), None) => {
            if let Some(spot) = &spot {
                let message = "there is no secret to sign with";
                let remedy = "write `signing_secret: file:/run/secrets/bridge`";
                problems.suggest(&spot.place(), message, remedy);
            }
        }
        (Some(Identity::Bearer | Identity::None) | None, Some((place, _))) => {
            let message = "nothing is signed with it";
            problems.suggest(&place, message, "write `forward_auth: signed_headers`");
        }
        (Some(Identity::None), None) => return ForwardAuth::None,
        _ => {}
    }
    ForwardAuth::Bearer
}

/// No fault repeats it.
fn secret(text: &str) -> Result<Secret, Fault> {
    let secret = auth::secret(text, "secret")?;
    if secret.len() < SHORTEST_SECRET {
        let message = format!("a secret to sign with has at least {SHORTEST_SECRET} bytes");
        return Err(Fault::new(message).suggest("make one with `openssl rand -hex 32`"));
    }
    Ok(Secret::new(&secret))
}

fn read_token(spot: &Spot<'_>, plan: &mut BridgePlan, problems: &mut Problems) {
    let Some(mut fields) = spot.fields(problems) else {
        return;
    };
    for (key, time) in [
        ("warn_before", &mut plan.warn_before),
        ("hello_timeout", &mut plan.hello_timeout),
    ] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::duration));
        *time = written.unwrap_or(*time);
    }
    fields.finish(problems);
}

fn read_rates(spot: &Spot<'_>, problems: &mut Problems) -> BridgeRates {
    let mut rates = BridgeRates::default();
    let Some(mut fields) = spot.fields(problems) else {
        return rates;
    };
    if let Some(spot) = fields.take("messages") {
        rates.messages = limits::rate(&spot, problems);
    }
    if let Some(spot) = fields.take("bytes") {
        rates.bytes = spot.value(problems, value::limit).flatten();
    }
    if let Some(spot) = fields.take("over") {
        let over = spot.name_of(problems, "way with what is too fast", &OVER);
        rates.over = over.unwrap_or(rates.over);
    }
    fields.finish(problems);
    rates
}

fn read_headers(spot: &Spot<'_>, problems: &mut Problems) -> BridgeHeaders {
    let mut headers = BridgeHeaders::default();
    let Some(mut fields) = spot.fields(problems) else {
        return headers;
    };
    if let Some(spot) = fields.take("from_handshake") {
        headers.from_handshake = names(&spot, problems, field);
    }
    if let Some(spot) = fields.take("from_client") {
        headers.from_client = names(&spot, problems, pattern);
    }
    if let Some(spot) = fields.take("to_client") {
        headers.to_client = names(&spot, problems, pattern);
    }
    if let Some(spot) = fields.take("cookies") {
        let cookies = spot.name_of(problems, "way with cookies", &COOKIES);
        headers.cookies = cookies.unwrap_or(headers.cookies);
    }
    fields.finish(problems);
    headers
}

fn names(
    spot: &Spot<'_>,
    problems: &mut Problems,
    read: fn(&str) -> Result<Box<str>, Fault>,
) -> Vec<Box<str>> {
    let items = spot.any_number();
    let items = items.iter();
    items
        .filter_map(|spot| spot.value(problems, read))
        .collect()
}

/// A field of the handshake that may go to services.
fn field(text: &str) -> Result<Box<str>, Fault> {
    let name = value::field_name(text)?.as_str().to_ascii_lowercase();
    let own = [
        "authorization",
        "connection",
        "content-length",
        "content-type",
        "host",
        "upgrade",
    ];
    if own.contains(&&*name)
        || name.starts_with("sec-websocket-")
        || name.starts_with("x-tidegate-")
    {
        let message = format!("`{name}` is not copied from a handshake");
        return Err(
            Fault::new(message).suggest("`forward_auth` says whether `Authorization` goes on")
        );
    }
    Ok(name.into())
}

/// A name, or the beginning of one with a `*` behind it.
fn pattern(text: &str) -> Result<Box<str>, Fault> {
    if text == "*" {
        return Ok("*".into());
    }
    let start = text.strip_suffix('*').unwrap_or(text);
    value::field_name(start)?;
    if start.contains('*') {
        return Err(Fault::new("a `*` may stand at the end alone").suggest("write `x-*`"));
    }
    Ok(text.to_ascii_lowercase().into())
}
