//! `drain`: how the gateway ends politely.

use std::time::Duration;

use super::super::error::{Fault, Problems};
use super::super::plan::DrainPlan;
use super::super::value;
use super::super::yaml::Spot;

/// The value of `drain`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<DrainPlan> {
    let mut fields = spot.fields(problems)?;
    let mut plan = DrainPlan::default();
    for (key, time) in [("delay", &mut plan.delay), ("spread", &mut plan.spread)] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, duration_or_none));
        *time = written.unwrap_or(*time);
    }
    let timeout = fields.take("timeout");
    let timeout = timeout.and_then(|spot| spot.value(problems, value::duration));
    plan.timeout = timeout.unwrap_or(plan.timeout);
    fields.finish(problems);
    Some(plan)
}

/// A duration, or `none` for no time at all.
fn duration_or_none(text: &str) -> Result<Duration, Fault> {
    if text == "none" {
        return Ok(Duration::ZERO);
    }
    value::duration(text).map_err(|fault| fault.suggest("write a duration such as `5s`, or `none`"))
}
