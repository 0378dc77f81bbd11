//! What the fuzz targets call. The judges here share nothing with what they judge but JSON and base64.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::claims::{ClaimPath, Rules};
use super::keys::{Algorithm, Key, KeySet, MOST_KEYS};
use super::mint::Mint;
use super::token::Parts;
use crate::config::Secret;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const NOW: u64 = 1_800_000_000;
const LEEWAY: u64 = 10;

/// Bytes as a token where the first is even, else as claims of one that we sign.
pub(crate) fn token(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else {
        return;
    };
    if first % 2 == 0 {
        if let Ok(text) = str::from_utf8(rest) {
            judge(text);
        }
        return;
    }
    let Ok(Value::Object(claims)) = serde_json::from_slice(rest) else {
        return;
    };
    let mint = Mint::of_secret(&Secret::new(SECRET)).unwrap();
    let is_good = judge(&mint.sign(&claims).unwrap());
    assert_eq!(is_good, should_pass(&claims));
}

/// Whether the token is good; it is only where it should be.
fn judge(token: &str) -> bool {
    let key = Key::of_secret(&Secret::new(SECRET), &[Algorithm::Hs256]).unwrap();
    let rules = Rules {
        tenant: None,
        algorithms: vec![Algorithm::Hs256],
        issuer: Some("i".into()),
        audience: vec!["a".into()],
        leeway: Duration::from_secs(LEEWAY),
        user: ClaimPath::new("sub"),
        roles: ClaimPath::new("realm.roles"),
        scopes: ClaimPath::new("scope"),
    };
    let now: SystemTime = UNIX_EPOCH + Duration::from_secs(NOW);
    let parts = Parts::of(token);
    let principal = parts.and_then(|parts| parts.verify(&KeySet::new(vec![key]), &rules, now));
    let Ok(principal) = principal else {
        return false;
    };
    let mut parts = token.split('.');
    let mut part = || {
        BASE64_URL_SAFE_NO_PAD
            .decode(parts.next().unwrap())
            .unwrap()
    };
    let header: Value = serde_json::from_slice(&part()).unwrap();
    let claims: Map<String, Value> = serde_json::from_slice(&part()).unwrap();
    let signature = part();
    assert!(parts.next().is_none());
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none());
    let message = token.rsplit_once('.').unwrap().0;
    let secret = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    assert_eq!(hmac::sign(&secret, message.as_bytes()).as_ref(), signature);
    assert!(should_pass(&claims));
    assert!(principal.expires().unwrap() > now);
    assert!((1..=256).contains(&principal.user().len()));
    true
}

fn should_pass(claims: &Map<String, Value>) -> bool {
    let (now, leeway) = (NOW as f64, LEEWAY as f64);
    let number = |name: &str| {
        claims
            .get(name)
            .map(|value| value.as_f64().unwrap_or(f64::NAN))
    };
    let is_current = number("exp").is_some_and(|end| end.floor() + leeway > now);
    let has_begun = number("nbf").is_none_or(|begin| begin.floor() <= now + leeway);
    let is_ours = match claims.get("aud") {
        Some(Value::Array(all)) => all.contains(&json!("a")),
        other => other == Some(&json!("a")),
    };
    let has_user = match claims.get("sub") {
        Some(Value::String(user)) => {
            (1..=256).contains(&user.len()) && !user.chars().any(char::is_control)
        }
        Some(Value::Number(number)) => number.is_u64(),
        _ => false,
    };
    is_current && has_begun && is_ours && has_user && claims.get("iss") == Some(&json!("i"))
}

/// Bytes as a key set: no more keys than there may be, and none that a token could be signed with by who
/// has only read it.
pub(crate) fn jwks(bytes: &[u8]) {
    let allowed = Algorithm::NAMES.map(|(_, algorithm)| algorithm);
    let Ok(set) = KeySet::of_jwks(bytes, &allowed) else {
        return;
    };
    assert!((1..=MOST_KEYS).contains(&set.len()));
    for algorithm in allowed.into_iter().filter(|one| one.is_symmetric()) {
        let judged = set.judge(None, algorithm, b"message", b"signature");
        assert_eq!(judged, super::keys::Judgement::UnknownKey);
    }
}
