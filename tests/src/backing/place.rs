//! Folders for what daemons keep: below the target directory, because they may grow.

use std::path::{Path, PathBuf};
use std::sync::Once;

/// A folder that goes with this value, unless a case has failed: then the next process that needs one
/// removes it.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    /// A new folder, whose name begins with `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        static SWEPT: Once = Once::new();
        let root = root();
        std::fs::create_dir_all(&root).unwrap();
        SWEPT.call_once(|| sweep(&root));
        let name = format!("{}-{name}-{:x}", std::process::id(), fastrand::u32(..));
        let folder = root.join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file or folder in it.
    #[must_use]
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            std::fs::remove_dir_all(&self.0).ok();
        }
    }
}

/// `target/tmp/backing`, told from where cargo puts programs: `target/debug`, and those of tests in its `deps`.
fn root() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let is_test = program.parent().unwrap().ends_with("deps");
    let target = program.ancestors().nth(if is_test { 3 } else { 2 });
    target.unwrap().join("tmp").join("backing")
}

/// Removes what processes left that are no more.
fn sweep(root: &Path) {
    for entry in root.read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split_once('-'));
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}
