//! One run of xtask: where things are, what was asked for, and what had to be skipped.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::arguments::Options;
use crate::shell;

/// How a step ended when it did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    Passed,
    Skipped,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) options: Options,
    /// The repository's root.
    pub(crate) root: PathBuf,
    /// Cargo's target directory, wherever the user has put it.
    pub(crate) target: PathBuf,
    /// `CI=true`: then nothing that can be installed may be skipped.
    pub(crate) is_ci: bool,
    skipped: RefCell<Vec<String>>,
}

impl Run {
    pub(crate) fn new(options: Options) -> anyhow::Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies in the root of the repository")?
            .to_owned();
        let target = metadata(&root)?["target_directory"]
            .as_str()
            .context("cargo metadata names no target directory")?
            .into();
        Ok(Self {
            options,
            root,
            target,
            is_ci: std::env::var_os("CI").is_some_and(|value| value == "true"),
            skipped: RefCell::default(),
        })
    }

    /// Where tools are kept that xtask installs for this repository alone.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// The gateway as the step `build` leaves it.
    pub(crate) fn gateway(&self) -> PathBuf {
        self.target.join("debug").join("tidegate")
    }

    /// The same with every adapter.
    pub(crate) fn full_gateway(&self) -> PathBuf {
        self.target.join("debug").join("tidegate-full")
    }

    /// What cargo knows of the workspace's own packages.
    pub(crate) fn metadata(&self) -> anyhow::Result<Value> {
        metadata(&self.root)
    }

    /// A cargo command in the root of the repository, with the cargo that started us.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(&self.root);
        command.args(arguments);
        command
    }

    /// Leaves `what` out, aloud; with `CI=true` that is a failure.
    pub(crate) fn skip(&self, what: &str, why: &str) -> anyhow::Result<Done> {
        if self.is_ci {
            bail!("{what} may not be skipped when CI=true: {why}");
        }
        Ok(self.skip_even_in_ci(what, why))
    }

    /// Leaves out what no machine can install for itself, because it lives on the network.
    pub(crate) fn skip_even_in_ci(&self, what: &str, why: &str) -> Done {
        let line = format!("{what}: {why}");
        println!("SKIPPED: {line}");
        let mut skipped = self.skipped.borrow_mut();
        // Two steps may miss the same thing; the summary names it once.
        if !skipped.contains(&line) {
            skipped.push(line);
        }
        Done::Skipped
    }

    pub(crate) fn skipped(&self) -> Vec<String> {
        self.skipped.borrow().clone()
    }
}

fn metadata(root: &Path) -> anyhow::Result<Value> {
    let mut command = cargo(root);
    command.args(["metadata", "--format-version", "1", "--no-deps"]);
    serde_json::from_str(&shell::output(&mut command)?).context("cargo metadata is not JSON")
}

fn cargo(root: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    command
}
