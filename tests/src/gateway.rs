//! The gateway under test. The only file that touches the crate `tidegate`.

use std::net::SocketAddr;
use std::sync::Arc;

use tidegate::bus::{EventBus, Subscription};
use tidegate::config::Config;
use tidegate::config::plan::{EndpointPlan, Plan, ProxyPlan, ServicePlan, ServiceTls, TargetPlan};
use tidegate::{Census, Gateway, GatewayBuilder};

use crate::admin::Admin;
use crate::request::Request;
use crate::time::{eventually, within};
use crate::tls::{Loopback, is_over_tls, is_spoken_at, must_be_spoken_at};
use crate::upstream::ScriptedUpstream;
use crate::wire::{Answer, Wire};

/// A running gateway with one listener; it stops when dropped.
#[derive(Debug)]
pub struct TestGateway {
    /// `None` once it is being stopped.
    gateway: Option<Gateway>,
    address: SocketAddr,
    /// Its certificates, where the cases are held over TLS.
    _loopback: Option<Arc<Loopback>>,
}

impl TestGateway {
    /// Starts a gateway of one worker from `yaml`: everything but `version`, `workers` and
    /// `listeners`, which are put before it. In it `UP` stands for `upstream`'s address.
    pub fn start(upstream: &ScriptedUpstream, yaml: &str) -> Self {
        Self::start_among(&[("UP", upstream.address())], yaml)
    }

    /// As [`Self::start`], with several names for addresses. A name must not be part of another.
    pub fn start_among(addresses: &[(&str, SocketAddr)], yaml: &str) -> Self {
        Self::from_file(&whole_file(addresses, yaml))
    }

    /// As [`Self::start`], or says why not.
    pub fn try_start(upstream: &ScriptedUpstream, yaml: &str) -> Result<Self, String> {
        Self::try_from_file(&whole_file(&[("UP", upstream.address())], yaml))
    }

    /// Starts a gateway from a whole file.
    pub fn from_file(yaml: &str) -> Self {
        Self::try_from_file(yaml).unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"))
    }

    /// Starts a gateway from a whole file, or says why not.
    pub fn try_from_file(yaml: &str) -> Result<Self, String> {
        // Its files are there until they have been read.
        let _loopback = is_over_tls().then(Loopback::now);
        Self::from_plan(plan(yaml)?)
    }

    /// As [`Self::start`], with what an embedder changes about the plan before it runs.
    pub fn embedded(
        upstream: &ScriptedUpstream,
        yaml: &str,
        change: impl FnOnce(&mut Plan),
    ) -> Self {
        let yaml = whole_file(&[("UP", upstream.address())], yaml);
        let _loopback = is_over_tls().then(Loopback::now);
        let started = plan(&yaml).and_then(|mut plan| {
            change(&mut plan);
            Self::from_plan(plan)
        });
        started.unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"))
    }

    /// As [`Self::start`], one of several that share `bus`, as nodes do.
    pub fn on_bus(upstream: &ScriptedUpstream, yaml: &str, bus: Arc<dyn EventBus>) -> Self {
        let yaml = whole_file(&[("UP", upstream.address())], yaml);
        Self::hosting(&yaml, |builder| builder.bus(bus))
    }

    /// A gateway without services, with what an embedder `registers`.
    pub fn handling(yaml: &str, register: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        Self::try_handling(yaml, register).unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"))
    }

