//! A session's facts for tests of the rooms beside.

use std::sync::Arc;

use http::{Extensions, Method};

use super::clock::Clock;
use super::facts::Facts;
use super::handle::Handle;
use super::id::{ConnectionId, SessionId};
use crate::auth::Principal;
use crate::body::Body;
use crate::config::{Config, Plan};
use crate::exchange::{Downstream, Exchange};
use crate::handler::Handlers;
use crate::headers::Headers;
use crate::router::{Captures, Path};
use crate::tls::Loaded;
use crate::upstream::Purpose;
use crate::worker::Core;

const YAML: &str = "version: 1\nlisteners: [{ name: public, bind: 127.0.0.1:0 }]\n\
    services: { up: { endpoints: ['http://127.0.0.1:9'] } }\n\
    routes: [{ name: all, match: { path: /** }, proxy: { service: up } }]\n";

/// A plan with one route.
pub(crate) fn plan() -> Plan {
    plan_with("", "")
}

/// The same, with more at its end and more of its route.
pub(crate) fn plan_with(more: &str, of_route: &str) -> Plan {
    let yaml = YAML.replace("{ name: all,", &format!("{{ name: all, {of_route}"));
    let plan = Config::from_yaml("test.yaml", &format!("{yaml}{more}"))
        .and_then(|config| config.resolve());
    plan.unwrap()
}

/// What a plan without handlers becomes.
pub(crate) fn built(plan: &Plan) -> Core {
    Core::build(
        plan,
        &Loaded::default(),
        &Handlers::default(),
        Arc::default(),
    )
    .unwrap()
}

/// The facts of a session at `/`.
pub(crate) fn facts() -> Facts {
    facts_in(&built(&plan()))
}

/// The same, of the only route of `core`.
pub(crate) fn facts_in(core: &Core) -> Facts {
    facts_of(core, None, [127, 0, 0, 1])
}

/// The same, of a user at an address.
pub(crate) fn facts_of(core: &Core, user: Option<&str>, client: [u8; 4]) -> Facts {
    let route = core.route(0);
    let service = route.target.service().unwrap();
    let lease = service.lease(Purpose::Session, &mut Vec::new());
    let peer = (client, 4000).into();
    let exchange = Exchange {
        method: Method::GET,
        path: Path::normalise(b"/").unwrap(),
        query: None,
        authority: None,
        headers: Headers::new(),
        body: Body::empty(),
        upgrade: true,
        downstream: Arc::new(Downstream {
            connection: ConnectionId::sample(),
            listener: "public".into(),
            peer,
            local: peer,
            secure: false,
            tls: None,
            trusted: false,
            limits: Arc::default(),
            redirect: None,
        }),
        client: peer.ip(),
        principal: user.map(|user| Arc::new(Principal::sample(user, &[]))),
        captures: Captures::default(),
        extensions: Extensions::new(),
    };
    let endpoint = lease.unwrap().unwrap().endpoint();
    Facts::new(route, &exchange, Some(endpoint), None)
}

/// The remote control of an open session on the only route of `core`.
pub(crate) fn handle_in(core: &Core, id: SessionId) -> Arc<Handle> {
    Arc::new(Handle::new(id, facts_in(core), &Clock::default(), 0))
}
