//! Where a route ends.

use std::sync::Arc;

use crate::dispatch::{Outcome, Switch};
use crate::error::GatewayError;
use crate::exchange::Exchange;
use crate::pipeline::FrameFilters;
use crate::proxy::Proxy;
use crate::upgrade::{Decision, Wish};
use crate::worker::Worker;

/// What happens to a request that its route's filters let through.
#[derive(Debug)]
pub(crate) enum Target {
    /// It goes to a service.
    Proxy(Proxy),
    /// The router's own tests call nobody.
    #[cfg(test)]
    Nowhere,
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
            #[cfg(test)]
            (Self::Nowhere, _) => Err(crate::error::UpstreamError::NoEndpoint.into()),
            (Self::Proxy(proxy), None) => proxy.call(worker, exchange).await.map(Outcome::Answer),
            (Self::Proxy(proxy), Some(wish)) => {
                Ok(match proxy.decide(worker, exchange, &wish).await? {
                    Decision::Refuse(answer) => Outcome::Answer(answer),
                    Decision::Accept(acceptance) => {
                        let filters = FrameFilters::default();
                        Outcome::Switch(Box::new(Switch {
                            acceptance,
                            key: wish.key,
                            filters,
                        }))
                    }
                })
            }
        }
    }
}
