//! Schedules of faults, more than each run of the tests has: `cargo xtask schedules`; and what they are
//! worth: `cargo xtask schedules-planted`, in which each patch of `tests/planted/` puts one fault into a
//! copy of the gateway, and its schedule, which is right without it, must show it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run::{Done, Run};
use crate::{planted, services, shell};

/// Seeds, where there is the time for them.
const MANY: usize = 200;
const CASE: &str = "schedules::";
/// Why they are skipped where no schedule was run.
const MISSING: &str = "something they need is missing";

/// Runs many schedules, and keeps a line of each.
pub(crate) fn many(run: &Run) -> anyhow::Result<Done> {
    let log = run.target.join("schedules.log");
    if log.exists() {
        fs::remove_file(&log)?;
    }
    println!("what comes of each schedule stands in {}", log.display());
    let mut command = cases(run);
    command.env("TIDEGATE_SCHEDULES", MANY.to_string());
    command.env("TIDEGATE_SCHEDULES_LOG", &log);
    let judged = shell::run(&mut command);
    judged.with_context(|| format!("see {}", log.display()))?;
    match right(&log) {
        0 => run.skip("schedules", MISSING),
        MANY => Ok(Done::Passed),
        count => bail!(
            "{count} schedules of {MANY} were run: see {}",
            log.display()
        ),
    }
}

/// How many schedules came to a good end, as their log says.
fn right(log: &Path) -> usize {
    let lines = fs::read_to_string(log).unwrap_or_default();
    count_right(&lines)
}

fn count_right(lines: &str) -> usize {
    let seeds = lines.lines().filter_map(|line| {
        let (seed, rest) = line.strip_prefix("seed ")?.split_once(':')?;
        rest.starts_with(" right after ").then_some(seed)
    });
    seeds.collect::<BTreeSet<_>>().len()
}

fn cases(run: &Run) -> Command {
    let mut command = run.cargo(&["test", "--locked", "--package", "tidegate-tests"]);
    command.args(["--test", "it", "--", CASE]);
    for (name, value) in services::environment(run) {
        command.env(name, value);
    }
    command
}

/// The step: all planted faults are shown.
pub(crate) fn planted_are_shown(run: &Run) -> anyhow::Result<Done> {
    match find(run, &[])? {
        None => run.skip("schedules-planted", MISSING),
        Some(true) => Ok(Done::Passed),
        Some(false) => bail!("not every planted fault was shown"),
    }
}

/// Says whether the planted faults that were asked for were shown.
pub(crate) fn find_planted(run: &Run) -> anyhow::Result<bool> {
    match find(run, &run.options.test_arguments)? {
        None => run.skip("schedules-planted", MISSING).map(|_skipped| true),
        Some(is_all) => Ok(is_all),
    }
}

/// Whether each fault was shown, by a schedule that is right without it; `None`: something is missing.
fn find(run: &Run, wanted: &[String]) -> anyhow::Result<Option<bool>> {
    let patches = planted::patches(run, "tests/planted", wanted)?;
    let folder = run.target.join("schedules-planted");
    let tree = planted::copy(run, &folder.join("tree"))?;
    let mut faults = Vec::new();
    for patch in &patches {
        faults.push((patch, Planted::of(patch)?));
    }
    println!("\n=== without a fault");
    let gateway = build(run, &folder, &tree, None)?;
    let seeds: BTreeSet<&str> = faults.iter().map(|(_, one)| &*one.seed).collect();
    for seed in seeds {
        let ran = schedule(run, &folder, &format!("none-{seed}"), seed, &gateway)?;
        if ran.is_well && ran.right == 0 {
            return Ok(None);
        }
        if !ran.is_well || ran.right != 1 {
            bail!("seed {seed} is wrong without a fault in the gateway");
        }
        println!("seed {seed} is right");
    }
    let mut told = Vec::new();
    for (patch, fault) in &faults {
        println!("\n=== {}", fault.name);
        let gateway = build(run, &folder, &tree, Some(patch))?;
        let ran = schedule(run, &folder, &fault.name, &fault.seed, &gateway)?;
        let line = fault.shown_in(&ran.said).filter(|_| !ran.is_well);
        told.push((&fault.name, line));
    }
    println!("\n=== planted faults");
    for (name, line) in &told {
        println!("{name:<16} {}", line.as_deref().unwrap_or("NOT SHOWN"));
    }
    Ok(Some(told.iter().all(|(_, line)| line.is_some())))
}

