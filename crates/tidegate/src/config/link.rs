//! From what was written to the plan: names become what they name, and must be unique.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::compile;
use super::error::{Fault, Problems};
use super::plan::{
    AdminPlan, Bind, BridgePlan, EndpointPlan, HandlerPlan, HostPolicy, ListenerPlan, OriginPolicy,
    Plan, ProxyPlan, RedirectHost, RedirectPlan, RoutePlan, ServicePlan, StorePlan, TargetPlan,
};
use super::schema::{
    Admin, Bridge, Cors, Filter, Handler, Listener, Proxy, Root, Route, Service, Target,
    report_duplicates,
};
use super::yaml::{Located, Quoted, did_you_mean};
use crate::pipeline::CorsPlan;

/// Services by name, in a map for linking.
type Services = HashMap<String, Arc<ServicePlan>>;

/// Links `root`. The plan is good only if `problems` are still empty; `None` tells that already.
pub(super) fn link(root: &Root, problems: &mut Problems) -> Option<Plan> {
    let listeners = link_listeners(&root.listeners, root.admin.as_ref(), problems);
    let services: Vec<_> = root.services.iter().map(link_service).collect();
    let by_name: Services = services
        .iter()
        .map(|service| (service.name.to_string(), Arc::clone(service)))
        .collect();
    let names = root.routes.iter().filter_map(|route| route.name.as_ref());
    report_duplicates("route", names, problems);
    // Every route is linked, so that each shows what is wrong with it.
    let routes: Vec<_> = root
        .routes
        .iter()
        .map(|route| link_route(route, root.cors.as_ref(), &by_name, problems))
        .collect();
    report_nobody(root, problems);
    report_no_publisher(root, problems);
    report_no_cluster(root, problems);
    let trusted = root.trusted_proxies.iter();
    Some(Plan {
        workers: root.workers.map_or_else(cores, |workers| workers as usize),
        limits: root.limits.plan.clone(),
        listeners,
        admin: root.admin.as_ref().and_then(link_admin),
        drain: root.drain,
        access_log: root.access_log.clone(),
        other_logs: Vec::new(),
        commit: None,
        trusted_proxies: trusted.map(|network| network.value).collect(),
        forwarded_header: root.forwarded_header,
        cors: link_cors(None, root.cors.as_ref(), problems),
        auth: root.auth.clone().unwrap_or_default(),
        bus: root.bus.clone(),
        cluster: root.cluster.clone(),
        rooms: root.rooms.clone(),
        services,
        routes: routes.into_iter().collect::<Option<_>>()?,
    })
}

fn link_listeners(
    listeners: &[Listener],
    admin: Option<&Admin>,
    problems: &mut Problems,
) -> Vec<ListenerPlan> {
    let names = listeners.iter().filter_map(|one| one.name.as_ref());
    report_duplicates("listener", names, problems);
    let binds = listeners.iter().filter_map(|one| one.bind.as_ref());
    let admin = admin.map(|admin| Located {
        value: admin.bind.value.into(),
        place: admin.bind.place.clone(),
    });
    report_taken(binds.chain(&admin), problems);
    listeners
        .iter()
        .filter_map(|listener| {
            Some(ListenerPlan {
                name: listener.name.as_ref()?.value.as_str().into(),
                bind: listener.bind.as_ref()?.value.clone(),
                tls: listener.tls.clone().map(Arc::new),
                limits: Arc::new(listener.limits.clone()),
                proxy_protocol: listener.proxy_protocol.clone(),
                redirect: link_redirect(listener, problems)?,
            })
        })
        .collect()
}

/// Where a listener sends its requests; `None` where that is wrong.
fn link_redirect(
    listener: &Listener,
    problems: &mut Problems,
) -> Option<Option<Arc<RedirectPlan>>> {
    let Some(redirect) = &listener.redirect else {
        return Some(None);
    };
    let bound = listener.bind.as_ref().and_then(|bind| bind.value.address());
    let is_same = bound.is_some_and(|bound| bound.port() == redirect.port);
    if listener.tls.is_some() && redirect.host.is_none() && is_same {
        let message = format!(
            "requests over TLS to port {} are sent there again, without end",
            redirect.port
        );
        problems.suggest(&redirect.place, message, "name another `port`, or a `host`");
    }
    // Both are read, so that each shows what is wrong with it.
    let hosts = compile::hosts(&redirect.hosts, problems);
    let except = compile::paths(&redirect.except, problems);
    let host = match (&redirect.host, hosts?) {
        (Some(host), _) => RedirectHost::Literal(host.clone()),
        (None, hosts) if hosts.is_empty() => RedirectHost::Asked,
        (None, hosts) => RedirectHost::Listed(hosts),
    };
    Some(Some(Arc::new(RedirectPlan {
        status: redirect.status,
        port: redirect.port,
        host,
        except: except?,
    })))
}

