//! What is alive in a gateway: counted for embedders and for the admin listener.

use std::sync::Arc;

use tokio::runtime::Handle;

use crate::worker::Worker;

/// What is alive in a gateway at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Census {
    /// Accepted connections that speak HTTP.
    pub connections: usize,
    /// Open WebSockets.
    pub sessions: usize,
    /// Users with at least one open WebSocket.
    pub users: usize,
    /// Idle upstream connections.
    pub upstream_idle: usize,
    /// Tasks of the data plane.
    pub tasks: usize,
    /// Panics since the gateway started, in the data plane and in the admin listener. Each ended
    /// one connection, session or request.
    pub panics: u64,
}

impl Census {
    /// Counts what is alive in the data plane.
    pub(crate) fn of(workers: &[(Arc<Worker>, Handle)]) -> Self {
        let mut census = Self::default();
        for (worker, runtime) in workers {
            census.connections += worker.load().saturating_sub(worker.sessions.len());
            census.sessions += worker.sessions.len();
            census.upstream_idle += worker.pool.len();
            census.tasks += runtime.metrics().num_alive_tasks();
            // All of them count in one place.
            census.panics = worker.panics().count();
            census.users = worker.directory().online();
        }
        census
    }
}
