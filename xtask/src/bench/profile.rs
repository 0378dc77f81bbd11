//! Where the gateway spends its time in a scenario, as `perf` sees it.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::options::Options;
use super::peers::{Peer, Setting, Started};
use super::rounds;
use super::scenarios::Unit;
use crate::running::{Running, free_address};
use crate::shell;

/// The time of a measurement, at least: `perf` comes to it late.
const LEAST: Duration = Duration::from_secs(5);
/// How long `perf` may take to write down what it saw.
const WRITING: Duration = Duration::from_secs(60);

/// Leaves one `profile-SCENARIO.txt` for each scenario of CPU, and gives the scenarios' names and
/// these texts.
pub(super) fn take(setting: Setting<'_>) -> anyhow::Result<Vec<(&'static str, String)>> {
    let folder = setting.folder;
    let options = Options {
        window: setting.options.window.max(LEAST),
        ..setting.options.clone()
    };
    let setting = Setting {
        options: &options,
        ..setting
    };
    let mut profiles = Vec::new();
    let perf = shell::which("perf").context("no perf")?;
    for scenario in &options.scenarios {
        if scenario.unit == Unit::Memory {
            continue;
        }
        let upstream = free_address()?;
        let started = Started::start(Peer::Tidegate, setting, scenario.legs, upstream)?;
        let data = folder.join(format!("profile-{}.data", scenario.name));
        let mut record = Command::new(&perf);
        record.args(["record", "--quiet", "--freq", "1999"]);
        record
            .args(["--pid", &started.id().to_string(), "--output"])
            .arg(&data);
        let mut record = Running::start("perf", record.stdin(Stdio::null()))?;
        rounds::load(&started, upstream, scenario, setting)?;
        drop(started);
        record.wait_for_end(WRITING)?;
        let mut text = report(&perf, &data, "overhead,dso")?;
        text.push('\n');
        text.push_str(&report(&perf, &data, "overhead,dso,symbol")?);
        ensure!(
            text.trim().len() > 1,
            "perf saw nothing in {}",
            scenario.name
        );
        let file = folder.join(format!("profile-{}.txt", scenario.name));
        std::fs::write(&file, &text)?;
        println!("profile of {}: {}", scenario.name, file.display());
        profiles.push((scenario.name, text));
    }
    Ok(profiles)
}

/// What took one part in 200 or more, without the words about the table.
fn report(perf: &Path, data: &Path, fields: &str) -> anyhow::Result<String> {
    let mut report = Command::new(perf);
    report.args([
        "report",
        "--stdio",
        "--no-children",
        "--percent-limit",
        "0.5",
    ]);
    report.args(["--fields", fields, "--input"]).arg(data);
    let said = shell::output(&mut report)?;
    let lines = said.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}
