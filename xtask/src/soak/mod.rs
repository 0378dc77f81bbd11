//! The soak: idle and active sessions, HTTP requests and short lives through the gateway, with cuts,
//! for minutes; then everything must be as it was.
//!
//! A warm-up and two rounds of the same load, the second the longest, each followed by a rest. What
//! the gateway holds is read every few seconds (`target/soak/soak.csv`) and judged in `verdict`.

mod census;
mod load;
mod machine;
mod processes;
mod series;
mod verdict;

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use self::load::Stage;
use self::machine::Machine;
use self::processes::Binaries;
use self::series::Phase;
use crate::run::{Done, Run};
use crate::{running, shell};

/// How much load there is, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Amounts {
    /// Minutes under load, the rests not counted.
    pub(crate) minutes: u32,
    pub(crate) idle: u32,
    pub(crate) active: u32,
    /// Short lives a second.
    pub(crate) churn: u32,
}

impl Default for Amounts {
    fn default() -> Self {
        Self {
            minutes: 20,
            idle: 8_000,
            active: 1_000,
            churn: 40,
        }
    }
}

/// HTTP connections that ask one request after another.
const HTTP: u32 = 40;
/// The parts of the time under load, in hundredths: the warm-up, round one, round two.
const PARTS: [(Phase, u32); 3] = [
    (Phase::WarmUp, 15),
    (Phase::RoundOne, 30),
    (Phase::RoundTwo, 55),
];

/// Less than this, and a round has too few readings.
const LEAST_MINUTES: u32 = 3;
/// Descriptors that the gateway needs besides two for each session: short lives under way, kept
/// connections, its own.
const SPARE_DESCRIPTORS: u32 = 1_500;

pub(crate) fn judge(run: &Run) -> anyhow::Result<Done> {
    let amounts = run.options.soak;
    ensure!(
        amounts.minutes >= LEAST_MINUTES,
        "a soak of less than {LEAST_MINUTES} minutes shows nothing"
    );
    let needed = 2 * (amounts.idle + amounts.active) + SPARE_DESCRIPTORS;
    let limit = running::descriptor_limit()?;
    if limit < needed {
        let why = format!("a process may open {limit} files, {needed} are needed");
        return run.skip("soak", &why);
    }
    let binaries = binaries(run)?;
    let folder = run.target.join("soak");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;

    let mut machine = Machine::start(&binaries, &folder)?;
    let ended = (|| {
        machine.read(Phase::Cold)?;
        for (phase, part) in PARTS {
            let time = Duration::from_secs(u64::from(amounts.minutes * 60 * part / 100));
            let stage = Stage::of(amounts, phase, time);
            stage.run(&mut machine)?;
        }
        machine.stop()
    })();
    // What was seen until then tells why.
    let told = ended.as_ref().err().map(|error| format!("{error:#}"));
    let passed = verdict::tell(&machine.outcome(), &folder)?;
    if let Some(error) = told {
        bail!("the soak broke off: {error}");
    }
    ensure!(passed, "the gateway is not as it was");
    Ok(Done::Passed)
}

/// The release builds of the gateway, unless another is to be judged, and of the load.
fn binaries(run: &Run) -> anyhow::Result<Binaries> {
    let build = |package: &str| {
        shell::run(&mut run.cargo(&["build", "--locked", "--release", "--package", package]))
    };
    build("tidegate-bench")?;
    let release = run.target.join("release");
    let gateway = match &run.options.gateway {
        Some(gateway) => gateway.clone(),
        None => {
            build("tidegate-server")?;
            release.join("tidegate")
        }
    };
    let load = release.join("tidegate-load");
    Ok(Binaries { gateway, load })
}

/// The number behind an option.
pub(crate) fn number(option: &str, word: Option<String>) -> anyhow::Result<u32> {
    let word = word.with_context(|| format!("{option}: a number is missing"))?;
    let number = word.parse();
    number.with_context(|| format!("{option} {word}: not a number"))
}
