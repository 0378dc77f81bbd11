//! A running gateway: start here.
//!
//! A request's way down is `listener` (accepts) → `connection` (reads requests, writes answers) →
//! `dispatch` (routes, runs filters, calls the target) → `proxy/http` or `proxy/websocket` (asks the
//! upstream) → `upgrade` (writes the 101 and starts the session) → `proxy/relay`.
//!
//! The data plane is one thread per core with a runtime of its own. One acceptor feeds them, and a
//! connection, its upstream connections and its session stay on the thread that they began on.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use std::{io, thread};

use ipnet::IpNet;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::plan::{Plan, RoutePlan, TargetPlan};
use crate::connection;
use crate::exchange::Downstream;
use crate::listener::{self, Accepted, Acceptor, Listener, Seat};
use crate::pipeline::Pipeline;
use crate::proxy::Proxy;
use crate::router::{Route, Router};
use crate::session::Cause;
use crate::session::registry::{Clock, Registry};
use crate::target::Target;
use crate::task;
use crate::transport::Transport;
use crate::upstream::Service;
use crate::upstream::pool::Pool;

/// Accepted sockets that may wait for one worker.
const HANDOVER: usize = 1024;
/// How long a stopping gateway waits for what is under way.
const GRACE: Duration = Duration::from_secs(10);

/// A running gateway. Dropped without [`Gateway::stop`], it cuts whatever is under way.
#[derive(Debug)]
pub struct Gateway {
    addresses: Vec<(Arc<str>, SocketAddr)>,
    workers: Vec<(Arc<Worker>, Handle)>,
    threads: Vec<JoinHandle<()>>,
    stopping: CancellationToken,
    /// Set when what is under way is cut.
    cut: CancellationToken,
    /// Wakes the acceptor, so that it sees `stopping`.
    acceptor: Option<mio::Waker>,
}

/// Why a gateway did not start. Nothing is left running or bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot bind its address.
    #[error("listener `{name}` cannot bind {address}: {source}")]
    Bind {
        /// The listener.
        name: Arc<str>,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A thread or a runtime cannot be made.
    #[error("cannot start a worker: {0}")]
    Worker(#[source] io::Error),
}

/// What is alive in a gateway at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Census {
    /// Accepted connections that speak HTTP.
    pub connections: usize,
    /// Open WebSockets.
    pub sessions: usize,
    /// Idle upstream connections.
    pub upstream_idle: usize,
    /// Tasks of the data plane.
    pub tasks: usize,
}

