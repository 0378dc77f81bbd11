//! `drain`: how the gateway ends politely.

use std::time::Duration;

use super::super::error::Problems;
use super::super::plan::DrainPlan;
use super::super::value;
use super::super::yaml::Spot;

/// The value of `drain`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<DrainPlan> {
    let mut fields = spot.fields(problems)?;
    let mut plan = DrainPlan::default();
    for (key, time) in [("delay", &mut plan.delay), ("spread", &mut plan.spread)] {
        let written = fields.take(key);
        let written = written.and_then(|spot| spot.value(problems, value::timeout));
        // `none`: no time at all.
        *time = written.map_or(*time, |time| time.unwrap_or(Duration::ZERO));
    }
    let timeout = fields.take("timeout");
    let timeout = timeout.and_then(|spot| spot.value(problems, value::duration));
    plan.timeout = timeout.unwrap_or(plan.timeout);
    fields.finish(problems);
    Some(plan)
}
