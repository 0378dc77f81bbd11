//! cargo-fuzz: every target is built, so that none rots, and runs for a while from its kept corpus.

use std::fs;
use std::process::Command;

use crate::run::{Done, Run};
use crate::shell;
use crate::tools::Tool;

const CARGO_FUZZ: Tool = Tool {
    name: "fuzz",
    version: "0.13.2",
};

pub(crate) fn smoke(run: &Run) -> anyhow::Result<Done> {
    // libFuzzer is C++, built by the targets' own build script.
    if shell::which("c++").is_none() && std::env::var_os("CXX").is_none() {
        return run.skip("fuzz", "no C++ compiler");
    }
    let targets = shell::output(&mut cargo_fuzz(run, &["list"])?)?;
    let default = if run.options.full { 600 } else { 60 };
    let seconds = run.options.fuzz_seconds.unwrap_or(default);
    for target in targets.lines() {
        fuzz(run, target, seconds)?;
    }
    Ok(Done::Passed)
}

/// Starts from the kept corpus; what it finds goes under the target directory, not into git.
fn fuzz(run: &Run, target: &str, seconds: u32) -> anyhow::Result<()> {
    let kept = run.root.join("fuzz/corpus").join(target);
    let findings = run.target.join("fuzz-findings").join(target);
    let (corpus, artifacts) = (findings.join("corpus"), findings.join("artifacts"));
    for folder in [&kept, &corpus, &artifacts] {
        fs::create_dir_all(folder)?;
    }
    let mut command = cargo_fuzz(run, &["run", "--sanitizer", "none", "--target-dir"])?;
    command.arg(run.target.join("fuzz-build"));
    // libFuzzer writes into the first folder and only reads the others.
    command.arg(target).arg(corpus).arg(kept).arg("--");
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-timeout=10", "-print_final_stats=1", "-verbosity=0"]);
    shell::run(&mut command)
}

/// No sanitizer is asked for: our code forbids `unsafe`, so they have little to find, and coverage
/// alone works with the pinned stable compiler.
fn cargo_fuzz(run: &Run, arguments: &[&str]) -> anyhow::Result<Command> {
    CARGO_FUZZ.cargo(run, arguments)
}
