//! Cargo's subcommands that we need, in the versions we know, kept under the target directory.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

use crate::run::Run;
use crate::shell;

/// A subcommand of cargo: `deny` is the program `cargo-deny`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tool {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
}

impl Tool {
    /// A cargo command that finds this tool; installs the tool first when it is missing.
    ///
    /// One of the same version on the user's PATH will do: building it costs minutes.
    pub(crate) fn cargo(self, run: &Run, arguments: &[&str]) -> anyhow::Result<Command> {
        let ours = run.tools().join("cargo");
        if !self.is_installed(&ours.join("bin").join(self.program()))
            && !self.is_installed(&self.program().into())
        {
            let mut install = run.cargo(&["install", &self.program(), "--locked"]);
            install
                .args(["--version", self.version, "--root"])
                .arg(&ours);
            // Beside the workspace's own target directory, not in it: no lock to wait for.
            install.arg("--target-dir").arg(run.tools().join("build"));
            shell::run(&mut install)?;
        }
        let mut command = run.cargo(&[self.name]);
        command
            .args(arguments)
            .env("PATH", path_with(ours.join("bin")));
        Ok(command)
    }

    fn program(self) -> String {
        format!("cargo-{}", self.name)
    }

    fn is_installed(self, program: &PathBuf) -> bool {
        shell::output(Command::new(program).arg("--version"))
            .is_ok_and(|said| said.trim().ends_with(self.version))
    }
}

fn path_with(first: PathBuf) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(first).chain(std::env::split_paths(&path));
    std::env::join_paths(folders).unwrap_or(path)
}