impl Gateway {
    /// Binds every listener, then starts the workers; returns when connections are accepted. Needs
    /// no runtime around it.
    ///
    /// # Errors
    /// When an address cannot be bound or a thread cannot be made; then nothing runs.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        let mut listeners = Vec::with_capacity(plan.listeners.len());
        for plan in &plan.listeners {
            listeners.push(listener::bind(plan).map_err(|source| StartError::Bind {
                name: Arc::clone(&plan.name),
                address: plan.bind,
                source,
            })?);
        }
        let mut gateway = Self {
            addresses: listeners
                .iter()
                .map(|one| (Arc::clone(&one.name), one.address))
                .collect(),
            workers: Vec::new(),
            threads: Vec::new(),
            stopping: CancellationToken::new(),
            cut: CancellationToken::new(),
            acceptor: None,
        };
        // A failure half-way drops the gateway, which stops what has started.
        gateway.spawn(plan, listeners).map_err(StartError::Worker)?;
        Ok(gateway)
    }

    fn spawn(&mut self, plan: Plan, listeners: Vec<Listener>) -> io::Result<()> {
        let count = plan.workers.max(1);
        let core = Arc::new(Core::build(plan));
        let mut seats = Vec::with_capacity(count);
        for number in 0..count {
            let worker = Arc::new(Worker::new(Arc::clone(&core), self.stopping.clone()));
            let (sender, accepted) = mpsc::channel(HANDOVER);
            let runtime = runtime()?;
            self.workers
                .push((Arc::clone(&worker), runtime.handle().clone()));
            seats.push(Seat {
                worker: Arc::clone(&worker),
                accepted: sender,
            });
            let cut = self.cut.clone();
            let run = move || {
                runtime.block_on(worker.run(accepted, cut));
                // A name look-up cannot be cancelled, and nobody waits for it any more.
                runtime.shutdown_background();
            };
            self.threads.push(
                thread::Builder::new()
                    .name(format!("tidegate-{number}"))
                    .spawn(run)?,
            );
        }
        let (acceptor, waker) = Acceptor::new(listeners, seats, self.stopping.clone())?;
        self.acceptor = Some(waker);
        let accept = thread::Builder::new().name("tidegate-accept".into());
        self.threads.push(accept.spawn(move || acceptor.run())?);
        Ok(())
    }

    /// The address that each listener is bound to, by name.
    #[must_use]
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Counts what is alive now.
    #[must_use]
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for (worker, runtime) in &self.workers {
            census.connections += worker.load().saturating_sub(worker.sessions.len());
            census.sessions += worker.sessions.len();
            census.upstream_idle += worker.pool.len();
            census.tasks += runtime.metrics().num_alive_tasks();
        }
        census
    }

    /// Stops: accepts nothing more, lets requests under way finish, closes WebSockets with 1001 on
    /// both legs, and waits for all that for at most ten seconds. Blocks; call it outside a runtime.
    pub fn stop(mut self) {
        self.end();
    }

    fn end(&mut self) {
        self.stopping.cancel();
        if let Some(acceptor) = &self.acceptor {
            // It can only fail for want of memory, and then accepts until the process ends.
            let _ = acceptor.wake();
        }
        for thread in self.threads.drain(..) {
            // A worker that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.cut.cancel();
        self.end();
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// What all workers share: the plan, built.
#[derive(Debug)]
struct Core {
    router: Router,
    trusted_proxies: Arc<[IpNet]>,
    /// Endpoints of all services.
    endpoints: usize,
}

impl Core {
    fn build(plan: Plan) -> Self {
        let mut endpoints = 0;
        let mut services = HashMap::new();
        for service in plan.services {
            let built = Arc::new(Service::new(Arc::clone(&service), endpoints));
            endpoints += built.size();
            services.insert(Arc::as_ptr(&service), built);
        }
        let routes = plan
            .routes
            .into_iter()
            .filter_map(|route| build_route(route, &services))
            .collect();
        Self {
            router: Router::new(routes),
            trusted_proxies: plan.trusted_proxies,
            endpoints,
        }
    }
}

fn build_route(
    plan: RoutePlan,
    services: &HashMap<*const crate::config::plan::ServicePlan, Arc<Service>>,
) -> Option<Arc<Route>> {
    let target = match plan.target {
        TargetPlan::Proxy(proxy) => {
            let service = Arc::clone(services.get(&Arc::as_ptr(&proxy.service))?);
            Target::Proxy(Proxy {
                plan: proxy,
                service,
            })
        }
    };
    let pipeline = Arc::new(Pipeline::build(&plan.filters));
    Some(Arc::new(Route {
        name: plan.name,
        matcher: plan.matcher,
        pipeline,
        target,
    }))
}

/// One thread of the data plane, as those who run on it know it.
#[derive(Debug)]
pub(crate) struct Worker {
    core: Arc<Core>,
    /// Idle upstream connections.
    pub(crate) pool: Pool,
    /// Open WebSockets.
    pub(crate) sessions: Arc<Registry>,
    /// Coarse time.
    pub(crate) clock: Clock,
    /// Set once, when the gateway stops.
    pub(crate) stopping: CancellationToken,
    /// Connections and sessions.
    load: AtomicUsize,
}

impl Worker {
    fn new(core: Arc<Core>, stopping: CancellationToken) -> Self {
        Self {
            pool: Pool::new(core.endpoints),
            sessions: Arc::new(Registry::default()),
            clock: Clock::default(),
            load: AtomicUsize::new(0),
            stopping,
            core,
        }
    }

    /// The routes.
    pub(crate) fn router(&self) -> &Router {
        &self.core.router
    }

    /// Whether an address is one of the trusted proxies.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.core
            .trusted_proxies
            .iter()
            .any(|net| net.contains(&address))
    }

    /// Connections and sessions.
    pub(crate) fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    /// A connection was given to this worker.
    pub(crate) fn arrives(&self) {
        self.load.fetch_add(1, Ordering::Relaxed);
    }

    async fn run(self: Arc<Self>, mut accepted: mpsc::Receiver<Accepted>, cut: CancellationToken) {
        let started = Instant::now();
        let mut second = interval(Duration::from_secs(1));
        second.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => break,
                _ = second.tick() => self.tick(started.elapsed()).await,
                next = accepted.recv() => match next {
                    Some(next) => task::spawn(Arc::clone(&self).connection(next)),
                    None => break,
                },
            }
        }
        accepted.close();
        self.sessions.end_all(Cause::Drain);
        let deadline = Instant::now() + GRACE;
        let mut look = interval(Duration::from_millis(20));
        while self.load() > accepted.len() && Instant::now() < deadline {
            tokio::select! {
                () = cut.cancelled() => return,
                _ = second.tick() => self.tick(started.elapsed()).await,
                _ = look.tick() => {}
            }
        }
    }

    /// Once a second: moves the clock, tells the sessions whose time has come, and drops idle
    /// connections that are too old or that the upstream has ended.
    async fn tick(&self, age: Duration) {
        self.clock
            .set(u32::try_from(age.as_secs()).unwrap_or(u32::MAX));
        self.sessions.sweep(&self.clock);
        self.pool.sweep().await;
    }

    async fn connection(self: Arc<Self>, accepted: Accepted) {
        let Ok(stream) = TcpStream::from_std(accepted.stream) else {
            return;
        };
        let transport = Transport::new(stream);
        let Ok(local) = transport.local_address() else {
            return;
        };
        let downstream = Downstream {
            listener: accepted.listener,
            peer: accepted.peer,
            local,
            secure: false,
            trusted: self.trusts(accepted.peer.ip()),
        };
        connection::serve(transport, Arc::new(downstream), Arc::clone(&self)).await;
        drop(accepted.present);
    }
}

/// Counts a connection or a session of a worker as long as it lives.
#[derive(Debug)]
pub(crate) struct Present(Arc<Worker>);

impl Present {
    /// Counts one more.
    pub(crate) fn new(worker: &Arc<Worker>) -> Self {
        worker.arrives();
        Self(Arc::clone(worker))
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.0.load.fetch_sub(1, Ordering::Relaxed);
    }
}
