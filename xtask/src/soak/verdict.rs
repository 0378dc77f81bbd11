//! Whether the gateway is, after all that, as it was. Pure: it sees readings and counts alone.
//!
//! Every bound says why it stands where it stands.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use super::machine::Outcome;
use super::series::{Census, Phase, Sample};

/// The plateau of round two over that of round one, at most. The same load again needs the same
/// memory: whatever a session leaves behind would make it more, and the parts of the allocator's
/// arenas that fill differently from round to round stay below this.
const PLATEAU: f64 = 1.03;
/// Or, where that is less, this many KiB more: what slow readers keep waiting for at one moment. A
/// load of thousands is judged by the share.
const PLATEAU_FLOOR: f64 = 512.0;
/// Growth within the steady half of round two, at most, as a share an hour.
const SLOPE: f64 = 0.01;
/// Or, where that is less than can be seen in minutes, this many KiB. In 20 minutes some 13,000
/// short lives end meanwhile, so this is 20 bytes of each: less than anything that could be leaked.
const SLOPE_FLOOR: f64 = 256.0;
/// RSS at the last rest over that at the first, at most, and KiB that are always allowed: the C
/// library gives memory back late, and only from the end of an arena, so what is left differs.
const RESIDUE: (f64, f64) = (1.25, 4096.0);
/// Short lives that must have ended, as a share of those ordered: a load that never came shows
/// nothing. Less than all, because a busy machine is not given more than it does.
const LIVES: f64 = 0.5;
/// Steady readings of a round, at the least, to speak of a plateau.
const READINGS: usize = 3;
/// Cuts of the whole soak: three of the warm-up, two of each round.
const CUTS: u64 = 7;
/// Faults that are told in full.
const TOLD: usize = 40;

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Check {
    what: &'static str,
    found: String,
    bound: String,
    passed: bool,
}

fn check(what: &'static str, found: &dyn Display, bound: impl Into<String>, passed: bool) -> Check {
    Check {
        what,
        found: found.to_string(),
        bound: bound.into(),
        passed,
    }
}

fn none(what: &'static str, found: u64) -> Check {
    check(what, &found, "0", found == 0)
}

fn at_most(what: &'static str, found: u64, bound: u64) -> Check {
    check(what, &found, format!("<= {bound}"), found <= bound)
}

/// Prints the faults and the table, keeps them in `summary.txt`, and says whether all passed.
pub(super) fn tell(outcome: &Outcome, folder: &Path) -> anyhow::Result<bool> {
    let mut text = String::new();
    for kind in &outcome.kinds {
        text.push_str(&format!("  {kind}\n"));
    }
    for fault in outcome.faults.iter().take(TOLD) {
        text.push_str(&format!("FAULT: {fault}\n"));
    }
    let checks = judge(outcome);
    for check in &checks {
        let word = if check.passed { "ok" } else { "FAILED" };
        let Check {
            what, found, bound, ..
        } = check;
        text.push_str(&format!("{what:<44} {found:>22}  {bound:<24} {word}\n"));
    }
    print!("{text}");
    fs::write(folder.join("summary.txt"), text)?;
    Ok(checks.iter().all(|check| check.passed))
}

pub(super) fn judge(outcome: &Outcome) -> Vec<Check> {
    let samples = &outcome.samples;
    let mut checks = vec![
        check(
            "the gateway ended in order",
            &outcome.has_stopped_well,
            "true",
            outcome.has_stopped_well,
        ),
        none("panics in its log", outcome.panics_logged),
        none("faults told", outcome.faults.len() as u64),
    ];
    let Some(last) = samples.last() else {
        checks.push(check("readings", &0, "> 0", false));
        return checks;
    };
    checks.extend(load_was_there(samples, last));
    checks.extend(rests(samples));
    checks.extend(memory(samples));
    checks
}

/// What the clients and upstreams found, and that there was anything to find.
fn load_was_there(samples: &[Sample], last: &Sample) -> Vec<Check> {
    let counts = &last.counts;
    let ordered = samples.iter().map(|s| s.ordered_lives).fold(0.0, f64::max);
    let due = ordered * LIVES;
    vec![
        none("unexpected ends and wrong bytes", counts.unexpected),
        none("faults at the upstreams", counts.upstream_faults),
        check(
            "short lives, ended in every way",
            &counts.lives,
            format!(">= {due:.0}"),
            counts.lives as f64 >= due && counts.lives > 0,
        ),
        check(
            "messages, checked",
            &counts.messages,
            "> 0",
            counts.messages > 0,
        ),
        check(
            "requests, checked",
            &counts.requests,
            "> 0",
            counts.requests > 0,
        ),
        check(
            "cuts",
            &counts.cuts,
            format!(">= {CUTS}"),
            counts.cuts >= CUTS,
        ),
        check("sessions ended by cuts", &counts.cut, "> 0", counts.cut > 0),
    ]
}

