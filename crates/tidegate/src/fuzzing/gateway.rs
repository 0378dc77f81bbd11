//! A worker of the gateway whose connections are in memory and whose time a script moves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::memory::{self, Peer};
use crate::config::Plan;
use crate::connection;
use crate::drain::Drain;
use crate::exchange::Downstream;
use crate::handler::Handlers;
use crate::limits::Permits;
use crate::route::Target;
use crate::session::id::ConnectionId;
use crate::task::{self, Kind};
use crate::tls::Loaded;
use crate::transport::Transport;
use crate::worker::{Core, Present, Worker};

/// A worker without sockets.
#[derive(Debug)]
pub struct Inside {
    worker: Arc<Worker>,
    routes: usize,
}

/// What is still alive in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alive {
    /// Connections and sessions.
    pub load: usize,
    /// Open WebSockets.
    pub sessions: usize,
    /// Idle upstream connections.
    pub idle: usize,
    /// Leases that were not given back.
    pub leases: usize,
}

impl Inside {
    /// Builds what a gateway with this plan would run on one thread.
    ///
    /// # Panics
    /// When a route ends at a handler.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let routes = plan.routes.len();
        let drain = Arc::new(Drain::new(plan.drain));
        let built = Core::build(
            plan,
            &Loaded::default(),
            &Handlers::default(),
            Arc::default(),
        );
        let core = Arc::new(built.expect("no route ends at a handler"));
        Self {
            worker: Arc::new(Worker::new(core, drain)),
            routes,
        }
    }

    /// A client connects; `room` bytes may wait for it. To be called within a runtime.
    #[must_use]
    pub fn accept(&self, room: usize) -> Peer {
        let (stream, peer) = memory::pair(room);
        let worker = Arc::clone(&self.worker);
        let downstream = Downstream {
            connection: ConnectionId::sample(),
            listener: "in memory".into(),
            peer: SocketAddr::from(([192, 0, 2, 7], 4000)),
            local: SocketAddr::from(([10, 0, 0, 1], 80)),
            secure: false,
            tls: None,
            trusted: false,
            limits: Arc::default(),
            redirect: None,
        };
        let panics = Arc::clone(worker.panics());
        task::spawn(Kind::Connection, &panics, async move {
            let _present = Present::new(&worker);
            let transport = Transport::in_memory(stream);
            let downstream = Arc::new(downstream);
            connection::serve(
                transport,
                downstream,
                Permits::default(),
                Arc::clone(&worker),
            )
            .await;
        });
        peer
    }

    /// What happens once a second.
    pub async fn tick(&self, age: Duration) {
        self.worker.tick(age).await;
    }

    /// Counts what is alive.
    #[must_use]
    pub fn alive(&self) -> Alive {
        let live = |place| match &self.worker.route(place).target {
            Target::Bridge(_) | Target::Handler(_) => 0,
            Target::Proxy(proxy) => proxy.service.live(),
        };
        Alive {
            load: self.worker.load(),
            sessions: self.worker.sessions.len(),
            idle: self.worker.pool.len(),
            leases: (0..self.routes).map(live).sum(),
        }
    }
}
