//! Who sent a request, once that is verified.

use std::fmt;
use std::time::SystemTime;

use serde_json::{Map, Value};

/// A user, verified, with what the token says of it.
#[derive(Clone, PartialEq)]
pub struct Principal {
    pub(super) user: Box<str>,
    pub(super) roles: Box<[Box<str>]>,
    pub(super) scopes: Box<[Box<str>]>,
    pub(super) expires: Option<SystemTime>,
    pub(super) id: Option<Box<str>>,
    pub(super) claims: Map<String, Value>,
}

impl Principal {
    /// The user's stable name: of 1 to 256 bytes, without control characters.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The user's roles.
    pub fn roles(&self) -> impl Iterator<Item = &str> {
        self.roles.iter().map(|role| &**role)
    }

    /// What the token is good for.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scopes.iter().map(|scope| &**scope)
    }

    /// When the token ends, the leeway of clocks included; `None` for users without a token.
    #[must_use]
    pub const fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// Whether the token has ended by then.
    pub(crate) fn is_over(&self, now: SystemTime) -> bool {
        super::claims::is_over(self.expires, now)
    }

    /// The token's own name (`jti`), by which it can be revoked, where it has one.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// All claims of the token; none for users without one.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }
}

impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("user", &self.user)
            .field("roles", &self.roles)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
