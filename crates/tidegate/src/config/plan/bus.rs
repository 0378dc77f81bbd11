//! Events on the bus: what they are called, what this node is in them, and what is kept of them.

use std::sync::Arc;
use std::time::Duration;

use super::super::defaults;
use crate::bus::Topics;

/// What events are called where they are published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusPlan {
    /// What this process is called in events; by default the host's name.
    pub node: Arc<str>,
    /// The topics.
    pub topics: Topics,
    /// What the bus of memory keeps of resumable pushes to users; `None`: nothing.
    pub history: Option<BusHistory>,
}

/// How much the bus of memory keeps of resumable pushes to users; beyond it the oldest is forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusHistory {
    /// Pushes of one user; 1000.
    pub events: usize,
    /// Bytes of all users, of which one has a sixteenth at most; 16 MiB.
    pub bytes: u64,
    /// How long ago they were published; 5 minutes. What is older goes when something is published or
    /// asked for.
    pub age: Duration,
}

impl Default for BusHistory {
    fn default() -> Self {
        Self {
            events: defaults::BUS_HISTORY_EVENTS,
            bytes: defaults::BUS_HISTORY_BYTES,
            age: defaults::BUS_HISTORY_AGE,
        }
    }
}

impl Default for BusPlan {
    fn default() -> Self {
        let host = nix::unistd::gethostname().ok();
        let host = host.and_then(|host| host.into_string().ok());
        Self {
            node: host.map_or_else(|| "tidegate".into(), Arc::from),
            topics: Topics::default(),
            history: Some(BusHistory::default()),
        }
    }
}
