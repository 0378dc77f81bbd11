//! A running gateway: start here.
//!
//! A request's way down is `listener` (accepts) → `connection` (reads requests, writes answers) →
//! `dispatch` (routes, runs filters, calls the target) → `proxy/http` or `proxy/websocket` (asks the
//! upstream) → `upgrade` (writes the 101 and starts the session) → `proxy/relay`.
//!
//! The data plane is one thread per core with a runtime of its own. One acceptor feeds them, and a
//! connection, its upstream connections and its session stay on the thread that they began on.

mod builder;
#[cfg(test)]
mod tests;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use self::builder::GatewayBuilder;
use crate::access_log::{self, AccessLog};
use crate::admin::{self, View};
use crate::auth::Refresher;
use crate::bus::{EventBus, MemoryBus, Topics};
use crate::census::Census;
use crate::cluster::{Cluster, ClusterBus, Keeping, StateStore, Wired};
use crate::config::ConfigErrors;
use crate::config::plan::{Bind, BusPlan, Plan, ServicePlan};
use crate::drain::Drain;
use crate::handler::Handlers;
use crate::limits::Gauge;
use crate::limits::descriptors::REFUSALS;
use crate::listener::{self, Acceptor, Listener, Seat};
use crate::logs::{self, Sink};
use crate::presence::{Teller, Telling};
use crate::push::Router;
use crate::task::Panics;
use crate::threads::Threads;
use crate::tls::watch::{Watch, Watched};
use crate::tls::{Loaded, Reload, TlsError};
use crate::worker::{Core, Worker};

/// Accepted sockets that may wait for one worker.
const HANDOVER: usize = 1024;
/// How long what is under way has when a gateway is stopped.
const STOP: Duration = Duration::from_secs(10);

/// A running gateway.
///
/// It ends in one of three ways: politely, with [`Gateway::drain`] and then [`Gateway::wait`]; in a
/// hurry, with [`Gateway::stop`]; or dropped, which cuts whatever is under way.
#[derive(Debug)]
pub struct Gateway {
    teller: Arc<Teller>,
    addresses: Vec<(Arc<str>, Bind)>,
    core: Option<Arc<Core>>,
    workers: Vec<(Arc<Worker>, Handle)>,
    threads: Threads,
    drain: Arc<Drain>,
    /// What the admin listener is told besides.
    state: Arc<admin::State>,
    admin_address: Option<SocketAddr>,
    /// Closed when the data plane has ended.
    access_log: Option<Sink>,
    /// The logs whose lines are counted.
    logs: Vec<logs::Control>,
    /// Runs until the data plane has ended.
    router: Option<Router>,
    /// The same.
    admin: Option<admin::Running>,
    /// Reads the files of TLS again when they change.
    watch: Option<Watch>,
    /// Fetches the keys of tokens.
    refresher: Option<Refresher>,
    /// Publishes what is told of sessions.
    telling: Option<Telling>,
    /// Tells other nodes.
    keeping: Option<Keeping>,
}

/// Why a gateway did not start. Nothing is left running or bound.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot have its address or its socket.
    #[error("listener `{name}` cannot bind {address}")]
    Bind {
        /// The listener.
        name: Arc<str>,
        /// The address, or the unix socket.
        address: Bind,
        /// What the system said.
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("the access log cannot be opened at {target}")]
    AccessLog {
        /// Where it was to be.
        target: logs::Target,
        /// What the system said.
        source: io::Error,
    },
    /// Attributes are for a handler that is not registered, or not yet.
    #[error("attributes are for the handler `{0}`, which is not registered")]
    AttributesHandler(Arc<str>),
    /// A filter is for a route that there is not.
    #[error("a filter is for the route `{0}`, which there is not")]
    FilterRoute(Arc<str>),
    /// Routes end at handlers that are not registered: one error for each.
    #[error(transparent)]
    Handlers(ConfigErrors),
    /// Two handlers are registered under one name.
    #[error("two handlers are registered as `{0}`")]
    HandlerTwice(Arc<str>),
    /// A certificate, a key or an authority cannot be read, or does not serve.
    #[error(transparent)]
    Tls(TlsError),
    /// A thread or a runtime cannot be made.
    #[error("cannot start a worker")]
    Worker(#[source] io::Error),
}

impl Gateway {
    /// A gateway with handlers and filters of the embedder's.
    pub fn builder(plan: Plan) -> GatewayBuilder {
        GatewayBuilder::new(plan)
    }

