//! `auth`: how clients prove who they are.

use std::net::IpAddr;
use std::path::Path;

use super::super::error::{Fault, Place, Problems};
use super::super::load;
use super::super::plan::{AuthPlan, EndpointPlan, JwtPlan, LONGEST_LEEWAY};
use super::super::secret::Secret;
use super::super::value;
use super::super::yaml::{Fields, Quoted, Spot, did_you_mean};
use super::{jwks, limits};
use crate::auth::{
    Algorithm, BasicUser, CachePlan, ClaimPath, JwksPlan, Key, KeyError, PasswordHash,
    RevocationPlan, Rules, TokenSource,
};
use crate::config::defaults;

const LARGEST_CACHE: u32 = 10_000_000;
const LONGEST_TEXT: usize = 1024;
const SOURCES: [&str; 6] = [
    "header",
    "cookie",
    "subprotocol",
    "ticket",
    "query",
    "first_message",
];
const KEYS: [&str; 3] = ["pem", "certificate", "secret"];

/// The value of `auth`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<AuthPlan> {
    let mut fields = spot.fields(problems)?;
    let mut plan = AuthPlan::default();
    let jwt = fields.take("jwt");
    plan.jwt = jwt.and_then(|spot| jwt_of(&spot, problems));
    let basic = fields.take("basic");
    plan.users = basic.map_or_else(Vec::new, |spot| users(&spot, problems));
    if let Some(spot) = fields.take("failures_per_address") {
        plan.failures_per_address = limits::rate(&spot, problems);
    }
    fields.finish(problems);
    Some(plan)
}

fn users(spot: &Spot<'_>, problems: &mut Problems) -> Vec<BasicUser> {
    let Some(mut fields) = spot.fields(problems) else {
        return Vec::new();
    };
    let example = "users: { alice: { password: $argon2id$... } }";
    let users = fields.need("users", example, problems);
    let users = users.map_or_else(Vec::new, |spot| spot.entries(problems));
    let mut read: Vec<BasicUser> = Vec::new();
    for (name, spot) in users {
        let Some(mut fields) = spot.fields(problems) else {
            continue;
        };
        if name.value.contains(':') {
            problems.add(&name.place, "the name of a user cannot hold a colon");
        }
        let password = fields.need("password", "password: $argon2id$...", problems);
        let password = password.and_then(|spot| spot.value(problems, password_hash));
        let roles = fields.take("roles");
        let roles = roles.map_or_else(Vec::new, |spot| spot.any_number());
        let roles = roles.iter();
        let roles = roles
            .filter_map(|spot| spot.value(problems, text))
            .collect();
        fields.finish(problems);
        if let (Some(first), Some(password)) = (read.first(), &password)
            && first.password.cost() != password.cost()
        {
            let message = "its password takes another time than that of the first user, which tells who is known";
            problems.doubt(
                &name.place,
                message,
                "make all of them with the same parameters",
            );
        }
        let name = name.value.into();
        read.extend(password.map(|password| BasicUser {
            name,
            password,
            roles,
        }));
    }
    fields.finish(problems);
    read
}

/// No fault repeats it: it may be the password itself.
fn password_hash(text: &str) -> Result<PasswordHash, Fault> {
    let text = secret(text, "password")?;
    PasswordHash::parse(&text).map_err(|error| {
        let fault = Fault::new(format!("the password's hash is of no use: {error}"));
        fault.suggest("make one with `argon2 SALT -id -e`, of the package argon2")
    })
}

/// `None` where it cannot be told what tokens must be like.
fn jwt_of(spot: &Spot<'_>, problems: &mut Problems) -> Option<JwtPlan> {
    let mut fields = spot.fields(problems)?;
    let algorithms = fields.take("algorithms");
    let jwks = fields.take("jwks");
    let written = KEYS.map(|key| (key, fields.take(key)));
    let has_secret = written
        .iter()
        .any(|(key, spot)| *key == "secret" && spot.is_some());
    let algorithms = match algorithms {
        Some(spot) => read_algorithms(&spot, has_secret, problems),
        None if has_secret => vec![Algorithm::Hs256],
        None => asymmetric(),
    };
    if jwks.is_none() && written.iter().all(|(_, spot)| spot.is_none()) {
        let message = "there is no key that tokens could be verified with";
        let remedy = "write `jwks: https://...`, `pem`, `certificate` or `secret`";
        problems.suggest(&spot.place(), message, remedy);
    }
    if let (Some(spot), true) = (&jwks, has_secret) {
        let message = "a secret is shared, and keys of a set are published";
        problems.suggest(&spot.place(), message, "leave one of them out");
    }
    let mut keys = Vec::new();
    let place = jwks.as_ref().map(Spot::place);
    let jwks = jwks.and_then(|spot| jwks::read(&spot, &algorithms, &mut keys, problems));
    for (name, spot) in &written {
        if let Some(spot) = spot {
            keys.extend(read_keys(name, spot, &algorithms, problems));
        }
    }
    let plan = JwtPlan {
        keys,
        jwks,
        rules: read_rules(&mut fields, algorithms, problems),
        token_from: read_sources(&mut fields, problems),
        cache: read_cache(&mut fields, problems),
        revocations: read_revocations(&mut fields, problems),
    };
    fields.finish(problems);
    if let (Some(place), Some(jwks)) = (place, &plan.jwks) {
        doubt(&place, jwks, &plan.rules, problems);
    }
    Some(plan)
}