/// Reports each address that a listener before has, be it among others.
fn report_taken<'a>(binds: impl Iterator<Item = &'a Located<Bind>>, problems: &mut Problems) {
    let mut bound: Vec<&Bind> = Vec::new();
    for Located { value, place } in binds {
        let is_taken = |other: &&&Bind| match (**other, value) {
            (Bind::Tcp(other), Bind::Tcp(value)) => {
                covers(*other, *value) || covers(*value, *other)
            }
            (Bind::Unix(other), Bind::Unix(value)) => other.path == value.path,
            _ => false,
        };
        if let Some(other) = bound.iter().find(is_taken) {
            let mut fault = Fault::new(format!("another listener has {other} already"));
            if let (Some(value), Some(other)) = (value.address(), other.address()) {
                fault = explain_taken(fault, value, other);
            }
            problems.fault(place, fault);
        }
        bound.push(value);
    }
}

/// Says why two addresses that differ are not free at the same time.
fn explain_taken(fault: Fault, value: SocketAddr, other: SocketAddr) -> Fault {
    let wider = if covers(value, other) { value } else { other };
    let ip = wider.ip().to_canonical();
    if value == other || !ip.is_unspecified() {
        return fault;
    }
    let family = if ip.is_ipv4() { "IPv4 " } else { "" };
    let port = wider.port();
    fault.suggest(format!(
        "{wider} is port {port} of every {family}address of this machine"
    ))
}

/// Whether nobody can bind `inner` beside `outer`. The system gives a port 0 to nobody twice, and
/// `[::]` takes IPv4 too.
fn covers(outer: SocketAddr, inner: SocketAddr) -> bool {
    let (ip, other) = (outer.ip().to_canonical(), inner.ip().to_canonical());
    let is_wide = ip.is_unspecified() && (ip.is_ipv6() || other.is_ipv4());
    outer.port() != 0 && outer.port() == inner.port() && (is_wide || ip == other)
}

/// `None` for one that is open to strangers, which is a problem already.
fn link_admin(admin: &Admin) -> Option<AdminPlan> {
    let token = admin.token.as_ref().map(|token| token.value.clone());
    let plan = AdminPlan::new(admin.bind.value, token)?;
    let plan = plan.with_aliases(admin.aliases.clone());
    let kafka = admin.kafka.as_ref().map(|kafka| kafka.value.clone());
    let plan = plan.with_kafka(kafka);
    Some(plan.with_tls(admin.tls.clone()))
}

fn link_service(service: &Service) -> Arc<ServicePlan> {
    let endpoints = service.endpoints.iter();
    Arc::new(ServicePlan {
        name: service.name.value.as_str().into(),
        endpoints: endpoints
            .map(|endpoint| EndpointPlan {
                authority: endpoint.url.authority.clone(),
                path: endpoint.url.path.clone(),
                is_tls: endpoint.url.is_tls,
                weight: endpoint.weight,
            })
            .collect(),
        balance: service.balance,
        connect_timeout: service.connect_timeout,
        handshake_timeout: service.handshake_timeout,
        response_timeout: service.response_timeout,
        tls: service.tls.clone(),
        source_addresses: service.source_addresses.clone(),
        max_idle: service.max_idle,
        idle_timeout: service.idle_timeout,
        max_connections: service.max_connections,
    })
}

fn link_route(
    route: &Route,
    general: Option<&Cors>,
    services: &Services,
    problems: &mut Problems,
) -> Option<RoutePlan> {
    let matcher = route
        .matcher
        .as_ref()
        .and_then(|matcher| compile::matcher(matcher, problems));
    let filters: Vec<_> = route
        .filters
        .iter()
        .map(|filter| compile::filter(filter, matcher.as_ref(), problems))
        .collect();
    let target = route.target.as_ref().and_then(|target| match target {
        Target::Bridge(bridge) => link_bridge(bridge, services, problems),
        Target::Handler(handler) => link_handler(route, handler).map(TargetPlan::Handler),
        Target::Proxy(proxy) => link_proxy(proxy, services, problems).map(TargetPlan::Proxy),
    });
    let mut cors = link_cors(route.cors.as_ref(), general, problems);
    if matches!(target, Some(TargetPlan::Bridge(_) | TargetPlan::Handler(_))) {
        let cors = cors.get_or_insert_with(CorsPlan::same_origin);
        cors.only_sessions = true;
    }
    Some(RoutePlan {
        name: route.name.as_ref()?.value.as_str().into(),
        matcher: matcher?,
        filters: filters.into_iter().collect::<Option<Vec<_>>>()?.concat(),
        cors,
        limits: route.limits.clone(),
        on_expiry: route.on_expiry,
        revoke_on_disconnect: route.revoke_on_disconnect,
        session_cookie: route.session_cookie.clone(),
        target: target?,
    })
}

