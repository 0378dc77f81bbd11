//! What a node tells the store of a session: enough to tell of its end when the node itself cannot.

use std::net::IpAddr;
use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Entry;
use crate::presence::Roles;
use crate::session::handle::Handle;

/// The facts, as they are written: JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The node's name.
    pub(crate) node: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<Box<str>>,
    pub(crate) route: Box<str>,
    pub(crate) client: IpAddr,
    /// In milliseconds since 1970.
    opened: u64,
    /// The SHA-256 of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<[u8; 32]>,
    /// The hash by which the predecessor knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hash: Option<NonZeroI64>,
    /// Nobody was told that it opened, nor is to be told that it closed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_untold: bool,
}

impl Facts {
    /// What the store is told of a session of the node of that name.
    pub(crate) fn entry(node: &Arc<str>, handle: &Handle, roles: &Roles) -> Entry {
        let opened = handle.opened().duration_since(UNIX_EPOCH);
        let identity = handle.facts.identity();
        let facts = Self {
            node: (**node).into(),
            user: handle.facts.user().map(Box::from),
            roles: roles.to_vec(),
            route: handle.facts.route().into(),
            client: handle.facts.client(),
            opened: u64::try_from(opened.unwrap_or_default().as_millis()).unwrap_or(u64::MAX),
            token: identity.and_then(|one| one.token().copied()),
            hash: identity.and_then(|one| one.hash()),
            is_untold: !handle.is_told(),
        };
        Entry {
            session: handle.id.to_string().into(),
            user: handle.facts.user().map(Box::from),
            // Texts and numbers: it can be written.
            facts: serde_json::to_string(&facts).unwrap_or_default().into(),
        }
    }

    /// What was told of a session; `None`: by who writes otherwise.
    pub(crate) fn parse(entry: &Entry) -> Option<Self> {
        serde_json::from_str(&entry.facts).ok()
    }

    /// When it was opened, by its node's clock.
    pub(crate) fn opened(&self) -> SystemTime {
        let since = Duration::from_millis(self.opened);
        UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
    }
}
