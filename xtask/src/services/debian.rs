//! Debian's packages.

use std::process::Command;

use anyhow::{Context as _, bail};

use crate::shell;

/// Debian's packages for those of the commands that are missing.
pub(crate) fn install(wanted: &[(&str, &str)]) -> anyhow::Result<()> {
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(command, _)| !is_usable(command))
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    shell::which("apt-get").context("this is not Debian or Ubuntu")?;
    apt_get(&["update", "--quiet"])?;
    let install = ["install", "--quiet", "--yes", "--no-install-recommends"];
    apt_get(&[&install[..], &missing].concat())
}

/// Debian's own Python comes without what makes a virtual environment.
fn is_usable(command: &str) -> bool {
    shell::which(command).is_some_and(|program| {
        command != "python3"
            || shell::succeeds(Command::new(program).args(["-c", "import venv, ensurepip"]))
    })
}

/// `apt-get` as root, or by a `sudo` that asks no password.
fn apt_get(arguments: &[&str]) -> anyhow::Result<()> {
    let is_root = shell::output(Command::new("id").arg("-u"))?.trim() == "0";
    let quiet = "DEBIAN_FRONTEND=noninteractive";
    let mut command = if is_root {
        Command::new("env")
    } else if shell::succeeds(Command::new("sudo").args(["-n", "true"])) {
        let mut sudo = Command::new("sudo");
        sudo.args(["-n", "env"]);
        sudo
    } else {
        bail!("this user may not install Debian packages");
    };
    shell::run(command.arg(quiet).arg("apt-get").args(arguments))
}