    /// Starts a gateway without handlers: [`GatewayBuilder::start`].
    ///
    /// # Errors
    /// As there.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        Self::builder(plan).start()
    }

    fn start_with(
        plan: &Plan,
        handlers: &Handlers,
        bus: Option<Arc<dyn EventBus>>,
        store: Option<Arc<dyn StateStore>>,
    ) -> Result<Self, StartError> {
        let tls = Loaded::load(plan).map_err(StartError::Tls)?;
        let cluster =
            store.map(|store| Arc::new(Cluster::new(store, &plan.bus.node, &plan.cluster)));
        let (bus, carrier) = carrier(bus, cluster.as_ref(), &plan.bus);
        let teller = Arc::new(Teller::new(bus, &plan.bus, cluster));
        let core =
            Core::build(plan, &tls, handlers, Arc::clone(&teller)).map_err(StartError::Handlers)?;
        warn_of_insecure(plan);
        let mut listeners = Vec::with_capacity(plan.listeners.len());
        for plan in &plan.listeners {
            listeners.push(listener::bind(plan).map_err(|source| StartError::Bind {
                name: Arc::clone(&plan.name),
                address: plan.bind.clone(),
                source,
            })?);
        }
        let admin = bind_admin(plan, &tls)?;
        let access_log = open_access_log(plan)?;
        let access = access_log.iter().map(Sink::control);
        let logs = access.chain(plan.other_logs.iter().cloned()).collect();
        let commit = plan.commit.clone();
        let mut gateway = Self {
            teller,
            addresses: listeners
                .iter()
                .map(|one| (Arc::clone(&one.plan.name), one.bound.clone()))
                .collect(),
            core: None,
            workers: Vec::new(),
            threads: Threads::default(),
            drain: Arc::new(Drain::new(plan.drain)),
            state: Arc::default(),
            admin_address: admin.as_ref().map(admin::Bound::address),
            router: None,
            admin: None,
            watch: None,
            refresher: None,
            telling: None,
            keeping: None,
            access_log,
            logs,
        };
        let watched = tls.watched();
        // A failure half-way drops the gateway, which stops what has started.
        gateway
            .spawn(plan, listeners, Arc::new(core))
            .map_err(StartError::Worker)?;
        let telling = gateway.teller.start(gateway.panics());
        gateway.telling = Some(telling.map_err(StartError::Worker)?);
        gateway.route_pushes().map_err(StartError::Worker)?;
        gateway.keep(carrier).map_err(StartError::Worker)?;
        gateway.watch(watched).map_err(StartError::Worker)?;
        gateway.refresh(&tls).map_err(StartError::Worker)?;
        if let Some(admin) = admin {
            let view = Arc::new(gateway.view(commit));
            gateway.admin = Some(admin.run(view).map_err(StartError::Worker)?);
        }
        Ok(gateway)
    }

    fn spawn(&mut self, plan: &Plan, listeners: Vec<Listener>, core: Arc<Core>) -> io::Result<()> {
        let count = plan.workers.max(1);
        let access_log = |number| {
            let (plan, sink) = (plan.access_log.as_ref()?, self.access_log.as_ref()?);
            Some(AccessLog::new(plan, sink, number))
        };
        let access_logs: Vec<_> = (0..=count).map(access_log).collect();
        self.core = Some(Arc::clone(&core));
        let mut seats = Vec::with_capacity(count);
        let mut access_logs = access_logs.into_iter();
        for number in 0..count {
            let mut worker = Worker::new(Arc::clone(&core), Arc::clone(&self.drain));
            worker.access_log = access_logs.next().flatten();
            let worker = Arc::new(worker);
            let (sender, accepted) = mpsc::channel(HANDOVER);
            let runtime = runtime()?;
            self.workers
                .push((Arc::clone(&worker), runtime.handle().clone()));
            seats.push(Seat {
                worker: Arc::clone(&worker),
                accepted: sender,
                refusals: Arc::new(Gauge::new(REFUSALS)),
            });
            let running = admin::Alive::new(&self.state);
            let run = move || {
                let left = runtime.block_on(worker.run(accepted));
                running.note_cut(left);
                // A name look-up cannot be cancelled, and nobody waits for it any more.
                runtime.shutdown_background();
            };
            self.threads.spawn(format!("tidegate-{number}"), run)?;
        }
        let mut acceptor = Acceptor::new(listeners, seats, core, Arc::clone(&self.drain))?;
        acceptor.access_log = access_logs.next().flatten();
        let accept = move || acceptor.run();
        self.threads.spawn("tidegate-accept".into(), accept)
    }

    fn route_pushes(&mut self) -> io::Result<()> {
        let Some(core) = &self.core else {
            return Ok(());
        };
        // Whoever publishes is told where there is no room, rather than that a push is lost.
        let pushes = self.bus().subscribe(&self.topics().push);
        let pushes = pushes.holding_back().with_copies();
        let (push, panics) = (Arc::clone(core.push()), self.panics());
        self.router = Some(Router::start(push, pushes, panics)?);
        Ok(())
    }

    /// Joins the cluster, where there is one.
    fn keep(&mut self, carrier: Option<Arc<ClusterBus>>) -> io::Result<()> {
        if let (Some(cluster), Some(core)) = (self.teller.cluster(), &self.core) {
            let wired = Wired {
                core: Arc::clone(core),
                teller: Arc::clone(&self.teller),
                carrier,
            };
            self.keeping = Some(Keeping::start(Arc::clone(cluster), wired, self.panics())?);
        }
        Ok(())
    }

    fn watch(&mut self, watched: Vec<Watched>) -> io::Result<()> {
        if let Some(core) = self.core.as_ref().filter(|_| !watched.is_empty()) {
            let core = Arc::clone(core);
            let counted = move |succeeded| core.note_reload(succeeded);
            self.watch = Some(Watch::start(watched, counted)?);
        }
        Ok(())
    }

    fn refresh(&mut self, tls: &Loaded) -> io::Result<()> {
        let keys = self
            .core
            .as_ref()
            .and_then(|core| core.authenticator().keys());
        if let Some(keys) = keys.map(Arc::clone) {
            self.refresher = Refresher::start(keys, tls.jwks.as_ref(), &self.panics())?;
        }
        Ok(())
    }

    /// By which the files of TLS are read again; `None` where there are none.
    #[must_use]
    pub fn certificates(&self) -> Option<Reload> {
        self.watch.as_ref().and_then(Watch::reload)
    }

    /// What each listener is bound to, by name; a port is the one that it has.
    #[must_use]
    pub fn addresses(&self) -> &[(Arc<str>, Bind)] {
        &self.addresses
    }

    /// What opens the access log's file anew, if there is one. It may be used until the gateway has
    /// stopped.
    #[must_use]
    pub fn access_log(&self) -> Option<logs::Control> {
        self.access_log.as_ref().map(Sink::control)
    }

    /// What carries events; subscribe here to see them.
    ///
    /// ```
    /// # use tidegate::Gateway;
    /// # use tidegate::bus::Received;
    /// # async fn look_on(gateway: &Gateway) {
    /// let mut sessions = gateway.bus().subscribe(&gateway.topics().sessions);
    /// while let Some(Received::Event(event)) = sessions.receive().await {
    ///     println!("{:?}", event.payload);
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn bus(&self) -> &Arc<dyn EventBus> {
        self.teller.bus()
    }

    /// The names of its topics.
    #[must_use]
    pub fn topics(&self) -> &Topics {
        self.teller.topics()
    }

    /// The most connections of clients that it accepts.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.core
            .as_ref()
            .map_or(0, |core| core.caps().max_connections())
    }

    /// The address that the admin listener is bound to, if there is one.
    #[must_use]
    pub const fn admin_address(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    fn view(&self, commit: Option<Arc<str>>) -> View {
        let first = self.workers.first();
        View {
            directory: first.map_or_else(Arc::default, |(worker, _)| worker.shared_directory()),
            workers: self.workers.clone(),
            addresses: self.addresses.clone(),
            state: Arc::clone(&self.state),
            panics: self.panics(),
            drain: Arc::clone(&self.drain),
            push: self
                .core
                .as_ref()
                .map_or_else(Arc::default, |core| Arc::clone(core.push())),
            bus: Arc::clone(self.bus()),
            cluster: self.teller.cluster().map(Arc::clone),
            topics: self.topics().clone(),
            logs: self.logs.clone(),
            commit,
            started: SystemTime::now(),
            begun: Instant::now(),
        }
    }

    fn panics(&self) -> Arc<Panics> {
        let first = self.workers.first();
        first.map_or_else(Arc::default, |(worker, _)| Arc::clone(worker.panics()))
    }

    /// Counts what is alive now.
    #[must_use]
    pub fn census(&self) -> Census {
        Census::of(&self.workers)
    }

    /// Begins to end politely, by the times of [`Plan::drain`], and returns at once; a drain that has
    /// begun goes on as it is. The gateway is not ready any more, and accepts for `delay` still. Then
    /// it closes its listeners and lets requests under way finish, while it closes WebSockets with
    /// 1001 on both legs, evenly over `spread`. What is left `timeout` later is cut.
    pub fn drain(&self) {
        self.drain.begin();
    }

    /// Waits until a drain has begun, be it by [`Gateway::drain`] or by `POST /v1/drain` of the admin
    /// listener. The future holds nothing of the gateway, needs no particular runtime, and may be
    /// dropped at any time.
    pub fn draining(&self) -> impl Future<Output = ()> + Send + 'static {
        self.drain.begun()
    }

    /// Waits until a drain is over and all of the gateway has ended. It begins none: where nobody
    /// asks for one, this waits for ever. Blocks; call it outside a runtime. Returns how many
    /// connections and WebSockets had not ended in time, and were cut. A thread that is stuck, in a
    /// filter perhaps, is waited for until two seconds after the deadline, and left behind with what
    /// it has.
    pub fn wait(mut self) -> usize {
        self.join();
        self.state.cut.load(Ordering::Relaxed)
    }

    /// Stops in a hurry, also amid a drain: as [`Gateway::drain`], with neither delay nor spread,
    /// and ten seconds for what is under way. Blocks; call it outside a runtime. Returns what
    /// [`Gateway::wait`] does.
    pub fn stop(self) -> usize {
        self.drain.hasten(STOP);
        self.wait()
    }

    fn join(&mut self) {
        for place in self.threads.join(&self.drain) {
            // The acceptor comes after the workers, and has nothing that could be cut.
            let worker = self.workers.get(place).map(|(worker, _)| worker);
            let cut = worker.map_or(0, |worker| worker.load());
            self.state.cut.fetch_add(cut, Ordering::Relaxed);
            tracing::error!(thread = place, cut, "stuck: left behind");
        }
        // Before what it tells of is published.
        self.keeping = None;
        // Nobody leaves an event or a line there any more.
        self.telling = None;
        self.access_log = None;
        self.admin = None;
        self.router = None;
        self.watch = None;
        self.refresher = None;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.drain.cut();
        self.join();
    }
}

