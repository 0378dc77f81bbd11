//! Schedules of faults, more than each run of the tests has: `cargo xtask schedules`; and what they are
//! worth: `cargo xtask schedules-planted`, in which each patch of `tests/planted/` puts one fault into a
//! copy of the gateway, and its schedule must show it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run::{Done, Run};
use crate::{planted, services, shell};

/// Seeds, where there is the time for them.
const MANY: &str = "200";
const CASE: &str = "schedules::";

/// Runs many schedules, and keeps a line of each.
pub(crate) fn many(run: &Run) -> anyhow::Result<Done> {
    let log = run.target.join("schedules.log");
    if log.exists() {
        fs::remove_file(&log)?;
    }
    println!("what comes of each schedule stands in {}", log.display());
    let mut command = cases(run);
    command.env("TIDEGATE_SCHEDULES", MANY);
    command.env("TIDEGATE_SCHEDULES_LOG", &log);
    let judged = shell::run(&mut command);
    judged.with_context(|| format!("see {}", log.display()))?;
    match fs::read_to_string(&log) {
        Ok(lines) if lines.lines().count() >= 1 => Ok(Done::Passed),
        _ => run.skip("schedules", "something they need is missing"),
    }
}

fn cases(run: &Run) -> Command {
    let mut command = run.cargo(&["test", "--locked", "--package", "tidegate-tests"]);
    command.args(["--test", "it", "--", CASE]);
    for (name, value) in services::environment(run) {
        command.env(name, value);
    }
    command
}

/// Says whether every planted fault was shown.
pub(crate) fn find_planted(run: &Run) -> anyhow::Result<bool> {
    let patches = planted::patches(run, "tests/planted")?;
    let folder = run.target.join("schedules-planted");
    let tree = planted::copy(run, &folder.join("tree"))?;
    let mut told = Vec::new();
    for patch in &patches {
        let name = patch.file_stem().context("a patch has a name")?;
        let name = name.to_string_lossy().into_owned();
        println!("\n=== {name}");
        let gateway = build(run, &folder, &tree, patch)?;
        let shown = show(run, &name, &gateway)?;
        fs::write(folder.join(format!("{name}.log")), &shown.said)?;
        told.push((name, shown.line));
    }
    println!("\n=== planted faults");
    for (name, line) in &told {
        println!("{name:<16} {}", line.as_deref().unwrap_or("NOT SHOWN"));
    }
    Ok(told.iter().all(|(_, line)| line.is_some()))
}

/// The gateway with one fault in it.
fn build(run: &Run, folder: &Path, tree: &Path, patch: &Path) -> anyhow::Result<PathBuf> {
    shell::run(planted::git(tree).arg("apply").arg(patch))?;
    let target = folder.join("build");
    let mut command = run.cargo(&["build", "--locked", "--package", "tidegate-server"]);
    command.arg("--all-features").current_dir(tree);
    command.arg("--target-dir").arg(&target);
    let built = shell::run(&mut command);
    shell::run(planted::git(tree).args(["reset", "--quiet", "--hard"]))?;
    built?;
    Ok(target.join("debug/tidegate"))
}

/// What a schedule says.
struct Shown {
    said: Vec<u8>,
    /// Where it says what is wrong, and that is what was planted.
    line: Option<String>,
}

/// Runs the schedule that a fault's name ends with: `loss-9` is to be shown by seed 9.
fn show(run: &Run, name: &str, gateway: &Path) -> anyhow::Result<Shown> {
    let (kind, seed) = name.split_once('-').context("a fault's name has a seed")?;
    let kinds: &[&str] = match kind {
        "loss" => &["Loss", "EarlyAck"],
        "early" => &["EarlyAck"],
        "double" => &["Double"],
        "order" => &["Order"],
        "phantom" => &["Phantom"],
        _ => bail!("there is no kind of fault called {kind}"),
    };
    let mut command = cases(run);
    command.env("TIDEGATE_FULL_BIN", gateway);
    command.env("TIDEGATE_SCHEDULE", seed);
    let output = command.output().context("cannot start cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let is_it = |line: &&str| {
        let found = line.split_once(" faults ([").map(|(_, behind)| behind);
        let found = found.and_then(|behind| behind.split(']').next());
        found.is_some_and(|found| found.split(", ").any(|one| kinds.contains(&one)))
    };
    let line = text.lines().find(is_it).map(str::to_owned);
    Ok(Shown {
        said: output.stdout.clone(),
        line: line.filter(|_| !output.status.success()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A patch that fits no more would be seen by those alone who plant the faults.
    #[test]
    fn each_fault_can_be_planted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let patches = fs::read_dir(root.join("tests/planted")).unwrap();
        let mut count = 0;
        for patch in patches {
            let mut apply = planted::git(&root);
            apply.args(["apply", "--check"]).arg(patch.unwrap().path());
            shell::run(&mut apply).unwrap();
            count += 1;
        }
        assert_eq!(count, 5);
    }
}
