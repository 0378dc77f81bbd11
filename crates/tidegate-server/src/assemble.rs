//! From the plan to what speaks with systems that others operate: which adapters there are is the build's
//! to say.

use std::sync::Arc;

use tidegate::bus::EventBus;
use tidegate::config::Plan;

/// What the configuration wants and this build does not have.
pub(crate) fn missing(plan: &Plan) -> Option<&'static str> {
    if plan.bus.kafka.is_some() && !cfg!(feature = "kafka") {
        return Some(
            "bus.kafka: this build has no Kafka (build with `--features kafka`, or use the release \
             binary)",
        );
    }
    None
}

/// What carries events; `None`: memory.
#[cfg(feature = "kafka")]
pub(crate) fn bus(plan: &Plan) -> anyhow::Result<Option<Arc<dyn EventBus>>> {
    use anyhow::Context as _;
    use tidegate_adapters::kafka::KafkaBus;

    if plan.bus.kafka.is_none() {
        return Ok(None);
    }
    let bus = KafkaBus::start(&plan.bus).context("bus.kafka")?;
    Ok(Some(Arc::new(bus)))
}

/// The same in a build without adapters.
#[cfg(not(feature = "kafka"))]
#[expect(clippy::unnecessary_wraps, reason = "as with the feature")]
pub(crate) fn bus(_plan: &Plan) -> anyhow::Result<Option<Arc<dyn EventBus>>> {
    Ok(None)
}