/// The gateway with one fault in it, or none.
fn build(run: &Run, folder: &Path, tree: &Path, patch: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(patch) = patch {
        shell::run(planted::git(tree).arg("apply").arg(patch))?;
    }
    let target = folder.join("build");
    let mut command = run.cargo(&["build", "--locked", "--package", "tidegate-server"]);
    command.arg("--all-features").current_dir(tree);
    command.arg("--target-dir").arg(&target);
    let built = shell::run(&mut command);
    shell::run(planted::git(tree).args(["reset", "--quiet", "--hard"]))?;
    built?;
    Ok(target.join("debug/tidegate"))
}

/// A fault, by its patch's name: `loss-9` is to be shown as a loss by seed 9.
struct Planted {
    name: String,
    seed: String,
    kinds: &'static [&'static str],
}

impl Planted {
    fn of(patch: &Path) -> anyhow::Result<Self> {
        let name = patch.file_stem().context("a patch has a name")?;
        let name = name.to_string_lossy().into_owned();
        let (kind, seed) = name.split_once('-').context("a fault's name has a seed")?;
        let kinds: &[&str] = match kind {
            "loss" => &["Loss", "EarlyAck"],
            "early" => &["EarlyAck"],
            "double" => &["Double"],
            "order" => &["Order"],
            "phantom" => &["Phantom"],
            "denied" => &["Denied"],
            "untold" => &["Presence"],
            _ => bail!("there is no kind of fault called {kind}"),
        };
        let seed = seed.to_owned();
        Ok(Self { name, seed, kinds })
    }

    /// Where it is said what is wrong, and that is what was planted.
    fn shown_in(&self, said: &str) -> Option<String> {
        let is_it = |line: &&str| {
            let found = line.split_once(" faults ([").map(|(_, behind)| behind);
            let found = found.and_then(|behind| behind.split(']').next());
            found.is_some_and(|found| found.split(", ").any(|one| self.kinds.contains(&one)))
        };
        said.lines().find(is_it).map(str::to_owned)
    }
}

/// What came of a schedule.
struct Ran {
    said: String,
    is_well: bool,
    /// How many came to a good end: none where something is missing.
    right: usize,
}

fn schedule(
    run: &Run,
    folder: &Path,
    name: &str,
    seed: &str,
    gateway: &Path,
) -> anyhow::Result<Ran> {
    let log = folder.join(format!("{name}.seeds"));
    if log.exists() {
        fs::remove_file(&log)?;
    }
    let mut command = cases(run);
    command.env("TIDEGATE_FULL_BIN", gateway);
    command.env("TIDEGATE_SCHEDULE", seed);
    command.env("TIDEGATE_SCHEDULES_LOG", &log);
    let output = command.output().context("cannot start cargo")?;
    fs::write(folder.join(format!("{name}.log")), &output.stdout)?;
    Ok(Ran {
        said: String::from_utf8_lossy(&output.stdout).into_owned(),
        is_well: output.status.success(),
        right: right(&log),
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
            let patch = patch.unwrap().path();
            let mut apply = planted::git(&root);
            apply.args(["apply", "--check"]).arg(&patch);
            shell::run(&mut apply).unwrap();
            assert!(!Planted::of(&patch).unwrap().kinds.is_empty());
            count += 1;
        }
        assert_eq!(count, 7);
    }

    #[test]
    fn a_fault_is_shown_by_its_own_kind() {
        let fault = Planted::of(Path::new("tests/planted/loss-9.patch")).unwrap();
        assert_eq!((&*fault.name, &*fault.seed), ("loss-9", "9"));
        let said = "x\n2 faults ([Double, Loss]), of which:\ny";
        assert!(fault.shown_in(said).is_some());
        assert!(fault.shown_in("2 faults ([Double]), of which:").is_none());
        assert!(fault.shown_in("Loss").is_none());
        assert!(Planted::of(Path::new("other-9.patch")).is_err());
    }

    #[test]
    fn each_seed_counts_once_and_only_where_it_is_right() {
        let log = "seed 1: right after 2 s: x\nseed 2: WRONG after 3 s: y\nseed 3: right after 1 s: z\n\
                   seed 3: right after 1 s: z\nright after\n";
        assert_eq!(count_right(log), 2);
        assert_eq!(count_right(""), 0);
    }
}
