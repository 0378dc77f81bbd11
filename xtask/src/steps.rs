//! The steps of `cargo xtask test`, one line each, and the loop which performs them.

use std::time::{Duration, Instant};

use crate::run::{Done, Run};
use crate::{
    autobahn, code, deny, differential, external_types, fuzz, openapi, samples, schedules,
    services, soak,
};

/// One step: it passes, says that it was skipped, or fails with the reason.
struct Step {
    name: &'static str,
    what: &'static str,
    perform: fn(&Run) -> anyhow::Result<Done>,
    /// Whether `test` performs it with `--full` alone.
    only_full: bool,
}

/// The recipe. What is quick and fails often stands first; what needs the built binary or an
/// installed tool stands behind the step which makes it.
const STEPS: &[Step] = &[
    step("fmt", "the code is formatted", code::formatted),
    step("lint", "clippy, warnings are errors", code::lint),
    step("build", "the binary `tidegate`", code::build),
    step(
        "services",
        "what the tests talk to is installed",
        services::install,
    ),
    step("tests", "tests and doctests", code::tests),
    step("tls", "the black-box cases over TLS", code::over_tls),
    Step {
        only_full: true,
        ..step(
            "many",
            "thousands of connections over TLS (with --full)",
            code::many_over_tls,
        )
    },
    Step {
        only_full: true,
        ..step(
            "schedules",
            "200 schedules of faults over nodes, Kafka and Redis (with --full)",
            schedules::many,
        )
    },
    Step {
        only_full: true,
        ..step(
            "schedules-planted",
            "faults put into the gateway, which schedules show (with --full)",
            schedules::planted_are_shown,
        )
    },
    step("doc", "documentation, warnings are errors", code::doc),
    step(
        "api",
        "the public API of tidegate-ws has no types of other crates than those agreed on",
        external_types::judge,
    ),
    step("features", "each feature compiles alone", code::features),
    step("deny", "licences, bans, sources, advisories", deny::check),
    step("config", "the samples in config/ are valid", samples::check),
    step(
        "openapi",
        "the admin API is as its document says",
        openapi::judge,
    ),
    step(
        "autobahn",
        "the Autobahn suite through the gateway",
        autobahn::judge,
    ),
    step(
        "autobahn-ws",
        "the Autobahn suite against tidegate-ws, both roles",
        autobahn::judge_library,
    ),
    Step {
        only_full: true,
        ..step(
            "soak",
            "minutes of load, of which nothing is left (with --full)",
            soak::judge,
        )
    },
    step("fuzz", "every fuzz target for a while", fuzz::smoke),
    Step {
        only_full: true,
        ..step(
            "differential",
            "nginx and HAProxy are asked the same (with --full)",
            differential::judge,
        )
    },
];

const fn step(
    name: &'static str,
    what: &'static str,
    perform: fn(&Run) -> anyhow::Result<Done>,
) -> Step {
    Step {
        name,
        what,
        perform,
        only_full: false,
    }
}

/// The names of the steps that `test` performs, in order.
pub(crate) fn names_of_test(full: bool) -> Vec<&'static str> {
    let steps = STEPS.iter().filter(|step| full || !step.only_full);
    steps.map(|step| step.name).collect()
}

/// The names of all steps, in order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    STEPS.iter().map(|step| step.name)
}

/// Every step's name and what it looks at, in order.
pub(crate) fn table() -> impl Iterator<Item = (&'static str, &'static str)> {
    STEPS.iter().map(|step| (step.name, step.what))
}

/// Performs the steps of these names and prints a table of them; says whether none failed.
///
/// A step that fails does not keep the next ones from running: whoever reads the log wants to
/// know everything that is wrong, not the first thing only.
pub(crate) fn perform(run: &Run, names: &[&str]) -> anyhow::Result<bool> {
    let begun = now();
    let mut outcomes = Vec::new();
    for step in STEPS.iter().filter(|step| names.contains(&step.name)) {
        println!("\n=== {}: {}", step.name, step.what);
        let begun = now();
        let result = (step.perform)(run);
        if let Err(error) = &result {
            println!("FAILED: {}: {error:#}", step.name);
        }
        outcomes.push((step.name, result, begun.elapsed()));
    }
    Ok(summarise(run, &outcomes, begun.elapsed()))
}

type Outcome = (&'static str, anyhow::Result<Done>, Duration);

fn summarise(run: &Run, outcomes: &[Outcome], total: Duration) -> bool {
    println!("\n=== summary");
    let (mut passed, mut failed) = (0, 0);
    for (name, result, took) in outcomes {
        let word = match result {
            Ok(Done::Passed) => {
                passed += 1;
                "passed".to_owned()
            }
            Ok(Done::Skipped) => "SKIPPED".to_owned(),
            Err(error) => {
                failed += 1;
                format!("FAILED: {error:#}")
            }
        };
        println!("{name:<12} {:>7.1} s  {word}", took.as_secs_f64());
    }
    println!("{:<12} {:>7.1} s", "total", total.as_secs_f64());
    let skipped = run.skipped();
    for skip in &skipped {
        println!("SKIPPED: {skip}");
    }
    println!(
        "steps: {passed} passed, {failed} failed, {} skipped",
        skipped.len()
    );
    failed == 0
}

#[expect(
    clippy::disallowed_methods,
    reason = "xtask measures real durations; there is no tokio clock here"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
