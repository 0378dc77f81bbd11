//! Where a route ends.

use std::sync::Arc;

use crate::dispatch::Outcome;
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::gateway::Worker;
use crate::proxy::Proxy;
use crate::upgrade::{Decision, Wish};

/// What happens to a request that its route's filters let through.
#[derive(Debug)]
pub(crate) enum Target {
    /// It goes to a service.
    Proxy(Proxy),
}

impl Target {
    /// Carries the request out; `wish` is there when it asks for a WebSocket.
    pub(crate) async fn call(
        &self,
        worker: &Arc<Worker>,
        exchange: &mut Exchange,
        wish: Option<Wish>,
    ) -> Result<Outcome, GatewayError> {
        match (self, wish) {
            (Self::Proxy(proxy), None) => proxy.call(worker, exchange).await.map(Outcome::Answer),
            (Self::Proxy(proxy), Some(wish)) => Ok(match proxy.decide(worker, exchange, &wish).await? {
                Decision::Refuse(answer) => Outcome::Answer(answer),
                Decision::Accept(acceptance) => Outcome::Switch(Box::new((acceptance, wish.key, Vec::new()))),
            }),
        }
    }
}
