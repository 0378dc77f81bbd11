//! A browser: headless Chromium.

mod driven;

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::child::Process;

pub use self::driven::{Driven, Page};

/// A browser has much to do before its first request, and on a machine that is busy.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A browser is many processes; all of them go with it.
#[derive(Debug)]
pub struct Browser(Process, u32);

impl Browser {
    /// Shows it `url`. Its profile is below `home`.
    pub fn open(home: &Path, url: &str) -> Self {
        Self::start(home, &[url])
    }

    fn start(home: &Path, words: &[&str]) -> Self {
        let mut command = Command::new("chromium");
        command.env("HOME", home);
        for name in [
            "XDG_DATA_HOME",
            "XDG_CONFIG_HOME",
            "XDG_CACHE_HOME",
            "DISPLAY",
        ] {
            command.env_remove(name);
        }
        // Its own sandbox takes rights that a container need not give.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        command.args([
            "--no-first-run",
            "--disable-background-networking",
            "--no-proxy-server",
        ]);
        let profile = home.join("profile");
        command.arg(format!("--user-data-dir={}", profile.display()));
        let process = Process::start(command.args(words).process_group(0));
        let group = process.id();
        Self(process, group)
    }

    /// What it has printed.
    #[must_use]
    pub fn output(&self) -> String {
        self.0.output()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = format!("-{}", self.1);
        Command::new("kill")
            .args(["-s", "KILL", "--", &group])
            .status()
            .ok();
    }
}