    /// As [`Self::handling`], or says why not.
    pub fn try_handling(
        yaml: &str,
        register: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Result<Self, String> {
        let _loopback = is_over_tls().then(Loopback::now);
        Self::from_builder(plan(&whole_file(&[], yaml))?, register)
    }

    /// A gateway from a whole file, with what an embedder `registers`.
    pub fn hosting(yaml: &str, register: impl FnOnce(GatewayBuilder) -> GatewayBuilder) -> Self {
        let started = plan(yaml).and_then(|plan| Self::from_builder(plan, register));
        started.unwrap_or_else(|error| panic!("{error}\nin\n{yaml}"))
    }

    fn from_plan(plan: Plan) -> Result<Self, String> {
        Self::from_builder(plan, |builder| builder)
    }

    fn from_builder(
        plan: Plan,
        register: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> Result<Self, String> {
        let loopback = is_over_tls().then(Loopback::now);
        let is_tls = plan.listeners[0].tls.is_some();
        let gateway = register(Gateway::builder(plan)).start();
        let gateway = gateway.map_err(|error| error.to_string())?;
        let (_, bound) = &gateway.addresses()[0];
        // A unix socket has none; cases that have one know its path.
        let address = bound.address().unwrap_or(([127, 0, 0, 1], 0).into());
        is_spoken_at(address, is_tls && loopback.is_some());
        Ok(Self {
            _loopback: loopback,
            gateway: Some(gateway),
            address,
        })
    }

    /// A gateway that sends everything to `upstream`, by one route of the defaults.
    pub fn before(upstream: &ScriptedUpstream) -> Self {
        Self::before_with(upstream, "", "")
    }

    /// As [`Self::before`], with more keys of the service (`handshake_timeout: 1s`) and of the
    /// route's `proxy` (`host: rewrite`), each in YAML's flow style.
    pub fn before_with(upstream: &ScriptedUpstream, service: &str, proxy: &str) -> Self {
        let yaml = format!(
            "services:\n  up: {{ endpoints: ['http://UP'], {service} }}\n\
             routes:\n  - name: all\n    match: {{ path: /** }}\n    \
             proxy: {{ service: up, {proxy} }}\n"
        );
        Self::start(upstream, &yaml)
    }

    /// A gateway with these routes, where the service `a` is the upstream's path `/a`, and so on
    /// to `d`: the target that the upstream sees tells which route was taken.
    pub fn routing(upstream: &ScriptedUpstream, routes: &str) -> Self {
        let mut yaml = "services:\n".to_owned();
        for service in ["a", "b", "c", "d"] {
            yaml.push_str(&format!(
                "  {service}: {{ endpoints: ['http://UP/{service}'] }}\n"
            ));
        }
        yaml.push_str("routes:\n");
        yaml.push_str(routes);
        Self::start(upstream, &yaml)
    }

    /// As [`Self::start`], with these keys of the listener's `limits` (`head_timeout: 1s`).
    pub fn listening(upstream: &ScriptedUpstream, limits: &str, yaml: &str) -> Self {
        let yaml = whole_file(&[("UP", upstream.address())], yaml);
        let bind = "bind: 127.0.0.1:0";
        Self::from_file(&yaml.replace(bind, &format!("{bind}, limits: {{ {limits} }}")))
    }

    /// As [`Self::before`], with these keys of the listener's `limits`.
    pub fn listening_before(upstream: &ScriptedUpstream, limits: &str) -> Self {
        let yaml = "services: { up: { endpoints: [http://UP] } }\n\
            routes: [{ name: all, match: { path: /** }, proxy: { service: up } }]\n";
        Self::listening(upstream, limits, yaml)
    }

    /// Opens its access log's file anew.
    pub fn reopen_log(&self) {
        let log = self.gateway.as_ref().and_then(Gateway::access_log);
        log.unwrap().reopen();
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its admin listener.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin(
            self.gateway
                .as_ref()
                .and_then(Gateway::admin_address)
                .unwrap(),
        )
    }

    /// Stops it, while the case goes on; returns when all of it has ended.
    pub async fn stop(mut self) {
        let gateway = self.gateway.take();
        let stopping = tokio::task::spawn_blocking(|| gateway.map(Gateway::stop));
        within("the gateway to stop", stopping).await.unwrap();
    }

    /// Begins its drain.
    pub fn drain(&self) {
        self.gateway.as_ref().unwrap().drain();
    }

    /// Waits until its drain is over; how much was cut.
    pub async fn drained(mut self) -> usize {
        let gateway = self.gateway.take().unwrap();
        let waiting = tokio::task::spawn_blocking(|| gateway.wait());
        within("the drain to be over", waiting).await.unwrap()
    }

    /// Drops it, which cuts whatever is under way; returns when all of it has ended.
    pub async fn cut(mut self) {
        let gateway = self.gateway.take();
        let cutting = tokio::task::spawn_blocking(|| drop(gateway));
        within("the gateway to end", cutting).await.unwrap();
    }

    /// What carries its events.
    #[must_use]
    pub fn bus(&self) -> &dyn EventBus {
        &**self.gateway.as_ref().unwrap().bus()
    }

    /// The events of sessions and of users from now on.
    #[must_use]
    pub fn events(&self) -> Subscription {
        let topics = self.gateway.as_ref().unwrap().topics();
        let topics = [
            &*topics.sessions,
            &*topics.user_connect,
            &*topics.user_disconnect,
        ];
        self.bus().subscribe_to(&topics)
    }

    /// How many users are online.
    #[must_use]
    pub fn users(&self) -> usize {
        self.census().users
    }

    fn census(&self) -> Census {
        self.gateway.as_ref().map(Gateway::census).unwrap()
    }

    /// A new connection to it.
    pub async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// Sends `request` on a connection of its own, and reads the answer.
    pub async fn ask(&self, request: &Request) -> Answer {
        self.connect().await.ask(request).await
    }

    /// Opens a session through the gateway with `upstream`: the client's end and the upstream's.
    pub async fn open(&self, upstream: &mut ScriptedUpstream) -> (Wire, Wire) {
        let mut client = self.connect().await;
        client.request(&Request::handshake("/")).await;
        let mut peer = upstream.accept().await;
        peer.accept_handshake().await;
        let answer = client.read_head().await;
        assert_eq!(answer.status(), 101, "{answer:?}");
        (client, peer)
    }

    /// How many sessions it has.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.census().sessions
    }

    /// How many idle connections to upstreams it keeps.
    #[must_use]
    pub fn upstream_idle(&self) -> usize {
        self.census().upstream_idle
    }

    /// How many tasks it runs.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.census().tasks
    }

