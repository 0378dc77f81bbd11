//! The sample configurations: each must pass `tidegate check`. (Those of the documents are read by
//! a test beside the reader, `config/examples.rs`.)

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};

use crate::run::{Done, Run};
use crate::shell;

pub(crate) fn check(run: &Run) -> anyhow::Result<Done> {
    for sample in samples(&run.root.join("config"))? {
        // Some are for what only adapters can do.
        let mut command = Command::new(run.full_gateway());
        command.current_dir(&run.root).args(["check", "--config"]);
        shell::run(command.arg(&sample))?;
    }
    Ok(Done::Passed)
}

/// The YAML files of a folder, by name. That there are none is an error: a step that looks at
/// nothing would pass for ever.
fn samples(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = folder.read_dir();
    for entry in entries.with_context(|| format!("cannot list {}", folder.display()))? {
        let file = entry?.path();
        if file
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            files.push(file);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{} holds no samples", folder.display());
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_samples_is_an_error() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert!(!samples(&root.join("config")).unwrap().is_empty());
        assert!(samples(&root.join("xtask/src")).is_err());
        assert!(samples(&root.join("no-such-folder")).is_err());
    }
}
