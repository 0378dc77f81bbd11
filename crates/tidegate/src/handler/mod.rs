//! Handlers: code of the embedder's at which a route ends.

mod io;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

pub use tidegate_ws::{BoxError, WebSocketHandler, WebSocketSession};
use tidegate_ws::DynHandler;

use crate::config::plan::{HandlerPlan, Plan, TargetPlan};
use crate::config::{ConfigError, ConfigErrors, did_you_mean};
use crate::exchange::Exchange;
use crate::upgrade::{Decision, Opening, Wish};
use crate::worker::Worker;

/// The handlers that an embedder has registered.
#[derive(Default)]
pub(crate) struct Handlers(BTreeMap<Arc<str>, Arc<dyn DynHandler>>);

impl Handlers {
    /// Adds one; whether its name was free.
    pub(crate) fn register(&mut self, name: &str, handler: impl WebSocketHandler) -> bool {
        self.0.insert(name.into(), Arc::new(handler)).is_none()
    }

    /// The target that is planned for the route at `place`.
    pub(crate) fn build(&self, plan: &HandlerPlan, place: usize) -> Result<Handler, ConfigError> {
        let code = Arc::clone(self.find(plan)?);
        let plan = plan.clone();
        Ok(Handler { plan, code, place })
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

    fn find(&self, plan: &HandlerPlan) -> Result<&Arc<dyn DynHandler>, ConfigError> {
        self.0.get(&plan.name).ok_or_else(|| {
            let names = self.0.keys().map(|name| &**name);
            ConfigError {
                suggestion: did_you_mean(&plan.name, names)
                    .or_else(|| Some("none is: a program that embeds the gateway registers them".into())),
                ..(*plan.unregistered).clone()
            }
        })
    }
}

fn planned(plan: &Plan) -> impl Iterator<Item = &HandlerPlan> {
    plan.routes.iter().filter_map(|route| match &route.target {
        TargetPlan::Handler(handler) => Some(handler),
        TargetPlan::Bridge(_) | TargetPlan::Proxy(_) => None,
    })
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A route's handler: its plan, and the code that is called.
pub(crate) struct Handler {
    pub(crate) plan: HandlerPlan,
    code: Arc<dyn DynHandler>,
    /// The route's place.
    place: usize,
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handler({})", self.plan.name)
    }
}

/// A handler that has agreed to a session.
#[derive(Debug)]
pub(crate) struct Agreed;

impl Handler {
    pub(crate) fn decide(&self, worker: &Arc<Worker>, exchange: &mut Exchange, wish: &Wish) -> Decision {
        todo!()
    }
}
impl Agreed {
    pub(crate) async fn begin(self: Box<Self>, opening: Opening) {
        todo!()
    }
}
