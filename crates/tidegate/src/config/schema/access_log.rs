//! `access_log`: what is written down of what comes in, and where.

use std::path::PathBuf;
use std::time::Duration;

use super::super::error::{Fault, Problems};
use super::super::plan::{AccessLogFormat, AccessLogPlan};
use super::super::value;
use super::super::yaml::{Quoted, Spot};
use crate::logs::Target;

const FORMATS: [(&str, AccessLogFormat); 3] = [
    ("json", AccessLogFormat::Json),
    ("text", AccessLogFormat::Text),
    ("combined", AccessLogFormat::Combined),
];
const TARGETS: [&str; 3] = ["stderr", "stdout", "file"];
const SECOND: Duration = Duration::from_secs(1);

/// Reads the value of `access_log`; `None` for `none`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<AccessLogPlan> {
    let mut plan = AccessLogPlan::default();
    if spot.is_scalar() {
        let none = spot.value(problems, |text| match text {
            "none" => Ok(()),
            _ => Err(Fault::new(format!("{} is not an access log", Quoted(text)))
                .suggest("write `none` or `{ to: stderr, format: json }`")),
        });
        return none.is_none().then_some(plan);
    }
    let Some(mut fields) = spot.fields(problems) else {
        return Some(plan);
    };
    if let Some(target) = fields.take("to").and_then(|spot| target(&spot, problems)) {
        plan.target = target;
    }
    let format = fields.take("format");
    let format = format.and_then(|spot| spot.name_of(problems, "format", &FORMATS));
    plan.format = format.unwrap_or(plan.format);
    let interval = fields.take("stats_interval");
    let interval = interval.and_then(|spot| spot.value(problems, stats_interval));
    plan.stats_interval = interval.unwrap_or(plan.stats_interval);
    fields.finish(problems);
    Some(plan)
}

fn target(spot: &Spot<'_>, problems: &mut Problems) -> Option<Target> {
    // In one word, as the admin listener's token names its file.
    if spot.is_scalar()
        && let Some(path) = spot.text(problems)?.strip_prefix("file:")
    {
        return spot.value(problems, |_| file(path));
    }
    let choice = spot.choice(problems)?;
    match choice.name {
        "stderr" => choice.no_argument(problems).map(|()| Target::Stderr),
        "stdout" => choice.no_argument(problems).map(|()| Target::Stdout),
        "file" => choice.need_argument(problems)?.value(problems, file),
        _ => {
            choice.unknown(problems, "place for a log", TARGETS);
            None
        }
    }
}

fn file(text: &str) -> Result<Target, Fault> {
    let path = PathBuf::from(text);
    if !path.is_absolute() {
        let fault = Fault::new("the path of the log's file is not absolute");
        return Err(fault.suggest("write it from the root on, such as `/var/log/tidegate.log`"));
    }
    // By these names a file is the stream that this process has already: opened anew, a file that the
    // stream leads to would be written to at two places at once.
    Ok(match text {
        "/dev/stdout" => Target::Stdout,
        "/dev/stderr" => Target::Stderr,
        _ => Target::File(path),
    })
}

fn stats_interval(text: &str) -> Result<Option<Duration>, Fault> {
    let interval = value::timeout(text)?;
    if interval.is_some_and(|interval| interval < SECOND) {
        return Err(Fault::new("it is less than a second").suggest("write `60s`, or `none`"));
    }
    Ok(interval)
}
