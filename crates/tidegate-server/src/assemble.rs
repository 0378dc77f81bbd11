//! From the plan to what speaks with systems that others operate: which adapters there are is the build's
//! to say.
//!
//! A bus and a store go together: then pushes and what is told of sessions go over Kafka, and Redis has who
//! is online where, what was revoked, and what nodes ask each other. Without Kafka, pushes go over Redis.

use std::sync::Arc;

use tidegate::bus::EventBus;
use tidegate::cluster::StateStore;
use tidegate::config::Plan;
use tidegate::config::plan::StorePlan;

/// What the configuration wants and this build does not have.
pub(crate) fn missing(plan: &Plan) -> Option<&'static str> {
    if plan.bus.kafka.is_some() && !cfg!(feature = "kafka") {
        return Some(
            "bus.kafka: this build has no Kafka (build with `--features kafka`, or use the release \
             binary)",
        );
    }
    if matches!(plan.cluster.store, StorePlan::Redis(_)) && !cfg!(feature = "redis") {
        return Some(
            "cluster.redis: this build has no Redis (build with `--features redis`, or use the release \
             binary)",
        );
    }
    None
}

/// What carries events; `None`: the gateway itself.
#[cfg(feature = "kafka")]
pub(crate) fn bus(plan: &Plan) -> anyhow::Result<Option<Arc<dyn EventBus>>> {
    use anyhow::Context as _;
    use tidegate_adapters::kafka::KafkaBus;

    if plan.bus.kafka.is_none() {
        return Ok(None);
    }
    // Which file it is, nobody says as well behind this.
    if let Some(broken) = tidegate::tls::check(plan).into_iter().next() {
        return Err(broken.into());
    }
    let bus = KafkaBus::start(&plan.bus).context("bus.kafka")?;
    Ok(Some(Arc::new(bus)))
}

/// The same in a build without Kafka.
#[cfg(not(feature = "kafka"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
pub(crate) fn bus(_plan: &Plan) -> anyhow::Result<Option<Arc<dyn EventBus>>> {
    Ok(None)
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