/// Which handlers there are is known where the gateway is started; what is said there if this one is
/// none of them is said of a place here.
fn link_handler(route: &Route, handler: &Handler) -> Option<HandlerPlan> {
    let Located { value, place } = handler.name.as_ref()?;
    let route = route.name.as_ref().map_or("", |name| &name.value);
    let message = format!(
        "no handler is registered as {}, where the route {} ends",
        Quoted(value),
        Quoted(route)
    );
    Some(HandlerPlan {
        name: value.as_str().into(),
        unregistered: Arc::new(place.say(Fault::new(message))),
        websocket: Arc::clone(&handler.websocket),
    })
}

fn link_bridge(
    bridge: &Bridge,
    services: &Services,
    problems: &mut Problems,
) -> Option<TargetPlan> {
    let linked = bridge.services.iter().map(|name| {
        Some(ProxyPlan {
            service: find_service(name, services, problems)?,
            // A service is called by its own name, as if it were called directly.
            host: HostPolicy::Rewrite,
            origin: OriginPolicy::Keep,
            websocket: Arc::default(),
        })
    });
    Some(TargetPlan::Bridge(Arc::new(BridgePlan {
        services: linked.collect::<Option<Vec<_>>>()?,
        ..bridge.plan.clone()
    })))
}

fn link_proxy(proxy: &Proxy, services: &Services, problems: &mut Problems) -> Option<ProxyPlan> {
    Some(ProxyPlan {
        service: find_service(proxy.service.as_ref()?, services, problems)?,
        host: proxy.host.clone(),
        origin: proxy.origin.clone(),
        websocket: Arc::clone(&proxy.websocket),
    })
}

fn find_service(
    name: &Located<String>,
    services: &Services,
    problems: &mut Problems,
) -> Option<Arc<ServicePlan>> {
    let Located { value, place } = name;
    let service = services.get(value);
    if service.is_none() {
        let mut fault = Fault::new(format!("there is no service {}", Quoted(value)));
        let mut names: Vec<_> = services.keys().map(String::as_str).collect();
        names.sort_unstable();
        fault.suggestion = did_you_mean(value, names)
            .or_else(|| Some(format!("write `services: {{ {value}: ... }}`")));
        problems.fault(place, fault);
    }
    service.cloned()
}

/// What holds for browsers, of what a route says and of what the gateway says; `None`: nothing.
fn link_cors(
    own: Option<&Cors>,
    general: Option<&Cors>,
    problems: &mut Problems,
) -> Option<CorsPlan> {
    let settings = |cors: Option<&Cors>| cors.and_then(|cors| cors.settings.clone());
    if own.is_some_and(|own| own.settings.is_none()) {
        return None;
    }
    let place = own.or(general).map(|cors| cors.place.clone())?;
    let is_any = [own, general].into_iter().flatten().any(|cors| cors.is_any);
    let combined = match (settings(own), settings(general)) {
        (Some(own), Some(general)) => own.combine(&general),
        (own, general) => own.or(general)?,
    };
    match combined.build() {
        Ok(policy) => Some(CorsPlan {
            policy: Arc::new(policy),
            is_any,
            only_sessions: false,
        }),
        Err(error) => {
            problems.add(&place, error.to_string());
            None
        }
    }
}

/// Reports each `require` that nobody could fulfil.
fn report_nobody(root: &Root, problems: &mut Problems) {
    if root.auth.is_some() {
        return;
    }
    let filters = root.routes.iter().flat_map(|route| &route.filters);
    let require = filters.filter(|filter| matches!(filter.value, Filter::Require(_)));
    for filter in require {
        let message = "nobody could come through: there is no `auth` to know users by";
        problems.suggest(
            &filter.place,
            message,
            "write `auth: { jwt: { jwks: https://... } }`",
        );
    }
}

fn report_no_publisher(root: &Root, problems: &mut Problems) {
    let kafka = root.admin.as_ref().and_then(|admin| admin.kafka.as_ref());
    let has_tokens = root.auth.as_ref().is_some_and(|auth| auth.jwt.is_some());
    if let Some(kafka) = kafka.filter(|_| !has_tokens) {
        let message = "nobody could publish: there is no `auth.jwt` to know callers by";
        let remedy = "write `auth: { jwt: { jwks: https://... } }`";
        problems.suggest(&kafka.place, message, remedy);
    }
}

/// Reports limits that are to hold on all nodes where nodes do not know of each other.
fn report_no_cluster(root: &Root, problems: &mut Problems) {
    if !matches!(root.cluster.store, StorePlan::Memory) {
        return;
    }
    let of_routes = root.routes.iter().flat_map(|route| &route.cluster_wide);
    for place in root.limits.cluster_wide.iter().chain(of_routes) {
        let message = "nobody could count on other nodes: there is no `cluster.redis`";
        let remedy =
            "write `cluster: { redis: { url: redis://localhost:6379 } }`, or `scope: node`";
        problems.suggest(place, message, remedy);
    }
}

/// One worker for each core that we may use.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}