/// Says so for each service to which anybody could be the upstream.
fn warn_of_insecure(plan: &Plan) {
    let is_tls = |service: &ServicePlan| service.endpoints.iter().any(|endpoint| endpoint.is_tls);
    for service in &plan.services {
        if service.tls.is_insecure && is_tls(service) {
            let service = &*service.name;
            tracing::error!(
                service,
                "INSECURE: no certificate of this service is verified; whoever stands in between can \
                 read and change all that passes"
            );
        }
    }
}

fn bind_admin(plan: &Plan, tls: &Loaded) -> Result<Option<admin::Bound>, StartError> {
    let Some(plan) = &plan.admin else {
        return Ok(None);
    };
    let bound = admin::Bound::bind(plan, tls.admin.clone()).map_err(|source| StartError::Bind {
        name: "admin".into(),
        address: plan.bind().into(),
        source,
    })?;
    Ok(Some(bound))
}

/// A place to leave lines at for each worker, and one for the acceptor.
fn open_access_log(plan: &Plan) -> Result<Option<Sink>, StartError> {
    let Some(log) = &plan.access_log else {
        return Ok(None);
    };
    let places = plan.workers.max(1) + 1;
    let sink = Sink::start("access", log.target.clone(), places, access_log::GATHER);
    let sink = sink.map_err(|source| StartError::AccessLog {
        target: log.target.clone(),
        source,
    })?;
    Ok(Some(sink))
}

/// What carries events, and, where that is a cluster without a broker, that once more.
fn carrier(
    bus: Option<Arc<dyn EventBus>>,
    cluster: Option<&Arc<Cluster>>,
    plan: &BusPlan,
) -> (Arc<dyn EventBus>, Option<Arc<ClusterBus>>) {
    match (bus, cluster) {
        (Some(bus), _) => (bus, None),
        (None, None) => (Arc::new(MemoryBus::new(plan.history)), None),
        (None, Some(cluster)) => {
            let carrier = Arc::new(ClusterBus::new(Arc::clone(cluster), plan));
            (Arc::clone(&carrier) as Arc<dyn EventBus>, Some(carrier))
        }
    }
}

fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}
