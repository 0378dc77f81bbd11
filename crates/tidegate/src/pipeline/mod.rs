//! The pipeline: what a route does to its exchanges besides handing them to its target.
//!
//! Enters: an [`Exchange`] that has found its route. Leaves: the same exchange, changed, on its way
//! to the target; or an answer that a filter gave in its place. On the way back the same filters
//! see the answer's head in reverse order, and when a session opens each may watch its frames.
//!
//! [`Filter`] is the seam for embedders. What a configuration can name is the closed set of
//! [`FilterPlan`], one file each.

pub(crate) mod cors;
mod filter;
mod frame;
mod header_edit;
mod headers;
mod plan;
mod prefix_path;
mod require;
mod response;
mod rewrite_path;
mod strip_prefix;
mod template;

use std::sync::Arc;

pub use cors::CorsPlan;
pub(crate) use cors::judge_ambient;
pub use filter::{Filter, FilterError, Moment, Step};
pub use frame::{Direction, FrameFacts, FrameFilter, FrameFilters, FrameRefusal, SessionOpening};
pub use header_edit::{EditableName, HeaderLine, HeaderPlanError, ProtectedHeader};
pub use plan::FilterPlan;
pub use prefix_path::{PrefixPath, PrefixPathError};
pub use require::RequirePlan;
pub(crate) use require::SaysLater;
pub use response::{ExchangeFacts, ResponseHead, StatusFixed};
pub use rewrite_path::{RewriteError, RewritePath};
pub use strip_prefix::StripPrefix;
pub use template::{Template, TemplateError, UnboundVariable};

use crate::auth::Authenticator;
use crate::config::plan::AuthPlan;
use crate::exchange::Exchange;

/// What filters find around them when they are built.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Who knows how clients prove who they are.
    pub authenticator: Arc<Authenticator>,
    /// What holds for browsers on the route.
    pub cors: Option<CorsPlan>,
    /// Which requests may come without a credential because their sender will show one before anything is
    /// done for it; `None`: none.
    pub defers: Option<fn(&Exchange) -> bool>,
}

impl Default for Setting {
    /// Nobody is known, and nothing is said to browsers.
    fn default() -> Self {
        Self {
            authenticator: Arc::new(Authenticator::new(&AuthPlan::default())),
            cors: None,
            defers: None,
        }
    }
}

/// An ordered list of filters. An empty one allocates nothing and awaits nothing.
#[derive(Debug, Clone, Default)]
pub struct Pipeline {
    filters: Vec<Arc<dyn Filter>>,
}

impl Pipeline {
    /// A pipeline of these filters, in this order.
    #[must_use]
    pub fn new(filters: Vec<Arc<dyn Filter>>) -> Self {
        Self { filters }
    }

    /// Builds what a route's plan names.
    #[must_use]
    pub fn build(plans: &[FilterPlan], setting: &Setting) -> Self {
        let filters = plans.iter().map(|plan| plan.build(setting));
        Self::new(filters.collect())
    }

    /// Whether it has no filter.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// The request's moment: each filter in order, until one answers or fails.
    pub async fn request(&self, exchange: &mut Exchange) -> Result<Step, FilterError> {
        for filter in &self.filters {
            if let Step::Answer(answer) = filter.on_request(exchange).await? {
                return Ok(Step::Answer(answer));
            }
        }
        Ok(Step::Continue)
    }

    /// The response's moment: each filter in reverse order, for whatever head the client is about
    /// to see: the target's answer, a filter's own, an error's, or the 101 of an upgrade.
    pub fn response(&self, facts: &ExchangeFacts<'_>, head: &mut ResponseHead<'_>) {
        for filter in self.filters.iter().rev() {
            filter.on_response(facts, head);
        }
    }

    /// The session's moment: who watches the frames of the session that now opens.
    #[must_use]
    pub fn session(&self, opening: &SessionOpening<'_>) -> FrameFilters {
        self.filters
            .iter()
            .filter_map(|filter| filter.on_session(opening))
            .collect()
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
