//! What stands behind a matcher: a pipeline and a target.

use std::sync::Arc;

use crate::bridge::Bridge;
use crate::handler::Handler;
use crate::limits::RouteCaps;
use crate::pipeline::{CorsPlan, Pipeline};
use crate::proxy::Proxy;
use crate::upstream::Service;

/// A route without its matcher, which the router holds.
#[derive(Debug)]
pub(crate) struct Route {
    /// Its name, unique among the routes.
    pub(crate) name: Arc<str>,
    /// How many of its requests may be under way.
    pub(crate) caps: RouteCaps,
    /// What holds for browsers; `None`: whatever its upstream says.
    pub(crate) cors: Option<CorsPlan>,
    /// What is done to its requests.
    pub(crate) pipeline: Pipeline,
    /// Where they end.
    pub(crate) target: Target,
}

/// Where a route ends.
#[derive(Debug)]
pub(crate) enum Target {
    /// At calls that come as envelopes.
    Bridge(Arc<Bridge>),
    /// At code of the embedder's.
    Handler(Handler),
    /// At a service.
    Proxy(Proxy),
}

impl Target {
    /// What its sessions are, in the words of the metrics.
    pub(crate) const fn kind(&self) -> &'static str {
        match self {
            Self::Bridge(_) => "bridge",
            Self::Handler(_) => "handler",
            Self::Proxy(_) => "proxy",
        }
    }

    /// The handler's name, where it is one.
    pub(crate) fn handler(&self) -> Option<&str> {
        match self {
            Self::Handler(handler) => Some(&handler.plan.name),
            Self::Bridge(_) | Self::Proxy(_) => None,
        }
    }

    /// The service, where it is one.
    pub(crate) fn service(&self) -> Option<&Service> {
        match self {
            Self::Bridge(_) | Self::Handler(_) => None,
            Self::Proxy(proxy) => Some(&proxy.service),
        }
    }
}
