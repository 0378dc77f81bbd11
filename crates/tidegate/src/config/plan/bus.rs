//! Events on the bus: what they are called, and what this node is in them.

use std::sync::Arc;

use crate::bus::Topics;

/// What events are called where they are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPlan {
    /// What this process is called in events; by default the host's name.
    pub node: Arc<str>,
    /// The topics.
    pub topics: Topics,
}

impl Default for BusPlan {
    fn default() -> Self {
        let host = nix::unistd::gethostname().ok();
        let host = host.and_then(|host| host.into_string().ok());
        Self {
            node: host.map_or_else(|| "tidegate".into(), Arc::from),
            topics: Topics::default(),
        }
    }
}
