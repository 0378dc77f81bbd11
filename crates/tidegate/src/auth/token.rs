//! A token: a JWT in the compact form of a JWS (RFC 7519, RFC 7515 section 3.1), taken apart and judged.
//!
//! Nothing in the token says how it is verified: its `alg` and `kid` only pick among the keys and the
//! algorithms that are configured, and `jku`, `jwk`, `x5u` and `x5c` are not read at all.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::claims::Rules;
use super::keys::{Algorithm, Judgement, KeySet};
use super::principal::Principal;

/// The longest token. Heads are bounded too, but not those of every listener so far.
pub const LONGEST: usize = 16 * 1024;
/// The most bytes of a header: an algorithm, a key's name and what else there may be.
const LONGEST_HEADER: usize = 4 * 1024;

/// Why a token is refused. What is said of it tells nothing that its bearer does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is for somebody else.
    #[error("the token is not for this audience")]
    Audience,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its `exp` is missing or no time.
    #[error("the token does not say when it expires")]
    Expiry,
    /// Its `iat` is ahead.
    #[error("the token was issued in the future, by the clock of this gateway")]
    IssuedAhead,
    /// It is of another issuer.
    #[error("the token is not of a trusted issuer")]
    Issuer,
    /// It is not made as a token is.
    #[error("the token is malformed")]
    Malformed,
    /// It holds no user.
    #[error("the token names no user")]
    NoUser,
    /// Its `nbf` is ahead, or no time.
    #[error("the token is not valid yet")]
    NotYet,
    /// It was taken back before its end.
    #[error("the token was revoked")]
    Revoked,
    /// Its signature is not that of the key.
    #[error("the signature of the token is wrong")]
    Signature,
    /// Its algorithm is not one that is allowed.
    #[error("the algorithm of the token is not allowed")]
    UnknownAlgorithm,
    /// It wants something to be understood that we do not.
    #[error("the token has a critical header that is not understood")]
    UnknownCritical,
    /// It is of a key that nobody knows.
    #[error("the key of the token is unknown")]
    UnknownKey,
}

impl TokenError {
    /// Whether the same token may be good later.
    pub(super) const fn may_pass(self) -> bool {
        matches!(self, Self::IssuedAhead | Self::NotYet | Self::UnknownKey)
    }
}

/// The parts of a token, of which nothing is believed yet.
pub(super) struct Parts<'a> {
    algorithm: Algorithm,
    id: Option<String>,
    /// What is signed.
    message: &'a [u8],
    payload: &'a str,
    signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Takes a token apart.
    pub(super) fn of(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > LONGEST {
            return Err(TokenError::Malformed);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = message.split_once('.').ok_or(TokenError::Malformed)?;
        if header.len() > LONGEST_HEADER || payload.contains('.') {
            return Err(TokenError::Malformed);
        }
        let header = object(header).ok_or(TokenError::Malformed)?;
        // None is understood, and those that have to be named are of no use without it.
        if header.contains_key("crit") {
            return Err(TokenError::UnknownCritical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let algorithm = algorithm.and_then(Algorithm::of_name);
        let id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) => Some(id.clone()),
            Some(_) => return Err(TokenError::Malformed),
        };
        Ok(Self {
            algorithm: algorithm.ok_or(TokenError::UnknownAlgorithm)?,
            id,
            message: message.as_bytes(),
            payload,
            signature: decoded(signature).ok_or(TokenError::Malformed)?,
        })
    }

    /// Who bears it, once the signature holds and the claims are as `rules` want them at `now`.
    pub(super) fn verify(
        &self,
        keys: &KeySet,
        rules: &Rules,
        now: SystemTime,
    ) -> Result<Principal, TokenError> {
        if !rules.algorithms.contains(&self.algorithm) {
            return Err(TokenError::UnknownAlgorithm);
        }
        let id = self.id.as_deref();
        match keys.judge(id, self.algorithm, self.message, &self.signature) {
            Judgement::Holds => {}
            Judgement::Fails => return Err(TokenError::Signature),
            Judgement::UnknownKey => return Err(TokenError::UnknownKey),
        }
        let claims = object(self.payload).ok_or(TokenError::Malformed)?;
        rules.judge(claims, seconds(now))
    }
}

/// The claims of a token without any proof of them: good to compare, never to believe.
pub(super) fn unproven_claims(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.').skip(1);
    let payload = parts.next().filter(|part| part.len() <= LONGEST)?;
    object(payload)
}

/// Seconds from the epoch on.
pub(super) fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(part).ok()
}

/// What one of the first two parts says.
pub(super) fn object(part: &str) -> Option<Map<String, Value>> {
    match serde_json::from_slice(&decoded(part)?) {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}