/// What may let somebody through who should not come.
fn doubt(place: &Place, jwks: &JwksPlan, rules: &Rules, problems: &mut Problems) {
    if rules.audience.is_empty() {
        let message = "tokens that this issuer made for others open this gateway, too";
        problems.doubt(place, message, "name yourself: `audience: api`");
    }
    let is_plain = |endpoint: &EndpointPlan| {
        let host = endpoint.authority.host();
        let address: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        let is_here = host == "localhost" || address.is_some_and(|one| one.is_loopback());
        !endpoint.is_tls && !is_here
    };
    if jwks.service.endpoints.iter().any(is_plain) {
        let message = "whoever stands in between can put keys of his own in place of these";
        if jwks.is_insecure {
            problems.doubt(place, message, "write `https://`");
        } else {
            let remedy = "write `https://`, or `{ url, insecure: true }`";
            problems.suggest(place, message, remedy);
        }
    }
}

fn asymmetric() -> Vec<Algorithm> {
    let all = Algorithm::NAMES.iter().map(|(_, algorithm)| *algorithm);
    all.filter(|algorithm| !algorithm.is_symmetric()).collect()
}

fn read_algorithms(spot: &Spot<'_>, has_secret: bool, problems: &mut Problems) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    for spot in spot.one_or_many(problems) {
        let Some(algorithm) = spot.value(problems, algorithm) else {
            continue;
        };
        if algorithm.is_symmetric() != has_secret {
            let message = if has_secret {
                format!("{algorithm} is for public keys, and there is a `secret`")
            } else {
                format!("{algorithm} is for a `secret`, and there is none")
            };
            problems.suggest(&spot.place(), message, "leave one of them out");
        }
        algorithms.push(algorithm);
    }
    algorithms
}

fn algorithm(text: &str) -> Result<Algorithm, Fault> {
    Algorithm::of_name(text).ok_or_else(|| {
        let mut fault = Fault::new(format!("{} is no algorithm of ours", Quoted(text)));
        fault.suggestion = did_you_mean(text, Algorithm::NAMES.map(|(name, _)| name));
        fault
    })
}

fn read_keys(
    kind: &str,
    spot: &Spot<'_>,
    algorithms: &[Algorithm],
    problems: &mut Problems,
) -> Vec<Key> {
    let spots = spot.one_or_many(problems);
    let key = |spot: &Spot<'_>, problems: &mut Problems| {
        spot.value(problems, |text| {
            let text = secret(text, kind)?;
            let key = match kind {
                "pem" => Key::of_pem(&text, algorithms),
                "certificate" => Key::of_certificate(&text, algorithms),
                _ => Key::of_secret(&Secret::new(&text), algorithms),
            };
            key.map_err(|error| key_fault(kind, &error))
        })
    };
    spots
        .iter()
        .filter_map(|spot| key(spot, problems))
        .collect()
}

fn key_fault(kind: &str, error: &KeyError) -> Fault {
    let fault = Fault::new(format!("the {kind} is of no use: {error}"));
    match error {
        KeyError::Short(_) if kind == "secret" => {
            fault.suggest("make one with `openssl rand -base64 64`")
        }
        KeyError::Private => fault.suggest("write its public half: `openssl pkey -pubout`"),
        _ => fault,
    }
}

/// A text as it is written, or the path of the file that holds it. No fault repeats it.
pub(super) fn secret(text: &str, what: &str) -> Result<String, Fault> {
    let Some(path) = text.strip_prefix("file:") else {
        return Ok(text.to_owned());
    };
    let path = Path::new(path);
    if !path.is_absolute() {
        let fault = Fault::new(format!(
            "the path of the file of the {what} is not absolute"
        ));
        return Err(fault.suggest("write it from the root on, such as `file:/run/secrets/key`"));
    }
    let text = load::read_secret(path)?;
    Ok(text.trim_ascii_end().to_owned())
}

