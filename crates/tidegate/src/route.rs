//! What stands behind a matcher: a pipeline and a target.

use std::sync::Arc;

use crate::limits::RouteCaps;
use crate::pipeline::{CorsPlan, Pipeline};
use crate::proxy::Proxy;

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
    /// At a service.
    Proxy(Proxy),
}
