//! What stands behind a matcher: a pipeline and a target.

use std::sync::Arc;

use crate::auth::{Identity, Revocations, Revoked};
use crate::bridge::Bridge;
use crate::config::plan::{OnExpiry, RevokeOnDisconnect, RoutePlan};
use crate::handler::Handler;
use crate::limits::RouteCaps;
use crate::pipeline::{CorsPlan, FilterPlan, Pipeline, RequirePlan};
use crate::proxy::Proxy;
use crate::session::Cause;
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
    /// What the tokens of its sessions are to it.
    pub(crate) tokens: TokenRules,
    /// Where they end.
    pub(crate) target: Target,
}

/// What the tokens of sessions are to a route.
#[derive(Debug)]
pub(crate) struct TokenRules {
    /// What becomes of a session whose token ends.
    pub(crate) on_expiry: OnExpiry,
    /// Which ends of a session revoke its token.
    pub(crate) revoke_on_disconnect: RevokeOnDisconnect,
    /// The cookie that tells a browser the id of its session.
    pub(crate) session_cookie: Option<Box<str>>,
    /// What is asked of who opens a session.
    pub(crate) required: Vec<RequirePlan>,
    /// Where it is written down what is revoked.
    pub(crate) revocations: Arc<Revocations>,
}

impl TokenRules {
    pub(crate) fn new(plan: &RoutePlan, revocations: &Arc<Revocations>) -> Self {
        let required = plan.filters.iter().filter_map(|filter| match filter {
            FilterPlan::Require(plan) => Some(plan.clone()),
            _ => None,
        });
        Self {
            on_expiry: plan.on_expiry,
            revoke_on_disconnect: plan.revoke_on_disconnect,
            session_cookie: plan.session_cookie.clone(),
            required: required.collect(),
            revocations: Arc::clone(revocations),
        }
    }

    /// A session of `identity` has ended for `cause`: revokes its token where that is wanted. Other
    /// sessions of the same token end with the next look of their workers.
    pub(crate) fn disconnected(&self, identity: &Identity, cause: Cause) {
        let is_wanted = match self.revoke_on_disconnect {
            RevokeOnDisconnect::Never => false,
            RevokeOnDisconnect::Timeout => cause == Cause::IdleTimeout,
            RevokeOnDisconnect::Always => true,
        };
        let Some(token) = identity.token().filter(|_| is_wanted) else {
            return;
        };
        if self
            .revocations
            .add(Revoked::Token(*token), identity.expires())
            .is_err()
        {
            tracing::error!(
                "the token of a session that has ended is not revoked: there are as many revocations as \
                 there may be"
            );
        }
    }
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