fn read_rules(
    fields: &mut Fields<'_>,
    algorithms: Vec<Algorithm>,
    problems: &mut Problems,
) -> Rules {
    let issuer = fields.take("issuer");
    let audience = fields.take("audience");
    let audience = audience.map_or_else(Vec::new, |spot| spot.one_or_many(problems));
    let audience = audience.iter();
    let leeway = fields.take("leeway");
    let leeway = leeway.and_then(|spot| spot.value(problems, read_leeway));
    let tenant = fields.take("tenant_claim");
    let tenant = tenant.and_then(|spot| spot.value(problems, text));
    let tenant = tenant.map(|path| ClaimPath::new(&path));
    let mut claim = |key, default| {
        let spot = fields.take(key);
        let path = spot.and_then(|spot| spot.value(problems, text));
        ClaimPath::new(path.as_deref().unwrap_or(default))
    };
    Rules {
        user: claim("user_claim", "sub"),
        roles: claim("roles_claim", "roles"),
        scopes: claim("scopes_claim", "scope"),
        tenant,
        algorithms,
        issuer: issuer.and_then(|spot| spot.value(problems, text)),
        audience: audience
            .filter_map(|spot| spot.value(problems, text))
            .collect(),
        leeway: leeway.unwrap_or(defaults::AUTH_LEEWAY),
    }
}

fn read_leeway(text: &str) -> Result<std::time::Duration, Fault> {
    if text == "none" {
        return Ok(std::time::Duration::ZERO);
    }
    let leeway = value::duration(text)?;
    if leeway > LONGEST_LEEWAY {
        let fault = Fault::new(format!("{} is longer than 60s", Quoted(text)));
        return Err(fault.suggest("set the clocks right instead"));
    }
    Ok(leeway)
}

/// A text that is there, and of a length that makes sense.
pub(super) fn text(text: &str) -> Result<Box<str>, Fault> {
    match text.len() {
        0 => Err(Fault::new("it is empty").suggest("leave the key out")),
        1..=LONGEST_TEXT => Ok(text.into()),
        _ => Err(Fault::new(format!("it has more than {LONGEST_TEXT} bytes"))),
    }
}

fn read_sources(fields: &mut Fields<'_>, problems: &mut Problems) -> Vec<TokenSource> {
    let Some(spot) = fields.take("token_from") else {
        return vec![TokenSource::Header, TokenSource::Subprotocol];
    };
    let spots = spot.one_or_many(problems);
    let spots = spots.iter();
    spots
        .filter_map(|spot| read_source(spot, problems))
        .collect()
}

fn read_source(spot: &Spot<'_>, problems: &mut Problems) -> Option<TokenSource> {
    let choice = spot.choice(problems)?;
    let word = match choice.name {
        "header" => TokenSource::Header,
        "subprotocol" => TokenSource::Subprotocol,
        "ticket" => TokenSource::Ticket,
        "first_message" => TokenSource::FirstMessage,
        "cookie" | "query" => {
            let name = choice.need_argument(problems)?;
            let name = name.value(problems, token_name)?;
            return Some(match choice.name {
                "cookie" => TokenSource::Cookie(name),
                _ => TokenSource::Query(name),
            });
        }
        _ => {
            choice.unknown(problems, "source of tokens", SOURCES);
            return None;
        }
    };
    choice.no_argument(problems)?;
    Some(word)
}

/// The name of a cookie or of a parameter; a token, so that it stands in either as it is.
pub(super) fn token_name(name: &str) -> Result<Box<str>, Fault> {
    let is_token = name.bytes().all(crate::headers::is_token_byte);
    if !is_token || matches!(name, "ticket") {
        return Err(Fault::new(format!("{} is no name for it", Quoted(name))));
    }
    text(name)
}

fn read_revocations(fields: &mut Fields<'_>, problems: &mut Problems) -> RevocationPlan {
    let mut plan = RevocationPlan::default();
    let spot = fields.take("revocations");
    let Some(mut fields) = spot.and_then(|spot| spot.fields(problems)) else {
        return plan;
    };
    if let Some(spot) = fields.take("max_entries") {
        let most = spot.whole(problems, 1..=LARGEST_CACHE);
        plan.max_entries = most.map_or(plan.max_entries, |most| most as usize);
    }
    if let Some(spot) = fields.take("keep") {
        plan.keep = spot.value(problems, value::timeout).flatten();
    }
    fields.finish(problems);
    plan
}

fn read_cache(fields: &mut Fields<'_>, problems: &mut Problems) -> CachePlan {
    let mut plan = CachePlan::default();
    let Some(mut fields) = fields.take("cache").and_then(|spot| spot.fields(problems)) else {
        return plan;
    };
    if let Some(spot) = fields.take("max_entries") {
        let most = spot.whole(problems, 1..=LARGEST_CACHE);
        plan.max_entries = most.map_or(plan.max_entries, |most| most as usize);
    }
    if let Some(spot) = fields.take("expire_after_write") {
        let time = spot.value(problems, value::duration);
        plan.expire_after_write = time.unwrap_or(plan.expire_after_write);
    }
    if let Some(spot) = fields.take("expire_after_access") {
        plan.expire_after_access = spot.value(problems, value::timeout).flatten();
    }
    fields.finish(problems);
    plan
}
