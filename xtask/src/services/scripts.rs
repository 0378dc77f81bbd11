//! What Node and Python bring, each in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use super::once;
use crate::run::Run;
use crate::shell;

/// What makes virtual environments for CPython 2.7; later versions no longer can.
const VIRTUALENV: &str = "virtualenv==20.21.1";

/// What asks the admin API for whatever its document tells; it brings many packages, so it has a
/// Python of its own.
pub(crate) fn schemathesis(run: &Run) -> anyhow::Result<PathBuf> {
    let folder = run.tools().join("schemathesis");
    let requirements = run.root.join("tests/tools/requirements-openapi.txt");
    once(&requirements, &folder.join("installed"), || {
        shell::run(python3()?.args(["-m", "venv", "--clear"]).arg(&folder))?;
        pip_install(&folder, "-r", &requirements)
    })?;
    Ok(folder.join("bin/schemathesis"))
}

/// `tests/tools` with its npm packages.
pub(crate) fn node_tools(run: &Run) -> anyhow::Result<PathBuf> {
    let tools = run.root.join("tests/tools");
    let lock = tools.join("package-lock.json");
    once(&lock, &tools.join("node_modules/.installed"), || {
        shell::which("npm").context("no npm")?;
        let mut command = Command::new("npm");
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        shell::run(command.current_dir(&tools))
    })?;
    Ok(tools)
}

/// A Python 3 with the packages of `tests/tools/requirements.txt`.
pub(crate) fn python(run: &Run) -> anyhow::Result<PathBuf> {
    let (folder, requirements) = (
        run.tools().join("venv"),
        run.root.join("tests/tools/requirements.txt"),
    );
    once(&requirements, &folder.join("installed"), || {
        shell::run(python3()?.args(["-m", "venv", "--clear"]).arg(&folder))?;
        pip_install(&folder, "-r", &requirements)
    })?;
    Ok(folder.join("bin/python"))
}

/// The Autobahn suite's `wstest`, which exists for Python 2.7 only.
pub(crate) fn autobahn(run: &Run) -> anyhow::Result<PathBuf> {
    let (folder, maker) = (run.tools().join("py27"), run.tools().join("virtualenv"));
    let requirements = run.root.join("tests/tools/requirements-autobahn.txt");
    once(&requirements, &folder.join("installed"), || {
        let python27 = python27()?;
        shell::run(python3()?.args(["-m", "venv", "--clear"]).arg(&maker))?;
        pip_install(&maker, "--", VIRTUALENV)?;
        let mut command = Command::new(maker.join("bin/virtualenv"));
        command
            .args(["--quiet", "--clear", "--python"])
            .arg(python27);
        shell::run(command.arg(&folder))?;
        pip_install(&folder, "-r", &requirements)
    })?;
    Ok(folder.join("bin/wstest"))
}

fn python3() -> anyhow::Result<Command> {
    let program = shell::which("python3").context("no python3")?;
    Ok(Command::new(program))
}

fn pip_install(folder: &Path, how: &str, what: impl AsRef<std::ffi::OsStr>) -> anyhow::Result<()> {
    let mut command = Command::new(folder.join("bin/python"));
    command
        .args(["-m", "pip", "install", "--quiet", how])
        .arg(what);
    shell::run(&mut command)
}

/// A CPython (or PyPy) 2.7: from PATH, or one of pyenv's.
fn python27() -> anyhow::Result<PathBuf> {
    let mut candidates: Vec<PathBuf> = vec!["python2.7".into(), "pypy".into()];
    let pyenv = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| {
            let home = std::env::var_os("HOME")?;
            Some(Path::new(&home).join(".pyenv"))
        });
    let versions = pyenv.and_then(|root| root.join("versions").read_dir().ok());
    for version in versions.into_iter().flatten().flatten() {
        candidates.push(version.path().join("bin/python2.7"));
    }
    // A shim of pyenv may be on PATH and yet start nothing, so each is asked for its real self.
    let ask = "import sys; assert sys.version_info[:2] == (2, 7); sys.stdout.write(sys.executable)";
    candidates
        .iter()
        .find_map(|candidate| shell::output(Command::new(candidate).args(["-c", ask])).ok())
        .map(PathBuf::from)
        .context("no CPython 2.7")
}
