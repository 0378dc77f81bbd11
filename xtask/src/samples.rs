//! The sample configurations: each must pass `tidegate check`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::run::{Done, Run};
use crate::shell;

pub(crate) fn check(run: &Run) -> anyhow::Result<Done> {
    let samples = samples(&run.root.join("config"))?;
    if samples.is_empty() {
        println!("config/ holds no samples yet");
    }
    for sample in samples {
        let mut command = Command::new(run.gateway());
        command.current_dir(&run.root).args(["check", "--config"]);
        shell::run(command.arg(&sample))?;
    }
    Ok(Done::Passed)
}

/// The YAML files of a folder, by name; none when there is no such folder.
fn samples(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let mut files = Vec::new();
    for entry in folder.read_dir().context("cannot list config/")? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}
