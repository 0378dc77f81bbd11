//! From the plan to what speaks with systems that others operate: which adapters there are is the build's
//! to say.

use std::sync::Arc;

use tidegate::cluster::StateStore;
use tidegate::config::Plan;
use tidegate::config::plan::StorePlan;

/// What the configuration wants and this build does not have.
pub(crate) fn missing(plan: &Plan) -> Option<&'static str> {
    if matches!(plan.cluster.store, StorePlan::Redis(_)) && !cfg!(feature = "redis") {
        return Some(
            "cluster.redis: this build has no Redis (build with `--features redis`, or use the release \
             binary)",
        );
    }
    None
}

/// What the nodes share; `None`: there is one.
pub(crate) fn cluster(plan: &Plan) -> Option<Arc<dyn StateStore>> {
    match &plan.cluster.store {
        #[cfg(feature = "redis")]
        StorePlan::Redis(plan) => {
            let store = tidegate_adapters::redis::RedisStore::new((**plan).clone());
            Some(Arc::new(store))
        }
        _ => None,
    }
}
