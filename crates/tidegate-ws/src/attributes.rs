//! What those before the handshake know of a request, and hand on to the session.
//!
//! Filters, middleware and whoever accepts connections put these values among the extensions of
//! the `http::Request`; a [`HandshakeService`](crate::service::HandshakeService) finds them there.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

/// Named values of any type, none unless somebody leaves them. A session is given none of them but those that its
/// [`HandshakeService`](crate::service::HandshakeService) selects by name: what is
/// kept for a request may be secret, or too large to keep as long as a session lives.
#[derive(Clone, Default)]
pub struct Attributes {
    values: BTreeMap<Box<str>, Arc<dyn Any + Send + Sync>>,
}

/// The name of who was verified, for [`HandshakeInfo::principal`](crate::session::HandshakeInfo::principal).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal(pub Arc<str>);

/// Where the peer is, for
/// [`HandshakeInfo::remote_address`](crate::session::HandshakeInfo::remote_address).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoteAddress(pub SocketAddr);

impl Attributes {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value, in place of one of the same name.
    pub fn insert<T: Any + Send + Sync>(&mut self, name: impl Into<Box<str>>, value: T) {
        self.values.insert(name.into(), Arc::new(value));
    }

    /// The value of this name, if it is of this type.
    #[must_use]
    pub fn get<T: Any>(&self, name: &str) -> Option<&T> {
        self.values.get(name)?.downcast_ref()
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(|name| &**name)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Those whose names are `wanted`; the values are shared.
    #[must_use]
    pub fn select(&self, wanted: impl Fn(&str) -> bool) -> Self {
        Self {
            values: self
                .values
                .iter()
                .filter(|(name, _)| wanted(name))
                .map(|(name, value)| (name.clone(), Arc::clone(value)))
                .collect(),
        }
    }
}

/// The names alone: a value may be secret.
impl fmt::Debug for Attributes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_names_and_types() {
        let mut attributes = Attributes::new();
        attributes.insert("tenant", 7_u32);
        attributes.insert("secret", "hunter2".to_owned());
        assert_eq!(attributes.get::<u32>("tenant"), Some(&7));
        assert_eq!(attributes.get::<u64>("tenant"), None);
        assert_eq!(attributes.get::<u32>("other"), None);
        assert_eq!(format!("{attributes:?}"), r#"{"secret", "tenant"}"#);
        let selected = attributes.select(|name| name == "tenant");
        assert_eq!(selected.names().collect::<Vec<_>>(), ["tenant"]);
        assert!(attributes.select(|_| false).is_empty());
    }
}
