//! Who sent a request, once that is verified.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::{Map, Value};

use super::cache::Digest;

/// A user, verified, with what the token says of it.
#[derive(Clone, PartialEq)]
pub struct Principal {
    pub(super) identity: Arc<Identity>,
    pub(super) roles: Arc<[Box<str>]>,
    pub(super) scopes: Box<[Box<str>]>,
    pub(super) claims: Map<String, Value>,
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
    pub(super) expires: Option<SystemTime>,
    pub(super) issued: Option<SystemTime>,
}

impl Principal {
    /// One for tests of other rooms.
    #[cfg(test)]
    pub(crate) fn sample(user: &str, roles: &[&str]) -> Self {
        Self {
            identity: Arc::new(Identity::without_token(user)),
            roles: roles.iter().map(|role| Box::from(*role)).collect(),
            scopes: Box::default(),
            claims: Map::new(),
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

    /// The same, by a token with this digest.
    pub(super) fn by_token(mut self, digest: Digest) -> Self {
        Arc::make_mut(&mut self.identity).token = Some(digest);
        self
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
        self.identity.expires
    }

    /// The token's own name (`jti`), by which it can be revoked, where it has one.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.identity.id.as_deref()
    }

    /// All claims of the token; none for users without one.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
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
    pub const fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// When the token was issued (`iat`), where it says that.
    #[must_use]
    pub const fn issued(&self) -> Option<SystemTime> {
        self.issued
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
