//! The gateway as the admin listener sees it: it looks, and changes nothing but the drain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::time;
use crate::drain::Drain;
use crate::gateway::{self, Census};
use crate::metrics::{self, Facts};
use crate::worker::Worker;

/// What there is to see.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) workers: Vec<(Arc<Worker>, Handle)>,
    pub(crate) addresses: Vec<(Arc<str>, SocketAddr)>,
    pub(crate) state: Arc<State>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) commit: Option<Arc<str>>,
    pub(crate) started: SystemTime,
    pub(crate) begun: Instant,
}

/// What changes while a gateway runs.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Threads of the data plane that have not ended.
    pub(crate) running: AtomicUsize,
}

/// Counts a thread of the data plane as long as it lives.
#[derive(Debug)]
pub(crate) struct Alive(Arc<State>);

impl Alive {
    pub(crate) fn new(state: &Arc<State>) -> Self {
        state.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(state))
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl View {
    pub(super) fn census(&self) -> Census {
        gateway::count(&self.workers)
    }

    pub(super) fn is_draining(&self) -> bool {
        self.drain.has_begun()
    }

    /// Whether every thread of the data plane runs.
    pub(super) fn is_whole(&self) -> bool {
        self.state.running.load(Ordering::Relaxed) >= self.workers.len()
    }

    pub(super) fn commit(&self) -> &str {
        self.commit.as_deref().unwrap_or("unknown")
    }

    /// The page for Prometheus.
    pub(super) fn metrics(&self) -> String {
        let census = self.census();
        // All workers have the same routes and services.
        let (routes, services) = self
            .workers
            .first()
            .map_or_else(Default::default, |(one, _)| {
                (
                    one.routes().iter().map(|route| &*route.name).collect(),
                    one.services().iter().map(|one| &*one.plan.name).collect(),
                )
            });
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION"),
            commit: self.commit(),
            routes,
            services,
            connections: census.connections,
            panics: census.panics,
            draining: self.is_draining(),
            started: time::seconds(self.started),
        };
        let meters: Vec<_> = self.workers.iter().map(|(one, _)| &one.meters).collect();
        metrics::page(&facts, &meters)
    }
}
