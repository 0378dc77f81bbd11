//! Who sent a request, once that is verified.

use std::fmt;
use std::num::{NonZeroI64, NonZeroU64};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderValue;
use serde_json::{Map, Value};

use super::cache::Digest;
use super::murmur::murmur64;
use super::token::unproven_claims;

/// A user, verified, with what the token says of it.
#[derive(Clone)]
pub struct Principal {
    pub(super) identity: Arc<Identity>,
    pub(super) roles: Arc<[Box<str>]>,
    pub(super) scopes: Box<[Box<str>]>,
    pub(super) claims: Claims,
}

/// What a token says. It is read when somebody asks for it: taken apart it is several times as large as the
/// token, and most users are known by their name.
#[derive(Clone, Default)]
pub(super) struct Claims {
    /// `Bearer` and the token, verified.
    bearer: Option<HeaderValue>,
    read: OnceLock<Box<Map<String, Value>>>,
}

/// Who somebody is and by what token, without what else that says: what is kept for as long as a session
/// is open.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    pub(super) user: Box<str>,
    /// As JSON, where the configuration says where it stands.
    pub(super) tenant: Option<Box<str>>,
    pub(super) token: Option<Digest>,
    pub(super) id: Option<Box<str>>,
    pub(super) expires: Option<Expiry>,
    /// In seconds since 1970.
    pub(super) issued: Option<NonZeroU64>,
    /// The predecessor's hash of the token, where that is wanted.
    pub(super) hash: Option<NonZeroI64>,
}

/// When a token ends. A `SystemTime` has twice the size, and each session has one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry(NonZeroU64);

impl Expiry {
    /// So many seconds after 1970.
    pub(super) fn at(seconds: u64) -> Self {
        // Clocks reach no further.
        let seconds = seconds.min(i64::MAX.unsigned_abs());
        Self(NonZeroU64::new(seconds).unwrap_or(NonZeroU64::MIN))
    }

    fn time(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(self.0.get()))
    }
}

impl Principal {
    /// One for tests of other rooms.
    #[cfg(test)]
    pub(crate) fn sample(user: &str, roles: &[&str]) -> Self {
        Self {
            identity: Arc::new(Identity::without_token(user)),
            roles: roles.iter().map(|role| Box::from(*role)).collect(),
            scopes: Box::default(),
            claims: Claims::default(),
        }
    }

    /// The user's stable name: of 1 to 256 bytes, without control characters.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.identity.user
    }

    /// Who it is, without what else its token says.
    pub(crate) const fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The same, by the token of that digest, which it was read from.
    pub(super) fn by_token(mut self, digest: Digest, token: &str) -> Self {
        Arc::make_mut(&mut self.identity).token = Some(digest);
        if let Ok(mut bearer) = HeaderValue::try_from(["Bearer ", token].concat()) {
            bearer.set_sensitive(true);
            self.claims = Claims {
                bearer: Some(bearer),
                read: OnceLock::new(),
            };
        }
        self
    }

    /// The same, with the hash by which the predecessor knows the token.
    pub(super) fn with_hash_of(mut self, token: &str) -> Self {
        Arc::make_mut(&mut self.identity).hash = NonZeroI64::new(murmur64(token));
        self
    }

    /// What `Authorization` says of it; `None` for users without a token.
    pub(crate) const fn bearer(&self) -> Option<&HeaderValue> {
        self.claims.bearer.as_ref()
    }

    /// The user's roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| &**role)
    }

    /// The same, to keep.
    pub(crate) const fn shared_roles(&self) -> &Arc<[Box<str>]> {
        &self.roles
    }

    /// What the token is good for.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }

    /// When the token ends, the leeway of clocks included; `None` for users without a token.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.identity.expires()
    }

    /// The token's own name (`jti`), by which it can be revoked, where it has one.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.identity.id.as_deref()
    }

    /// All claims of the token; none for users without one.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        self.claims.read.get_or_init(|| self.claims.parse())
    }

    /// One of them, without keeping the others.
    pub(crate) fn claim(&self, name: &str) -> Option<Value> {
        match self.claims.read.get() {
            Some(claims) => claims.get(name).cloned(),
            None => self.claims.parse().remove(name),
        }
    }
}

impl Claims {
    fn parse(&self) -> Box<Map<String, Value>> {
        let bearer = self.bearer.as_ref();
        let bearer = bearer.and_then(|value| str::from_utf8(value.as_bytes()).ok());
        let token = bearer.and_then(|text| text.strip_prefix("Bearer "));
        // They were read once, when the token was verified.
        Box::new(token.and_then(unproven_claims).unwrap_or_default())
    }
}

impl From<Map<String, Value>> for Claims {
    fn from(claims: Map<String, Value>) -> Self {
        Self {
            bearer: None,
            read: OnceLock::from(Box::new(claims)),
        }
    }
}

impl PartialEq for Principal {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
            && self.roles == other.roles
            && self.scopes == other.scopes
            && self.claims() == other.claims()
    }
}

impl Identity {
    /// Somebody who has shown no token.
    pub(crate) fn without_token(user: &str) -> Self {
        Self {
            user: user.into(),
            tenant: None,
            token: None,
            id: None,
            expires: None,
            issued: None,
            hash: None,
        }
    }

    /// The user's stable name: of 1 to 256 bytes, without control characters.
    #[must_use]
    pub const fn user(&self) -> &str {
        &self.user
    }

    /// Whether this is somebody who may go on with what the other one began: the same user, of the same
    /// tenant.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.user == other.user && self.tenant == other.tenant
    }

    /// SHA-256 of the exact token, where there is one.
    #[must_use]
    pub const fn token(&self) -> Option<&[u8; 32]> {
        self.token.as_ref()
    }

    /// The token's own name (`jti`), where it has one.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// When the token ends, the leeway of clocks included; `None` for users without a token.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires.and_then(Expiry::time)
    }

    /// The hash by which the predecessor knows the token, where that is wanted and is not 0.
    pub(crate) const fn hash(&self) -> Option<NonZeroI64> {
        self.hash
    }

    /// When the token was issued (`iat`), where it says that.
    #[must_use]
    pub fn issued(&self) -> Option<SystemTime> {
        let issued = self.issued?.get();
        UNIX_EPOCH.checked_add(Duration::from_secs(issued))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("user", &self.identity.user)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;

    use super::*;

    #[test]
    fn claims_are_read_when_they_are_asked_for() {
        let claims = BASE64_URL_SAFE_NO_PAD.encode(r#"{"sub":"u42","exp":7}"#);
        let token = format!("e30.{claims}.c2ln");
        let principal = Principal {
            identity: Arc::new(Identity::without_token("u42")),
            roles: Arc::default(),
            scopes: Box::default(),
            claims: Claims::default(),
        };
        assert!(principal.claims().is_empty() && principal.bearer().is_none());
        let principal = principal.by_token([7; 32], &token);
        let bearer = principal.bearer().unwrap();
        assert_eq!(bearer.as_bytes(), format!("Bearer {token}").as_bytes());
        assert!(bearer.is_sensitive());
        assert_eq!(principal.claim("exp"), Some(7.into()));
        assert_eq!(principal.claim("none"), None);
        assert!(principal.claims.read.get().is_none());
        let again = principal.clone();
        assert_eq!(principal.claims().len(), 2);
        assert_eq!(principal.claim("sub"), Some("u42".into()));
        assert!(principal == again);
    }
}
