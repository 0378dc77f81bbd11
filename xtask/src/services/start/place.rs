//! A folder for what they keep and say, which goes when they do.

use std::fs::{self, File};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

use crate::running::Running;
use crate::shell;

/// The folder.
pub(super) struct Place(PathBuf);

impl Place {
    /// A new one below `target`; those whose processes are no more are removed.
    pub(super) fn new(target: &Path) -> anyhow::Result<Self> {
        let root = target.join("tmp/services");
        for entry in root.read_dir().into_iter().flatten().flatten() {
            if !Path::new("/proc").join(entry.file_name()).exists() {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
        let folder = root.join(std::process::id().to_string());
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// A new folder in it.
    pub(super) fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.0.join(name);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(folder)
    }

    /// A file in it.
    pub(super) fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let file = self.0.join(name);
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(file)
    }

    /// Starts a program that says to a file what it has to say. It ends when this value's process does,
    /// however that ends, and hears nothing of a Ctrl-C itself.
    pub(super) fn run(&self, name: &'static str, program: &Command) -> anyhow::Result<Running> {
        let mut command = match shell::which("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command.args(["--pdeathsig", "KILL"]);
                command.arg(program.get_program());
                command
            }
            None => Command::new(program.get_program()),
        };
        command.args(program.get_args()).current_dir(&self.0);
        let variables = program.get_envs();
        command.envs(variables.filter_map(|(variable, value)| Some((variable, value?))));
        let log = File::create(self.log(name))?;
        command.stdin(Stdio::null()).process_group(0);
        command.stderr(log.try_clone()?).stdout(log);
        Running::start(name, &mut command)
    }

    /// The end of what a program has said.
    pub(super) fn said(&self, name: &str) -> String {
        const MOST: usize = 4_000;
        let text = fs::read(self.log(name)).unwrap_or_default();
        let end = text.get(text.len().saturating_sub(MOST)..);
        String::from_utf8_lossy(end.unwrap_or_default()).into_owned()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.0.join(format!("{name}.log"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}
