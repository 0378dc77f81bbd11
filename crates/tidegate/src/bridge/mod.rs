//! The bridge: calls over HTTP that come as envelopes through one WebSocket, and answers that go back
//! the same way. The wire format stands in `docs/bridge.md`.
//!
//! `session` reads frames and keeps the calls that are under way; `envelope` says what a frame means,
//! `address` whom it means, `call` makes the call, and `answer` or `stream` tells what came of it.

mod address;
mod alarm;
mod answer;
mod call;
mod conversation;
mod envelope;
mod events;
mod faults;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod goaway;
mod headers;
mod identity;
mod members;
mod ops;
mod pace;
mod post;
pub(crate) mod presence;
mod problem;
mod push;
mod refusal;
mod resume;
mod rooms;
mod session;
mod stream;
mod token;
mod trace;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use http::{Extensions, HeaderValue};
use serde_json::json;
use tidegate_ws::{AnyHandler, BoxError, SessionConfig, WebSocketHandler, WebSocketSession};

use self::call::Caller;
use self::identity::Signer;
use self::problem::Problem;
use self::resume::CameBack;
use self::token::{Opened, Who};
use crate::body::Body;
use crate::config::plan::{BridgePlan, ForwardAuth, RoutePlan};
use crate::exchange::Exchange;
use crate::forwarded;
use crate::handler::{self, Agreed};
use crate::headers::{FieldName, Headers, InvalidFieldName};
use crate::limits::Users;
use crate::pipeline::{FrameFilters, RequirePlan, SaysLater};
use crate::proxy::Proxy;
use crate::push::cursor::Cursors;
use crate::push::mailbox::Mailbox;
use crate::push::resume::Recipient;
use crate::router::Captures;
use crate::session::facts::Facts;
use crate::upgrade::{Acceptance, Decision, Partner, Wish};
use crate::worker::Worker;

/// The protocol of `docs/bridge.md`, as a subprotocol.
const VERSION_1: &str = "tidegate.v1.json";
/// The old protocol by name; it is also what a client without subprotocols speaks.
const LEGACY: &str = "tidegate.legacy";
/// What works, in the words of the protocol.
const FEATURES: [&str; 7] = [
    "cancel", "stream", "credit", "batch", "push", "auth", "resume",
];

/// Whether a handshake is of a client that can say who it is in its first message.
pub(crate) fn may_say_hello(exchange: &Exchange) -> bool {
    let mut offered = exchange.headers.list("sec-websocket-protocol");
    let spoken = [VERSION_1.as_bytes(), LEGACY.as_bytes()];
    exchange.upgrade && offered.find(|one| spoken.contains(one)) == Some(VERSION_1.as_bytes())
}

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
    /// What its clients come back by from other nodes, where they can.
    cursors: Option<Cursors>,
    /// What its route asks of who opens a session; `None`: that is not all.
    asked: Option<Vec<RequirePlan>>,
}

impl Bridge {
    pub(crate) fn new(
        plan: Arc<BridgePlan>,
        (place, route): (usize, &RoutePlan),
        services: Vec<Proxy>,
        topic: &str,
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
            cursors: match plan.resume {
                Some(_) => Cursors::new(plan.replay.key.as_ref(), topic),
                None => None,
            },
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
        let (bridge, worker_of) = (Arc::clone(self), Arc::clone(worker));
        let caller = Caller::new(bridge, worker_of, exchange, version_1);
        let mailbox = Some(caller.recipient.mailbox());
        let life = Arc::clone(&caller.life);
        let code = AnyHandler::new(caller);
        Decision::Accept(Box::new(Acceptance {
            key: wish.key,
            headers: Headers::new(),
            subprotocol,
            extensions: answer.into_iter().collect(),
            partner: Partner::Handler(Box::new(Agreed {
                code,
                config: Arc::clone(&self.config),
                limits: Arc::clone(&self.plan.websocket),
                info: None,
                deflate,
                mailbox,
                life: Some(life),
                calls: Some(self.plan.timeout),
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

/// A handshake, for who is asked about it later.
fn request_of(exchange: &Exchange) -> Exchange {
    Exchange {
        method: exchange.method.clone(),
        path: exchange.path.clone(),
        query: exchange.query.clone(),
        authority: exchange.authority.clone(),
        headers: exchange.headers.clone_with_room(0),
        body: Body::empty(),
        upgrade: exchange.upgrade,
        downstream: Arc::clone(&exchange.downstream),
        client: exchange.client,
        captures: Captures::default(),
        principal: None,
        extensions: Extensions::new(),
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
                let name = kept_name(&field.name);
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
        // As with a request over HTTP: who the client is, as trusted proxies and our own TLS have told.
        let told = exchange.headers.iter().map(|field| field.name.as_str());
        let told = told.filter(|name| forwarded::tells_of_client(name));
        let named = &bridge.plan.headers.from_handshake;
        let told: BTreeSet<_> = told.map(|name| name.to_ascii_lowercase().into()).collect();
        for name in told.iter().filter(|name| !named.contains(*name)) {
            copy(name);
        }
        let who = Who::of_handshake(&bridge, exchange);
        if token::is_told(&bridge) && !who.tells_bearer() {
            copy("authorization");
        }
        headers.shrink();
        let mailbox = Mailbox::new(Arc::clone(&bridge.plan), version_1);
        let recipient = Recipient::new(worker.push(), mailbox);
        if let Some(principal) = &exchange.principal {
            recipient.identify(principal.identity());
        }
        let says_later = exchange.extensions.get::<SaysLater>().is_some();
        Self {
            version_1,
            held: AtomicU64::new(0),
            life: Arc::default(),
            recipient,
            opened: Mutex::new(Some(Box::new(Opened {
                who,
                handshake: says_later.then(|| request_of(exchange)),
            }))),
            bridge,
            worker,
            downstream: Arc::clone(&exchange.downstream),
            client: exchange.client,
            authority: exchange.authority.clone(),
            headers,
        }
    }

    /// The first frame of a connection of version 1.
    fn welcome(&self, session: &str, who: &Who, came: &CameBack) -> String {
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
        if let Some(principal) = &who.principal {
            welcome["user"] = principal.user().into();
            if let Some(end) = principal.claim("exp") {
                welcome["exp"] = end;
            }
        }
        if let Some(resume) = self.resumable(who, came) {
            welcome["resume"] = resume;
        }
        welcome.to_string()
    }
}

impl WebSocketHandler for Caller {
    fn handle(
        &self,
        session: WebSocketSession,
    ) -> impl Future<Output = Result<(), BoxError>> + Send {
        session::serve(self, session)
    }
}

/// A name as it was written, in bytes of its own; those of nearly every session are there once.
fn kept_name(name: &FieldName) -> Result<FieldName, InvalidFieldName> {
    let usual = ["Accept-Language", "Authorization"];
    let usual = usual.into_iter().find(|usual| *usual == name.as_str());
    let usual = usual.map(FieldName::from_static);
    usual.map_or_else(|| FieldName::parse(name.as_str().to_owned()), Ok)
}