    /// How many panics it had.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.census().panics
    }

    /// Waits until nothing of clients is left in it.
    pub async fn is_empty(&self) {
        eventually("the gateway holds no connection and no session", || {
            let census = self.census();
            census.connections == 0 && census.sessions == 0
        })
        .await;
    }
}

impl Drop for TestGateway {
    /// It says goodbye to its sessions, whose peers run in the very thread that drops it: so it is
    /// left to end by itself.
    fn drop(&mut self) {
        is_spoken_at(self.address, false);
        if let Some(gateway) = self.gateway.take() {
            std::thread::spawn(|| gateway.stop());
        }
    }
}

fn plan(yaml: &str) -> Result<Plan, String> {
    let plan = Config::from_yaml("test.yaml", yaml).and_then(|config| config.resolve());
    let mut plan = plan.map_err(|errors| errors.to_string())?;
    if !yaml.contains("access_log") {
        plan.access_log = None; // the cases' output is not for it
    }
    if is_over_tls() {
        over_tls(&mut plan);
    }
    Ok(plan)
}

/// Puts TLS on the first listener, and before every endpoint where it is spoken.
fn over_tls(plan: &mut Plan) {
    let loopback = Loopback::now();
    plan.listeners[0].tls = Some(Arc::new(loopback.listener()));
    // Nobody else holds them yet, but the routes hold them too.
    let services: Vec<_> = plan
        .services
        .iter()
        .map(|one| Arc::new(secured(one)))
        .collect();
    for route in &mut plan.routes {
        let secured = |proxy: &mut ProxyPlan| {
            let same = services.iter().find(|one| one.name == proxy.service.name);
            proxy.service = Arc::clone(same.unwrap());
        };
        match &mut route.target {
            TargetPlan::Bridge(bridge) => {
                let bridge = Arc::make_mut(bridge);
                bridge.services.iter_mut().for_each(secured);
            }
            TargetPlan::Handler(_) => {}
            TargetPlan::Proxy(proxy) => secured(proxy),
        }
    }
    plan.services = services;
    if let Some(jwks) = plan.auth.jwt.as_mut().and_then(|jwt| jwt.jwks.as_mut()) {
        jwks.service = Arc::new(secured(&jwks.service));
    }
}

fn secured(service: &ServicePlan) -> ServicePlan {
    let endpoints = service.endpoints.iter().map(|endpoint| {
        let address = endpoint
            .authority
            .to_string()
            .replace("localhost", "127.0.0.1");
        let address = address.parse();
        EndpointPlan {
            is_tls: endpoint.is_tls || address.is_ok_and(must_be_spoken_at),
            ..endpoint.clone()
        }
    });
    ServicePlan {
        endpoints: endpoints.collect(),
        tls: ServiceTls {
            is_insecure: true,
            ..service.tls.clone()
        },
        ..service.clone()
    }
}

fn whole_file(addresses: &[(&str, SocketAddr)], yaml: &str) -> String {
    let mut text = "version: 1\nworkers: 1\n\
        listeners: [{ name: public, bind: 127.0.0.1:0 }]\n"
        .to_owned();
    text.push_str(yaml);
    for (name, address) in addresses {
        text = text.replace(name, &address.to_string());
    }
    text
}
