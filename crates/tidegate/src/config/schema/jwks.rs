//! `auth.jwt.jwks`: where the keys of tokens are published.

use std::sync::Arc;
use std::time::Duration;

use super::super::defaults;
use super::super::error::{Fault, Problems};
use super::super::plan::{EndpointPlan, ServicePlan, ServiceTls};
use super::super::url;
use super::super::value;
use super::super::yaml::{Quoted, Spot};
use super::auth;
use super::tls;
use crate::auth::keys::KeySet;
use crate::auth::{Algorithm, JwksPlan, Key};

type Place = fn(&mut JwksPlan) -> &mut Duration;
const TIMES: [(&str, Place); 4] = [
    ("refresh", |plan| &mut plan.refresh),
    ("cooldown", |plan| &mut plan.cooldown),
    ("max_stale", |plan| &mut plan.max_stale),
    ("timeout", |plan| &mut plan.timeout),
];

/// A URL, a map with it as `url`, or `file:/path`, whose keys are put into `keys`.
pub(super) fn read(
    spot: &Spot<'_>,
    algorithms: &[Algorithm],
    keys: &mut Vec<Key>,
    problems: &mut Problems,
) -> Option<JwksPlan> {
    let text = spot.is_scalar().then(|| spot.text(problems)).flatten();
    if text.is_some_and(|text| text.starts_with("file:")) {
        let set = spot.value(problems, |text| of_file(text, algorithms));
        keys.extend(set.map(KeySet::into_keys).unwrap_or_default());
        return None;
    }
    if spot.is_scalar() {
        let source = spot.value(problems, source)?;
        return Some(plan(source, ServiceTls::default()));
    }
    let mut fields = spot.fields(problems)?;
    let url = fields.need("url", "url: https://id.example/jwks.json", problems);
    let source = url.and_then(|spot| spot.value(problems, source));
    let tls = fields.take("tls");
    let tls = tls.and_then(|spot| tls::service(&spot, problems));
    let mut plan = source.map(|source| plan(source, tls.unwrap_or_default()));
    for (key, place) in TIMES {
        if let Some(spot) = fields.take(key) {
            let Some(time) = spot.value(problems, value::duration) else {
                continue;
            };
            if let Some(plan) = &mut plan {
                *place(plan) = time;
            }
            if key == "max_stale" && time > defaults::JWKS_MAX_STALE {
                let message =
                    "keys that nobody has confirmed for more than an hour may be withdrawn";
                problems.suggest(&spot.place(), message, "write `1h` at most");
            }
        }
    }
    fields.finish(problems);
    plan
}

/// What holds where nothing else is written.
fn plan((endpoint, path): (EndpointPlan, Box<str>), tls: ServiceTls) -> JwksPlan {
    JwksPlan {
        service: Arc::new(service(endpoint, tls)),
        path,
        refresh: defaults::JWKS_REFRESH,
        cooldown: defaults::JWKS_COOLDOWN,
        max_stale: defaults::JWKS_MAX_STALE,
        timeout: defaults::JWKS_TIMEOUT,
    }
}

fn of_file(text: &str, algorithms: &[Algorithm]) -> Result<KeySet, Fault> {
    let text = auth::secret(text, "jwks")?;
    KeySet::of_jwks(text.as_bytes(), algorithms)
        .map_err(|error| Fault::new(format!("the jwks is of no use: {error}")))
}

fn source(text: &str) -> Result<(EndpointPlan, Box<str>), Fault> {
    let url = url::endpoint(text)?;
    if !text.starts_with("http") {
        let fault = Fault::new(format!("{} is no URL of keys", Quoted(text)));
        return Err(fault.suggest("write `https://id.example/jwks.json`"));
    }
    let slash = if text.ends_with('/') { "/" } else { "" };
    let path = match &*url.path {
        "" => "/".into(),
        path => format!("{path}{slash}"),
    };
    let endpoint = EndpointPlan {
        authority: url.authority,
        is_tls: url.is_tls,
        path: "".into(),
        weight: defaults::ENDPOINT_WEIGHT,
    };
    Ok((endpoint, path.into()))
}

fn service(endpoint: EndpointPlan, tls: ServiceTls) -> ServicePlan {
    ServicePlan {
        name: "jwks".into(),
        endpoints: vec![endpoint],
        balance: None,
        connect_timeout: defaults::CONNECT_TIMEOUT,
        handshake_timeout: defaults::HANDSHAKE_TIMEOUT,
        response_timeout: defaults::RESPONSE_TIMEOUT,
        tls,
        source_addresses: Vec::new(),
        max_idle: 0,
        idle_timeout: defaults::POOL_IDLE_TIMEOUT,
        max_connections: None,
    }
}
