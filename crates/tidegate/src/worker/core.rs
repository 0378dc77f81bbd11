//! What all threads of the data plane share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::auth::Authenticator;
use crate::bridge::{self, Bridge};
use crate::config::ConfigErrors;
use crate::config::plan::{Plan, ProxyPlan, RoutePlan, ServicePlan, TargetPlan};
use crate::handler::Handlers;
use crate::limits::{Caps, ClusterCaps, RouteCaps};
use crate::pipeline::{CorsPlan, Pipeline, Setting};
use crate::presence::{Directory, Teller};
use crate::proxy::Proxy;
use crate::push::Push;
use crate::route::{Route, Target, TokenRules};
use crate::router::Router;
use crate::session::everywhere::Everywhere;
use crate::task::Panics;
use crate::tls::Loaded;
use crate::tls::server::ServerTls;
use crate::upstream::Service;
use crate::upstream::pool::Pool;

/// What all workers share: the plan, built.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) router: Router,
    /// In the order of the router's matchers.
    pub(super) routes: Vec<Arc<Route>>,
    pub(super) caps: Arc<Caps>,
    pub(super) authenticator: Arc<Authenticator>,
    /// What holds for browsers where no route does.
    pub(super) cors: Option<CorsPlan>,
    pub(super) panics: Arc<Panics>,
    pub(super) push: Arc<Push>,
    /// In the order of their meters.
    pub(super) services: Vec<Arc<Service>>,
    /// Endpoints of all services.
    pub(super) endpoints: usize,
    /// TLS on those listeners that speak it, by name.
    pub(super) listener_tls: HashMap<Arc<str>, Arc<ServerTls>>,
    /// How often its files were read again, in vain and not.
    pub(super) reloads: [AtomicU64; 2],
    /// Who is online.
    pub(super) directory: Arc<Directory>,
    /// The idle upstream connections of all workers.
    pub(super) pools: Mutex<Vec<Arc<Pool>>>,
    /// The open WebSockets of all workers.
    pub(super) sessions: Everywhere,
}

impl Core {
    /// What all workers together may have in use.
    pub(crate) fn caps(&self) -> &Caps {
        &self.caps
    }

    /// The limits on sessions that hold on all nodes together, of the gateway and of its routes.
    pub(crate) fn cluster_caps(&self) -> impl Iterator<Item = &Arc<ClusterCaps>> {
        let routes = self.routes.iter();
        let of_routes = routes.filter_map(|route| route.caps.cluster());
        self.caps.cluster().into_iter().chain(of_routes)
    }

    /// Who knows how clients prove who they are.
    pub(crate) const fn authenticator(&self) -> &Arc<Authenticator> {
        &self.authenticator
    }

    /// Who can be pushed to.
    pub(crate) const fn push(&self) -> &Arc<Push> {
        &self.push
    }

    /// The files of TLS were read again because they had changed.
    pub(crate) fn note_reload(&self, succeeded: bool) {
        self.reloads[usize::from(succeeded)].fetch_add(1, Ordering::Relaxed);
    }

    /// Who is online.
    pub(crate) const fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// How often that failed, and how often it did not.
    pub(crate) fn reloads(&self) -> [u64; 2] {
        [0, 1].map(|place| self.reloads[place].load(Ordering::Relaxed))
    }

    /// What stands behind the matcher at `place`.
    pub(crate) fn route(&self, place: usize) -> &Arc<Route> {
        &self.routes[place]
    }

    /// Descriptors are short: drops idle upstream connections, whichever worker has them; whether
    /// there were any.
    pub(crate) fn make_room(&self) -> bool {
        let pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.iter().filter(|pool| pool.make_room()).count() > 0
    }

    /// The open WebSockets of all workers.
    pub(crate) const fn sessions(&self) -> &Everywhere {
        &self.sessions
    }

    /// Builds the plan. Errors with each route whose handler is none of `handlers`.
    pub(crate) fn build(
        plan: &Plan,
        tls: &Loaded,
        handlers: &Handlers,
        teller: Arc<Teller>,
    ) -> Result<Self, ConfigErrors> {
        let caps = Arc::new(Caps::new(plan));
        let panics = Arc::new(Panics::default());
        let authenticator = Arc::new(authenticator(plan));
        let mut endpoints = 0;
        let mut services: HashMap<Arc<str>, Arc<Service>> = HashMap::new();
        let mut in_order = Vec::new();
        let mut service = |plan: &Arc<ServicePlan>| {
            let entry = services.entry(Arc::clone(&plan.name));
            let service = entry.or_insert_with(|| {
                let place = in_order.len();
                let tls = tls.services.get(&plan.name);
                let service = Service::new(Arc::clone(plan), place, endpoints, tls, &panics);
                endpoints += service.size();
                in_order.push(Arc::new(service));
                Arc::clone(&in_order[in_order.len() - 1])
            });
            Arc::clone(service)
        };
        let mut proxy = |plan: &ProxyPlan, place| Proxy {
            plan: plan.clone(),
            service: service(&plan.service),
            place,
        };
        let (mut matchers, mut routes) = (Vec::new(), Vec::new());
        let mut missing = Vec::new();
        for (place, route) in plan.routes.iter().enumerate() {
            let target = match &route.target {
                TargetPlan::Handler(plan) => match handlers.build(plan, place) {
                    Ok(handler) => Target::Handler(handler),
                    Err(error) => {
                        missing.push(error);
                        continue;
                    }
                },
                TargetPlan::Bridge(bridge) => {
                    let services = bridge.services.iter().map(|plan| proxy(plan, place));
                    Target::Bridge(Arc::new(Bridge::new(
                        Arc::clone(bridge),
                        (place, route),
                        services.collect(),
                        &plan.bus.topics.push,
                    )))
                }
                TargetPlan::Proxy(plan) => Target::Proxy(proxy(plan, place)),
            };
            matchers.push(route.matcher.clone());
            routes.push(Arc::new(built(route, target, &authenticator)));
        }
        ConfigErrors::none_of(missing)?;
        let router = Router::new(matchers);
        Ok(Self {
            router,
            routes,
            caps,
            authenticator,
            cors: plan.cors.clone(),
            panics,
            push: Arc::new(Push::new(&plan.rooms, plan.limits.resume_memory)),
            services: in_order,
            endpoints,
            listener_tls: tls.listeners.clone(),
            reloads: Default::default(),
            directory: Arc::new(Directory::new(teller, &plan.limits.sessions)),
            pools: Mutex::default(),
            sessions: Everywhere::default(),
        })
    }
}

/// Who knows how clients prove who they are, and what is kept of that.
fn authenticator(plan: &Plan) -> Authenticator {
    let kafka = plan.bus.kafka.as_ref();
    let keeps_hash = kafka.is_some_and(|kafka| kafka.compat_hash.is_some());
    Authenticator::new(&plan.auth).keeping_hashes(keeps_hash)
}

/// The route that ends at `target`.
fn built(route: &RoutePlan, target: Target, authenticator: &Arc<Authenticator>) -> Route {
    let is_bridge = matches!(route.target, TargetPlan::Bridge(_));
    let defers = is_bridge && authenticator.waits_for_first_message();
    let setting = Setting {
        authenticator: Arc::clone(authenticator),
        cors: route.cors.clone(),
        defers: defers.then_some(bridge::may_say_hello),
    };
    Route {
        name: Arc::clone(&route.name),
        caps: RouteCaps::new(&route.limits, &route.name),
        cors: route.cors.clone(),
        pipeline: Pipeline::build(&route.filters, &setting),
        tokens: TokenRules::new(route, authenticator.revocations()),
        target,
    }
}
