//! cargo-fuzz: every target is built, so that none rots, and runs for a while from its kept corpus,
//! one target per core at a time.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;

use anyhow::{Context as _, bail};

use crate::run::{Done, Run};
use crate::shell;
use crate::tools::Tool;

const CARGO_FUZZ: Tool = Tool {
    name: "fuzz",
    version: "0.13.2",
};

/// One target, and where what concerns it lies.
pub(crate) struct Target {
    pub(crate) name: String,
    /// The built program.
    pub(crate) program: PathBuf,
    /// The inputs that git keeps.
    pub(crate) kept: PathBuf,
    /// Where new inputs, findings and the log go.
    pub(crate) findings: PathBuf,
}

/// What became of a target.
pub(crate) enum Outcome {
    /// Nothing was found; the last lines of the log.
    Quiet(String),
    /// This input was found.
    Found(PathBuf),
}

pub(crate) fn smoke(run: &Run) -> anyhow::Result<Done> {
    if !has_compiler() {
        return run.skip("fuzz", NO_COMPILER);
    }
    let folder = run.target.join("fuzz-build");
    shell::run(&mut build(run, &run.root, &folder)?)?;
    let listed = shell::output(&mut CARGO_FUZZ.cargo(run, &["list"])?)?;
    let targets = listed.lines().map(|name| {
        Ok(Target {
            name: name.to_owned(),
            program: built(&folder, name)?,
            kept: run.root.join("fuzz/corpus").join(name),
            findings: run.target.join("fuzz-findings").join(name),
        })
    });
    let targets: anyhow::Result<VecDeque<_>> = targets.collect();
    let default = if run.options.full { 600 } else { 60 };
    let seconds = run.options.fuzz_seconds.unwrap_or(default);
    let failed = all(targets?, seconds)?;
    if failed.is_empty() {
        Ok(Done::Passed)
    } else {
        bail!("findings in {}", failed.join(", "))
    }
}

/// Why nothing is fuzzed where there is none.
pub(crate) const NO_COMPILER: &str = "no C++ compiler";

/// libFuzzer is C++, built by the targets' own build script.
pub(crate) fn has_compiler() -> bool {
    shell::which("c++").is_some() || std::env::var_os("CXX").is_some()
}

/// The command that builds all targets of the tree at `root`.
///
/// No sanitizer is asked for: our code forbids `unsafe`, so they have little to find, and coverage
/// alone works with the pinned stable compiler.
pub(crate) fn build(run: &Run, root: &Path, folder: &Path) -> anyhow::Result<Command> {
    let arguments = ["build", "--sanitizer", "none", "--target-dir"];
    let mut command = CARGO_FUZZ.cargo(run, &arguments)?;
    command.arg(folder).current_dir(root);
    Ok(command)
}

/// The program of one target, built into `folder`: cargo-fuzz puts it below the platform's name.
pub(crate) fn built(folder: &Path, name: &str) -> anyhow::Result<PathBuf> {
    for platform in fs::read_dir(folder)? {
        let program = platform?.path().join("release").join(name);
        if program.is_file() {
            return Ok(program);
        }
    }
    bail!("{name} was not built into {}", folder.display())
}

/// Runs the targets, as many at a time as there are cores; tells the names of those that found
/// something.
fn all(targets: VecDeque<Target>, seconds: u32) -> anyhow::Result<Vec<String>> {
    let (waiting, failed) = (Mutex::new(targets), Mutex::new(Vec::new()));
    let next = || {
        let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.pop_front()
    };
    let lane = || -> anyhow::Result<()> {
        while let Some(target) = next() {
            match target.run(seconds)? {
                Outcome::Quiet(said) => println!("{}: {said}", target.name),
                Outcome::Found(input) => {
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    target.print(&input)?;
                    failed.push(target.name);
                }
            }
        }
        Ok(())
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let lanes: Vec<_> = (0..cores).map(|_| scope.spawn(lane)).collect();
        for lane in lanes {
            match lane.join() {
                Ok(result) => result?,
                Err(_) => bail!("a thread that ran a target panicked"),
            }
        }
        Ok(())
    })?;
    Ok(failed.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Target {
    /// Starts from the kept corpus; what is new goes under the target directory, not into git.
    pub(crate) fn run(&self, seconds: u32) -> anyhow::Result<Outcome> {
        let (corpus, artifacts) = (
            self.findings.join("corpus"),
            self.findings.join("artifacts"),
        );
        // A finding of an earlier run is not one of this.
        if artifacts.exists() {
            fs::remove_dir_all(&artifacts)?;
        }
        for folder in [&self.kept, &corpus, &artifacts] {
            fs::create_dir_all(folder)?;
        }
        let log = File::create(self.log())?;
        let mut command = Command::new(&self.program);
        // libFuzzer writes into the first folder and only reads the others.
        command.arg(corpus).arg(&self.kept);
        command.arg(format!("-max_total_time={seconds}"));
        command.arg(format!("-artifact_prefix={}/", artifacts.display()));
        command.args(["-timeout=10", "-print_final_stats=1"]);
        let status = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .status()
            .with_context(|| format!("cannot start {}", self.program.display()))?;
        let found = fs::read_dir(&artifacts)?.next().transpose()?;
        match found {
            Some(input) => Ok(Outcome::Found(input.path())),
            None if status.success() => Ok(Outcome::Quiet(self.last_state()?)),
            None => bail!(
                "{} ended with {status}; see {}",
                self.name,
                self.log().display()
            ),
        }
    }

    fn log(&self) -> PathBuf {
        self.findings.join("log")
    }

    fn logged(&self) -> anyhow::Result<String> {
        let bytes = fs::read(self.log())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// How many runs there were, and what they covered.
    fn last_state(&self) -> anyhow::Result<String> {
        let logged = self.logged()?;
        let last = logged.lines().rfind(|line| line.contains("DONE"));
        Ok(last.unwrap_or("no state").replace('\t', " "))
    }

    /// Shows a finding, so that who has nothing but the output can try it.
    fn print(&self, input: &Path) -> anyhow::Result<()> {
        let logged = self.logged()?;
        let from = logged.find("panicked at").unwrap_or(0);
        let lines = logged[from..].lines();
        println!("{}: FOUND {}", self.name, input.display());
        let told = |line: &&str| !line.trim_start().starts_with("at ") && !line.starts_with('#');
        for line in lines.filter(told).take(30) {
            println!("    {line}");
        }
        for line in logged.lines().filter(|line| line.starts_with("Base64: ")) {
            println!("    {line}");
        }
        Ok(())
    }
}
