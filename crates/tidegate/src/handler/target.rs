//! The handlers that are registered, and a route's own.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;
use tidegate_ws::deflate;
use tidegate_ws::handshake::Extension;
use tidegate_ws::session::KeepAlive;
use tidegate_ws::{AnyHandler, HandshakeInfo, SessionConfig, WebSocketHandler};

use super::handshake::{self, Selector};
use super::life::Life;
use crate::config::plan::{HandlerLimits, HandlerPlan, Plan, TargetPlan};
use crate::config::{ConfigError, ConfigErrors, did_you_mean};
use crate::exchange::Exchange;
use crate::headers::Headers;
use crate::pipeline::FrameFilters;
use crate::push::mailbox::Mailbox;
use crate::session::facts::Facts;
use crate::session::{Cause, Ending};
use crate::upgrade::{Acceptance, Decision, Partner, Wish};
use crate::worker::Worker;

/// The handlers that an embedder has registered.
#[derive(Default)]
pub(crate) struct Handlers(BTreeMap<Arc<str>, Registered>);

struct Registered {
    code: AnyHandler,
    attributes: Option<Selector>,
}

impl Handlers {
    /// Adds one; whether its name was free.
    pub(crate) fn register(&mut self, name: &str, handler: impl WebSocketHandler) -> bool {
        let registered = Registered {
            code: AnyHandler::new(handler),
            attributes: None,
        };
        self.0.insert(name.into(), registered).is_none()
    }

    /// Says which attributes the handler of that name is given; whether there is one.
    pub(crate) fn select(&mut self, name: &str, wanted: Selector) -> bool {
        let registered = self.0.get_mut(name);
        registered.map(|it| it.attributes = Some(wanted)).is_some()
    }

    /// The target that is planned for the route at `place`.
    pub(crate) fn build(&self, plan: &HandlerPlan, place: usize) -> Result<Handler, ConfigError> {
        let registered = self.find(plan)?;
        Ok(Handler {
            code: registered.code.clone(),
            attributes: registered.attributes.clone(),
            config: Arc::new(config(&plan.websocket)),
            plan: plan.clone(),
            place,
        })
    }

    /// Errors with each route that ends at a handler which is not here.
    pub(crate) fn expect_all(&self, plan: &Plan) -> Result<(), ConfigErrors> {
        let missing = planned(plan).filter_map(|handler| self.find(handler).err());
        ConfigErrors::none_of(missing.collect())
    }

    /// Those at which no route ends.
    pub(crate) fn unused<'h>(&'h self, plan: &'h Plan) -> impl Iterator<Item = &'h str> {
        let is_used = |name: &str| planned(plan).any(|handler| &*handler.name == name);
        let names = self.0.keys().map(|name| &**name);
        names.filter(move |name| !is_used(name))
    }

    fn find(&self, plan: &HandlerPlan) -> Result<&Registered, ConfigError> {
        self.0.get(&plan.name).ok_or_else(|| {
            let names = self.0.keys().map(|name| &**name);
            let none = "there is none: a program that embeds the gateway registers them";
            ConfigError {
                suggestion: did_you_mean(&plan.name, names).or_else(|| Some(none.to_owned())),
                ..(*plan.unregistered).clone()
            }
        })
    }
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

fn planned(plan: &Plan) -> impl Iterator<Item = &HandlerPlan> {
    plan.routes.iter().filter_map(|route| match &route.target {
        TargetPlan::Handler(handler) => Some(handler),
        TargetPlan::Bridge(_) | TargetPlan::Proxy(_) => None,
    })
}

/// How the sessions of a route behave. Silence and age are the gateway's own to judge.
pub(crate) fn config(limits: &HandlerLimits) -> SessionConfig {
    let mut config = SessionConfig::default();
    config.limits.max_message = limits.max_message;
    config.limits.max_frame = limits.max_frame.unwrap_or(limits.max_message);
    config.limits.max_control_per_second = limits.max_control_frames.unwrap_or(u32::MAX);
    config.limits.control_flood_code = Ending::of_handler(Cause::RateLimited).to_client;
    config.idle_timeout = None;
    config.keep_alive = limits.keep_alive.map(|keep_alive| KeepAlive {
        every: keep_alive.interval,
        wait: keep_alive.timeout,
    });
    config.close_timeout = limits.close_timeout;
    config.write_timeout = limits.write_timeout;
    config.handler_grace = limits.close_timeout;
    config.deflate.clone_from(&limits.deflate);
    config
}

/// A route's handler: its plan, and the code that is called.
pub(crate) struct Handler {
    pub(crate) plan: HandlerPlan,
    code: AnyHandler,
    attributes: Option<Selector>,
    config: Arc<SessionConfig>,
    /// The route's place.
    place: usize,
}

/// A handler that has agreed to a session.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) code: AnyHandler,
    pub(crate) config: Arc<SessionConfig>,
    pub(crate) limits: Arc<HandlerLimits>,
    /// What its handler is told of the handshake, where it looks.
    pub(crate) info: Option<Box<HandshakeInfo>>,
    pub(crate) deflate: Option<deflate::Agreed>,
    /// Where pushes for the session are left, where it takes any.
    pub(crate) mailbox: Option<Arc<Mailbox>>,
    /// Where its code says itself which messages count.
    pub(crate) life: Option<Arc<Life>>,
    /// How long calls that are under way in it are waited for beyond its age, where it has any.
    pub(crate) calls: Option<Duration>,
}

impl Handler {
    /// Agrees to the WebSocket, with the first of the subprotocols that are offered which it speaks.
    pub(crate) fn decide(
        &self,
        worker: &Arc<Worker>,
        exchange: &Exchange,
        wish: &Wish,
    ) -> Decision {
        let spoken = self.code.subprotocols();
        let mut offered = wish.protocols.iter();
        let chosen = offered.find(|offer| spoken.contains(&offer.as_str()));
        let route = worker.route(self.place);
        // It was offered, so it is a token.
        let subprotocol = chosen.and_then(|one| HeaderValue::from_str(one).ok());
        let (deflate, answer) = agree_to_deflate(&self.config, wish).unzip();
        let mut info = handshake::info(exchange, &route.name, chosen.map(String::as_str));
        handshake::select(&mut info, exchange, self.attributes.as_ref());
        let facts = Facts::new(route, exchange, None, subprotocol.as_ref());
        Decision::Accept(Box::new(Acceptance {
            key: wish.key,
            headers: Headers::new(),
            subprotocol,
            extensions: answer.into_iter().collect(),
            partner: Partner::Handler(Box::new(Agreed {
                code: self.code.clone(),
                config: Arc::clone(&self.config),
                limits: Arc::clone(&self.plan.websocket),
                info: Some(Box::new(info)),
                deflate,
                mailbox: None,
                life: None,
                calls: None,
            })),
            filters: FrameFilters::default(),
            route: Arc::clone(worker.meters.route(self.place)),
            facts,
            principal: exchange.principal.clone(),
        }))
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handler")
            .field("plan", &self.plan)
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What is agreed of permessage-deflate, and how the 101 says so.
pub(crate) fn agree_to_deflate(
    config: &SessionConfig,
    wish: &Wish,
) -> Option<(deflate::Agreed, HeaderValue)> {
    let config = config.deflate.as_ref()?;
    let offers = wish.extensions.iter();
    let offers: Vec<_> = offers.filter_map(|one| Extension::parse(one)).collect();
    let (agreed, answer) = deflate::accept(&offers, config)?;
    Some((agreed, HeaderValue::from_str(&answer).ok()?))
}
