//! What the claims of a token must be, and where in them its bearer stands (RFC 7519 section 4.1).

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

use super::keys::Algorithm;
use super::principal::{Expiry, Identity, Principal};
use super::token::TokenError;
use crate::config::plan::LONGEST_LEEWAY;

/// The most roles, or scopes, of one user that count.
const MOST_NAMES: usize = 1000;
/// The longest name of a user.
const LONGEST_USER: usize = 256;

/// What is asked of a token's claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// The algorithms that it may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// What `iss` must be; `None`: anything.
    pub issuer: Option<Box<str>>,
    /// What one of `aud` must be among; empty: anything.
    pub audience: Vec<Box<str>>,
    /// How far clocks may differ; at most 60 s.
    pub leeway: Duration,
    /// Where the user's stable name stands.
    pub user: ClaimPath,
    /// Where the roles stand: a list of texts, or one.
    pub roles: ClaimPath,
    /// Where the scopes stand: a list of texts, or one text with spaces between them (RFC 8693).
    pub scopes: ClaimPath,
    /// Where the tenant stands: a session's newer token must name the same one. `None`: none is looked
    /// at.
    pub tenant: Option<ClaimPath>,
}

/// Where a claim stands: its name, or the names on the way to it with dots between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimPath(Box<str>);

impl ClaimPath {
    /// The claim of that name, or below those names.
    #[must_use]
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The claim. One whose name has dots in it comes first: there are such, as
    /// `https://example.com/roles`.
    #[must_use]
    pub fn find<'a>(&self, claims: &'a Map<String, Value>) -> Option<&'a Value> {
        if let Some(value) = claims.get(&*self.0) {
            return Some(value);
        }
        let mut steps = self.0.split('.');
        let first = claims.get(steps.next()?)?;
        steps.try_fold(first, |value, step| value.get(step))
    }
}

impl Rules {
    /// Who bears a token with these claims, `now` seconds from the epoch on.
    pub(super) fn judge(
        &self,
        claims: Map<String, Value>,
        now: u64,
    ) -> Result<Principal, TokenError> {
        let leeway = self.leeway.as_secs();
        let expires = claims.get("exp").and_then(time).ok_or(TokenError::Expiry)?;
        if expires.saturating_add(leeway) <= now {
            return Err(TokenError::Expired);
        }
        if let Some(begins) = claims.get("nbf") {
            let begins = time(begins).ok_or(TokenError::NotYet)?;
            if begins > now.saturating_add(leeway) {
                return Err(TokenError::NotYet);
            }
        }
        // Nothing that is revoked of a user until a moment would concern it before its time.
        let issued = claims.get("iat").and_then(time);
        if issued.is_some_and(|issued| issued > now.saturating_add(leeway)) {
            return Err(TokenError::IssuedAhead);
        }
        if let Some(issuer) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err(TokenError::Issuer);
        }
        if !self.audience.is_empty() && !self.is_for_us(claims.get("aud")) {
            return Err(TokenError::Audience);
        }
        let user = self.user_of(&claims).ok_or(TokenError::NoUser)?;
        let roles = self.roles.find(&claims);
        let scopes = self.scopes.find(&claims);
        let identity = Identity {
            user: user.into(),
            tenant: self.tenant_of(&claims),
            token: None,
            id: claims.get("jti").and_then(Value::as_str).map(Into::into),
            expires: Some(Expiry::at(expires.saturating_add(leeway))),
            issued: issued.and_then(NonZeroU64::new),
            hash: None,
        };
        Ok(Principal {
            identity: Arc::new(identity),
            roles: roles.map_or_else(Arc::default, |roles| names(roles, false).into()),
            scopes: scopes.map_or_else(Box::default, |scopes| names(scopes, true)),
            claims: claims.into(),
        })
    }

    /// The user that the claims name.
    pub(super) fn user_of(&self, claims: &Map<String, Value>) -> Option<String> {
        self.user.find(claims).and_then(name)
    }

    /// The tenant that the claims name, as JSON.
    fn tenant_of(&self, claims: &Map<String, Value>) -> Option<Box<str>> {
        let tenant = self.tenant.as_ref()?.find(claims)?;
        Some(tenant.to_string().into())
    }

    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let is_ours = |one: &Value| {
            let one = one.as_str();
            self.audience.iter().any(|ours| one == Some(ours))
        };
        match audience {
            Some(Value::Array(all)) => all.iter().any(is_ours),
            Some(one) => is_ours(one),
            None => false,
        }
    }
}

/// A time in seconds from the epoch on (RFC 7519 section 2, NumericDate); what is before counts as it, and
/// no time is later than the clock of this machine can tell.
fn time(value: &Value) -> Option<u64> {
    const LATEST: u64 = 253_402_300_799; // the end of the year 9999
    let Value::Number(number) = value else {
        return None;
    };
    let whole = number.as_u64().or_else(|| {
        let number = number.as_f64().filter(|number| number.is_finite())?;
        // As casts do: cut, and within its bounds.
        Some(number.max(0.0) as u64)
    });
    whole.map(|time| time.min(LATEST))
}

/// When a token ends at the latest for any gateway, by its `exp`.
pub(super) fn end_of_token(value: &Value) -> Option<SystemTime> {
    let end = Duration::from_secs(time(value)?) + LONGEST_LEEWAY;
    UNIX_EPOCH.checked_add(end)
}

/// A user's name: a text, or a whole number.
fn name(value: &Value) -> Option<String> {
    let name = match value {
        Value::String(name) => name.clone(),
        Value::Number(number) if number.is_u64() => number.to_string(),
        _ => return None,
    };
    let is_fit = !name.is_empty() && name.len() <= LONGEST_USER && !name.contains(char::is_control);
    is_fit.then_some(name)
}

fn names(value: &Value, splits: bool) -> Box<[Box<str>]> {
    let of_text = |text: &str| -> Vec<Box<str>> {
        if splits {
            text.split_ascii_whitespace().map(Into::into).collect()
        } else {
            vec![text.into()]
        }
    };
    let mut names = match value {
        Value::String(text) => of_text(text),
        Value::Array(all) => {
            let texts = all.iter().filter_map(Value::as_str);
            texts.map(Into::into).take(MOST_NAMES).collect()
        }
        _ => Vec::new(),
    };
    names.truncate(MOST_NAMES);
    names.into()
}

/// Whether a time has come, `now`.
pub(super) fn is_over(time: Option<SystemTime>, now: SystemTime) -> bool {
    time.is_some_and(|time| time <= now)
}