/// Everything that is counted is, after each round, as after the warm-up.
fn rests(samples: &[Sample]) -> Vec<Check> {
    let rests: Vec<&Sample> = samples.iter().filter(|s| s.phase == Phase::Rest).collect();
    let [baseline, later @ ..] = rests.as_slice() else {
        return vec![check("rests", &0, "3", false)];
    };
    let mut checks = vec![check("rests", &rests.len(), "3", rests.len() == 3)];
    let most = |of: fn(&Sample) -> u64| later.iter().map(|s| of(s)).max().unwrap_or(u64::MAX);
    let mut as_before = |what, of: fn(&Sample) -> u64| {
        checks.push(at_most(what, most(of), of(baseline)));
    };
    as_before("descriptors at rest", |s| s.process.descriptors);
    as_before("threads at rest", |s| s.process.threads);
    as_before("clients at rest", |s| s.counts.left + s.counts.churning);
    as_before("upstreams' connections at rest", |s| {
        s.counts.upstream_connections
    });
    checks.push(none(
        "clients and connections after the warm-up",
        baseline.counts.left + baseline.counts.churning + baseline.counts.upstream_connections,
    ));
    let census: Vec<Census> = rests.iter().map(|s| s.census).collect();
    checks.extend(counted(&census));
    checks
}

/// The gateway's own count, after the warm-up and after each round.
fn counted(census: &[Census]) -> Vec<Check> {
    let [baseline, later @ ..] = census else {
        return Vec::new();
    };
    let most = |of: fn(&Census) -> u64| later.iter().map(of).max().unwrap_or(u64::MAX);
    let ever = |of: fn(&Census) -> u64| census.iter().map(of).max().unwrap_or(u64::MAX);
    vec![
        at_most("tasks at rest", most(|c| c.tasks), baseline.tasks),
        at_most(
            "connections at rest",
            most(|c| c.connections),
            baseline.connections,
        ),
        none("sessions at rest", ever(|c| c.sessions)),
        none(
            "idle upstream connections at rest",
            ever(|c| c.upstream_idle),
        ),
        none("panics counted", ever(|c| c.panics)),
    ]
}

fn memory(samples: &[Sample]) -> Vec<Check> {
    let mut checks = Vec::new();
    let mut rests = samples.iter().filter(|s| s.phase == Phase::Rest);
    if let (Some(first), Some(last)) = (rests.next(), rests.next_back()) {
        let bound = (first.process.rss as f64 * RESIDUE.0 + RESIDUE.1) as u64;
        checks.push(at_most("KiB of RSS at rest", last.process.rss, bound));
    }
    let steady = |phase| steady_half(samples, phase);
    let (one, two) = (steady(Phase::RoundOne), steady(Phase::RoundTwo));
    let readings = one.len().min(two.len());
    checks.push(check(
        "steady readings of a round",
        &readings,
        format!(">= {READINGS}"),
        readings >= READINGS,
    ));
    if readings < READINGS {
        return checks;
    }
    let (first, second) = (median(&one), median(&two));
    let bound = (first * PLATEAU).max(first + PLATEAU_FLOOR);
    checks.push(check(
        "KiB private, plateau of round two",
        &format!("{second:.0}"),
        format!("<= {bound:.0} (was {first:.0})"),
        second <= bound,
    ));
    let hours = span(&two) / 3600.0;
    let growth = slope(&two) * span(&two);
    let bound = (second * SLOPE * hours).max(SLOPE_FLOOR);
    checks.push(check(
        "KiB private, growth while steady",
        &format!("{growth:.0} in {:.0} s", span(&two)),
        format!("<= {bound:.0}"),
        growth <= bound,
    ));
    checks
}

/// The whole-load readings of the last half of a round: its cuts lie before.
fn steady_half(samples: &[Sample], phase: Phase) -> Vec<(f64, f64)> {
    let round: Vec<&Sample> = samples.iter().filter(|s| s.phase == phase).collect();
    let (Some(first), Some(last)) = (round.first(), round.last()) else {
        return Vec::new();
    };
    let middle = f64::midpoint(first.at, last.at);
    round
        .iter()
        .filter(|s| s.is_settled && s.at >= middle)
        .map(|s| (s.at, s.process.private as f64))
        .collect()
}

fn median(points: &[(f64, f64)]) -> f64 {
    let mut values: Vec<f64> = points.iter().map(|(_, value)| *value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn span(points: &[(f64, f64)]) -> f64 {
    match (points.first(), points.last()) {
        (Some((from, _)), Some((to, _))) => to - from,
        _ => 0.0,
    }
}

/// How much a second, by least squares.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / count;
    let (at, value) = (mean(|p| p.0), mean(|p| p.1));
    let both: f64 = points.iter().map(|p| (p.0 - at) * (p.1 - value)).sum();
    let spread: f64 = points.iter().map(|p| (p.0 - at).powi(2)).sum();
    both / spread
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
