//! A view of workers that do not run, for the tests of this room.

use std::sync::Arc;
use std::time::SystemTime;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::view::View;
use crate::bus::{MemoryBus, Topics};
use crate::drain::Drain;
use crate::session::registry::Registered;
use crate::session::testing::{built, facts_in, plan};
use crate::worker::{Core, Worker};

/// A view of two workers. To be called within a runtime.
pub(super) fn view() -> (Arc<View>, Arc<Core>) {
    let plan = plan();
    let drain = Arc::new(Drain::new(plan.drain));
    let core = Arc::new(built(&plan));
    let worker = || {
        let worker = Worker::new(Arc::clone(&core), Arc::clone(&drain));
        (Arc::new(worker), Handle::current())
    };
    let view = View {
        directory: Arc::clone(core.directory()),
        workers: vec![worker(), worker()],
        addresses: Vec::new(),
        state: Arc::default(),
        panics: Arc::default(),
        drain: Arc::clone(&drain),
        push: Arc::default(),
        bus: Arc::<MemoryBus>::default(),
        cluster: None,
        topics: Topics::default(),
        logs: Vec::new(),
        commit: None,
        started: SystemTime::now(),
        begun: Instant::now(),
    };
    (Arc::new(view), core)
}

/// Opens a session of the worker at `place`.
pub(super) fn open(view: &View, core: &Core, place: usize) -> Registered {
    let (worker, _) = &view.workers[place];
    let sessions = &worker.sessions;
    sessions.register(
        sessions.connection_id(),
        facts_in(core),
        None,
        &worker.clock,
    )
}
