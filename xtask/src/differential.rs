//! The differential (`docs/differential.md`): the rows of `tests/it/wire` against nginx and HAProxy.

use std::fs;

use anyhow::{Context as _, bail};

use crate::run::{Done, Run};
use crate::{services, shell};

/// The other gateways, each with the Debian package which brings it.
const PEERS: &[(&str, &str)] = &[("nginx", "nginx"), ("haproxy", "haproxy")];

/// The step: every row through all three, judged by the test that knows the rows.
pub(crate) fn judge(run: &Run) -> anyhow::Result<Done> {
    if let Err(error) = services::debian(PEERS) {
        println!("{error:#}");
    }
    for (command, package) in PEERS {
        if shell::which(command).is_none() {
            let why = format!("Debian's package {package} is not installed");
            return run.skip("differential", &why);
        }
    }
    let folder = run.target.join("differential");
    let report = folder.join("report.md");
    // One from before would speak for a test that no longer runs.
    if report.exists() {
        fs::remove_file(&report).with_context(|| format!("cannot remove {}", report.display()))?;
    }
    let mut command = run.cargo(&["test", "--locked", "--package", "tidegate-tests"]);
    command.args(["--test", "it", "--"]);
    command.args(["wire::differential", "--ignored", "--nocapture"]);
    shell::run(command.env("TIDEGATE_DIFFERENTIAL", &folder))?;
    if !report.exists() {
        bail!("the differential left no report, so it did not run");
    }
    println!("every row: {}", report.display());
    Ok(Done::Passed)
}
