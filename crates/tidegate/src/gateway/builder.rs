//! A gateway before its start: a plan, and what an embedder puts beside it.

use std::sync::Arc;

use tidegate_ws::WebSocketHandler;

use super::{Gateway, StartError};
use crate::bus::{EventBus, MemoryBus};
use crate::config::Plan;
use crate::handler::Handlers;
use crate::pipeline::{Filter, FilterPlan};

/// A gateway that is to be started with code of the embedder's.
///
/// ```
/// use tidegate::Gateway;
/// use tidegate::config::Config;
/// use tidegate::handler::WebSocketSession;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let text = "
/// version: 1
/// listeners: { name: public, bind: 127.0.0.1:0 }
/// routes: { name: echo, match: { path: /echo }, handler: echo }
/// access_log: none
/// ";
/// let plan = Config::from_yaml("gateway.yaml", text)?.resolve()?;
/// let gateway = Gateway::builder(plan)
///     .handler("echo", async |mut session: WebSocketSession| {
///         while let Some(message) = session.receive().await {
///             session.send(message?).await?;
///         }
///         Ok(())
///     })
///     .start()?;
/// gateway.stop();
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing runs until it is started"]
pub struct GatewayBuilder {
    plan: Plan,
    handlers: Handlers,
    bus: Arc<dyn EventBus>,
    /// The first thing that was wrong.
    failure: Option<StartError>,
}

impl GatewayBuilder {
    pub(super) fn new(plan: Plan) -> Self {
        Self {
            bus: Arc::new(MemoryBus::new(plan.bus.history)),
            plan,
            handlers: Handlers::default(),
            failure: None,
        }
    }

    /// Registers the handler for routes that say `handler: name`. One handler serves all sessions of
    /// such routes at once, on the threads of the workers; see [`crate::handler`] for what holds there.
    pub fn handler(mut self, name: &str, handler: impl WebSocketHandler) -> Self {
        if !self.handlers.register(name, handler) {
            self.failure
                .get_or_insert(StartError::HandlerTwice(name.into()));
        }
        self
    }

    /// Says which of the [`Attributes`](crate::handler::Attributes) that filters leave in
    /// [`Exchange::extensions`](crate::exchange::Exchange::extensions) the sessions of a registered handler are
    /// given, by their names. Without it: none.
    pub fn attributes(
        mut self,
        handler: &str,
        wanted: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        if !self.handlers.select(handler, Arc::new(wanted)) {
            self.failure
                .get_or_insert(StartError::AttributesHandler(handler.into()));
        }
        self
    }

    /// Puts a filter behind those that the route of that name has already.
    pub fn filter(mut self, route: &str, filter: impl Filter + 'static) -> Self {
        let mut routes = self.plan.routes.iter_mut();
        match routes.find(|one| &*one.name == route) {
            Some(route) => route.filters.push(FilterPlan::Custom(Arc::new(filter))),
            None => {
                self.failure
                    .get_or_insert(StartError::FilterRoute(route.into()));
            }
        }
        self
    }

    /// Carries events by `bus`, in place of the one that serves this process alone.
    pub fn bus(mut self, bus: Arc<dyn EventBus>) -> Self {
        self.bus = bus;
        self
    }

    /// Whether all names find what they name, without starting anything.
    ///
    /// # Errors
    /// When a route ends at a handler that is not registered, a filter is for a route that there is
    /// not, or two handlers have one name.
    pub fn check(mut self) -> Result<Self, StartError> {
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        self.handlers
            .expect_all(&self.plan)
            .map_err(StartError::Handlers)?;
        Ok(self)
    }

    /// Binds every listener, then starts the workers; returns when connections are accepted. Needs
    /// no runtime around it. A handler that no route ends at is only warned of, because which routes
    /// there are is for the operator to say.
    ///
    /// # Errors
    /// When [`check`](Self::check) fails, an address cannot be bound, the access log cannot be opened,
    /// a file of TLS does not serve or a thread cannot be made; then nothing runs.
    pub fn start(self) -> Result<Gateway, StartError> {
        let Self {
            plan,
            handlers,
            bus,
            ..
        } = self.check()?;
        for name in handlers.unused(&plan) {
            tracing::warn!(handler = name, "registered, but no route ends there");
        }
        Gateway::start_with(&plan, &handlers, bus)
    }
}
