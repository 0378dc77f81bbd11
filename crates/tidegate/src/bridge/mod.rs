//! The bridge: calls over HTTP that come as envelopes through one WebSocket, and answers that go back
//! the same way. The wire format stands in `docs/bridge.md`.
//!
//! `session` reads frames and keeps the calls that are under way; `envelope` says what a frame means,
//! `address` whom it means, `call` makes the call, and `answer` or `stream` tells what came of it.

mod address;
mod answer;
mod call;
mod conversation;
mod envelope;
mod events;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod headers;
mod identity;
mod members;
mod pace;
pub(crate) mod presence;
mod problem;
mod push;
mod rooms;
mod session;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;

use http::HeaderValue;
use serde_json::json;
use tidegate_ws::{AnyHandler, HandshakeInfo, SessionConfig, WebSocketSession};

use self::call::Caller;
use self::identity::Signer;
use self::problem::Problem;
use crate::config::plan::{BridgePlan, ForwardAuth, RoutePlan};
use crate::exchange::Exchange;
use crate::handler::{self, Agreed};
use crate::headers::{FieldName, Headers};
use crate::limits::Users;
use crate::pipeline::{FrameFilters, RequirePlan};
use crate::proxy::Proxy;
use crate::push::directory::Recipient;
use crate::push::mailbox::Mailbox;
use crate::session::facts::Facts;
use crate::upgrade::{Acceptance, Decision, Partner, Wish};
use crate::worker::Worker;

/// The protocol of `docs/bridge.md`, as a subprotocol.
const VERSION_1: &str = "tidegate.v1.json";
/// The old protocol by name; it is also what a client without subprotocols speaks.
const LEGACY: &str = "tidegate.legacy";
/// What works, in the words of the protocol.
const FEATURES: [&str; 5] = ["cancel", "stream", "credit", "batch", "push"];

/// A route's bridge.
#[derive(Debug)]
pub(crate) struct Bridge {
    plan: Arc<BridgePlan>,
    /// How its sessions behave.
    config: Arc<SessionConfig>,
    /// The route's place.
    place: usize,
    /// What `baseUrl` may name.
    services: HashMap<Arc<str>, Arc<Proxy>>,
    /// Tells services who calls, where the plan says so.
    signer: Option<Signer>,
    users: Users,
    /// What its route asks of who opens a session; `None`: that is not all.
    asked: Option<Vec<RequirePlan>>,
}

impl Bridge {
    pub(crate) fn new(
        plan: Arc<BridgePlan>,
        (place, route): (usize, &RoutePlan),
        services: Vec<Proxy>,
    ) -> Self {
        let named = |proxy: Proxy| (Arc::clone(&proxy.service.plan.name), Arc::new(proxy));
        Self {
            config: Arc::new(handler::config(&plan.websocket)),
            signer: match &plan.forward_auth {
                ForwardAuth::SignedHeaders(secret) => Some(Signer::new(secret)),
                ForwardAuth::Bearer | ForwardAuth::None => None,
            },
            asked: presence::asked_by(route),
            users: Users::new(plan.max_in_flight_per_user),
            plan,
            place,
            services: services.into_iter().map(named).collect(),
        }
    }

