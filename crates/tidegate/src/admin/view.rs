//! The gateway as the admin listener sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::auth::Authenticator;
use crate::bus::{EventBus, Topics};
use crate::census::Census;
use crate::cluster::{Answers, Cluster, Order};
use crate::config::plan::Bind;
use crate::drain::Drain;
use crate::logs::Control;
use crate::metrics::{self, ClusterFacts, Facts};
use crate::presence::Directory;
use crate::push::Push;
use crate::task::Panics;
use crate::time;
use crate::worker::Worker;

/// What there is to see.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) directory: Arc<Directory>,
    pub(crate) workers: Vec<(Arc<Worker>, Handle)>,
    pub(crate) addresses: Vec<(Arc<str>, Bind)>,
    pub(crate) state: Arc<State>,
    /// Where those of the admin listener are counted too.
    pub(crate) panics: Arc<Panics>,
    pub(crate) drain: Arc<Drain>,
    pub(crate) push: Arc<Push>,
    pub(crate) bus: Arc<dyn EventBus>,
    /// This node among others, where there may be some.
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) topics: Topics,
    /// Whose lines are counted.
    pub(crate) logs: Vec<Control>,
    pub(crate) commit: Option<Arc<str>>,
    pub(crate) started: SystemTime,
    pub(crate) begun: Instant,
}

/// What changes while a gateway runs.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Threads of the data plane that have not ended.
    pub(crate) running: AtomicUsize,
    /// Connections and sessions that had not ended when their thread did.
    pub(crate) cut: AtomicUsize,
}

/// Counts a thread of the data plane as long as it lives.
#[derive(Debug)]
pub(crate) struct Alive(Arc<State>);

impl Alive {
    pub(crate) fn new(state: &Arc<State>) -> Self {
        state.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(state))
    }

    /// So many connections and sessions end with it.
    pub(crate) fn note_cut(&self, count: usize) {
        self.0.cut.fetch_add(count, Ordering::Relaxed);
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl View {
    pub(super) fn census(&self) -> Census {
        Census::of(&self.workers)
    }

    /// How many sessions the route at `place` has.
    pub(super) fn sessions_of(&self, place: usize) -> i64 {
        let workers = self.workers.iter();
        workers
            .map(|(worker, _)| worker.meters.route(place).open_sessions())
            .sum()
    }

    /// Who is online. Workers have one directory together.
    pub(super) fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Who knows how clients prove who they are.
    pub(super) fn authenticator(&self) -> Option<&Arc<Authenticator>> {
        let (worker, _) = self.workers.first()?;
        Some(worker.authenticator())
    }

    /// What the other nodes do for who asks here; `None`: there are none.
    pub(super) async fn order(&self, order: Order) -> Option<Answers> {
        let cluster = self.cluster.as_ref()?;
        let answers = cluster.order(order).await;
        Some(answers).filter(|answers| answers.asked > 0 || self.is_apart())
    }

    /// Whether there is a cluster of which nobody can be asked.
    pub(super) fn is_apart(&self) -> bool {
        let mut cluster = self.cluster.iter();
        cluster.any(|cluster| !cluster.is_up())
    }

    /// Whether the listener of that name speaks TLS.
    pub(super) fn has_tls(&self, listener: &str) -> bool {
        let mut workers = self.workers.iter();
        workers.any(|(worker, _)| worker.has_tls(listener))
    }

    /// Whether the keys of tokens were fetched once, and whether they still count; `None` where none are
    /// fetched.
    pub(super) fn has_keys(&self) -> Option<(bool, bool)> {
        let (worker, _) = self.workers.first()?;
        let keys = worker.authenticator().keys()?;
        let [_failed, fetched] = keys.fetches()?;
        Some((fetched > 0, keys.count()))
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
                    one.routes()
                        .iter()
                        .map(|route| (&*route.name, route.target.kind()))
                        .collect(),
                    one.services().iter().map(|one| &*one.plan.name).collect(),
                )
            });
        let facts = Facts {
            version: env!("CARGO_PKG_VERSION"),
            commit: self.commit(),
            routes,
            services,
            connections: census.connections,
            users: census.users,
            cluster: self.cluster.as_ref().map_or(
                ClusterFacts {
                    is_connected: true,
                    nodes: 1,
                    users: census.users as u64,
                },
                |cluster| ClusterFacts {
                    is_connected: cluster.is_up(),
                    nodes: cluster.others().len() + 1,
                    users: cluster.online(),
                },
            ),
            untold: self.directory.teller().untold(),
            waiting: self.directory.teller().waiting(),
            bus: self.bus.state(),
            panics: census.panics,
            // All workers have the same caps too.
            refusals: self
                .workers
                .first()
                .map_or_else(Vec::new, |(one, _)| one.caps().refusals().collect()),
            logs: self
                .logs
                .iter()
                .map(|log| (log.name(), log.lines()))
                .collect(),
            tls_reloads: self
                .workers
                .first()
                .map_or([0; 2], |(one, _)| one.reloads()),
            auth: self
                .workers
                .first()
                .map_or_else(Default::default, |(one, _)| one.authenticator().counts()),
            pushes: &self.push.meters,
            rooms: self.push.rooms.counts(),
            suspended_bytes: self.push.suspended_bytes(),
            draining: self.is_draining(),
            started: time::seconds(self.started),
        };
        let meters: Vec<_> = self.workers.iter().map(|(one, _)| &one.meters).collect();
        metrics::page(&facts, &meters)
    }
}