    /// Agrees to the WebSocket, in the first of the protocols that are offered which it speaks.
    pub(crate) fn decide(
        self: &Arc<Self>,
        worker: &Arc<Worker>,
        exchange: &Exchange,
        wish: &Wish,
    ) -> Decision {
        let mut offered = wish.protocols.iter();
        let chosen = offered.find(|offer| [VERSION_1, LEGACY].contains(&offer.as_str()));
        let version_1 = chosen.is_some_and(|chosen| chosen == VERSION_1);
        let subprotocol = chosen.and_then(|one| HeaderValue::from_str(one).ok());
        let (deflate, answer) = handler::agree_to_deflate(&self.config, wish).unzip();
        let route = worker.route(self.place);
        let facts = Facts::new(route, exchange, None, subprotocol.as_ref());
        let caller = Caller::new(Arc::clone(self), Arc::clone(worker), exchange, version_1);
        let caller = Arc::new(caller);
        let mailbox = Some(Arc::clone(caller.recipient.mailbox()));
        let code = AnyHandler::new(move |session: WebSocketSession| {
            let caller = Arc::clone(&caller);
            async move { session::serve(&caller, session, version_1).await }
        });
        Decision::Accept(Box::new(Acceptance {
            key: wish.key,
            headers: Headers::new(),
            subprotocol,
            extensions: answer.into_iter().collect(),
            partner: Partner::Handler(Box::new(Agreed {
                code,
                config: Arc::clone(&self.config),
                limits: Arc::clone(&self.plan.websocket),
                info: HandshakeInfo::default(),
                deflate,
                mailbox,
            })),
            filters: FrameFilters::default(),
            route: Arc::clone(worker.meters.route(self.place)),
            facts,
            principal: exchange.principal.clone(),
        }))
    }

    /// The service of that name; nothing but a look-up decides whether there is one.
    fn service(&self, name: &str) -> Result<Arc<Proxy>, Problem> {
        self.services
            .get(name)
            .cloned()
            .ok_or_else(|| Problem::service_not_allowed("no service of this bridge has that name"))
    }
}

impl Caller {
    /// Whose calls these are, as its handshake said.
    pub(crate) fn new(
        bridge: Arc<Bridge>,
        worker: Arc<Worker>,
        exchange: &Exchange,
        version_1: bool,
    ) -> Self {
        let mut headers = Headers::new();
        // Copied, because a piece of the request's head would keep all of it for as long as the session.
        let mut copy = |name: &str| {
            for field in exchange.headers.iter().filter(|field| field.name.is(name)) {
                let name = FieldName::parse(field.name.as_str().to_owned());
                let value = HeaderValue::from_bytes(field.value.as_bytes());
                if let (Ok(name), Ok(mut value)) = (name, value) {
                    value.set_sensitive(field.value.is_sensitive());
                    headers.append(name, value);
                }
            }
        };
        for name in &bridge.plan.headers.from_handshake {
            copy(name);
        }
        if matches!(bridge.plan.forward_auth, ForwardAuth::Bearer) {
            copy("authorization");
        }
        if let Ok(connection) = HeaderValue::from_str(&exchange.downstream.connection.to_string()) {
            headers.append(FieldName::from_static("X-Tidegate-Conn"), connection);
        }
        let principal = exchange.principal.clone();
        let user = principal.as_ref().map(|principal| principal.user());
        let mailbox = Mailbox::new(Arc::clone(&bridge.plan), version_1);
        let recipient = Recipient::new(worker.push(), mailbox);
        if let Some(principal) = &principal {
            recipient.identify(principal.identity());
        }
        Self {
            recipient,
            calls: user.and_then(|user| bridge.users.gauge(user)),
            principal,
            bridge,
            worker,
            downstream: Arc::clone(&exchange.downstream),
            client: exchange.client,
            authority: exchange.authority.clone(),
            headers,
        }
    }

    /// The first frame of a connection of version 1.
    fn welcome(&self, session: &str) -> String {
        let plan = &self.bridge.plan;
        let mut welcome = json!({
            "op": "welcome",
            "v": 1,
            "conn": self.downstream.connection.to_string(),
            "session": session,
            "limits": { "message": plan.websocket.max_message, "inFlight": plan.max_in_flight },
            "features": FEATURES.into_iter().chain(self.room_features()).collect::<Vec<_>>(),
            "server": { "name": "tidegate", "version": env!("CARGO_PKG_VERSION") },
        });
        if let Some(interval) = plan.ping_interval {
            let interval = interval.as_millis() as u64;
            welcome["ping"] = json!({ "interval": interval, "timeout": 10_000 });
        }
        if let Some(principal) = &self.principal {
            welcome["user"] = principal.user().into();
            if let Some(end) = principal.claims().get("exp") {
                welcome["exp"] = end.clone();
            }
        }
        welcome.to_string()
    }
}
