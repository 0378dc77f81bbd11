//! What the tests talk to and did not come with Rust: installed where it may be, named where not.
//!
//! Everything but Debian's packages goes into the repository's own folders. Versions are pinned in
//! `tests/tools/` (`package-lock.json`, `requirements*.txt`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run::{Done, Run};
use crate::shell;

/// A command the tests need, and the Debian package which brings it.
const DEBIAN: &[(&str, &str)] = &[
    ("curl", "curl"),
    // It brings the library that tests load.
    ("faketime", "faketime"),
    ("haproxy", "haproxy"),
    ("mosquitto", "mosquitto"),
    ("nginx", "nginx"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("promtool", "prometheus"),
    ("python3", "python3-venv"),
    ("rabbitmq-server", "rabbitmq-server"),
];

/// The browser and what puts certificates into its store. Not every Debian-like system has the browser
/// as a package, so it stands apart.
const BROWSER: &[(&str, &str)] = &[("chromium", "chromium"), ("certutil", "libnss3-tools")];

/// What makes virtual environments for CPython 2.7; later versions no longer can.
const VIRTUALENV: &str = "virtualenv==20.21.1";

/// The step: everything in turn; what cannot be had is skipped by name.
pub(crate) fn install(run: &Run) -> anyhow::Result<Done> {
    for packages in [DEBIAN, BROWSER] {
        if let Err(error) = debian(packages) {
            println!("{error:#}");
        }
    }
    for &(command, package) in DEBIAN.iter().chain(BROWSER) {
        match shell::which(command) {
            Some(file) => println!("{command}: {}", file.display()),
            None => {
                run.skip(
                    command,
                    &format!("Debian's package {package} is not installed"),
                )?;
            }
        }
    }
    for (name, found) in [
        (
            "ws, wscat, stompjs, mqtt, graphql-ws, redocly",
            node_tools(run),
        ),
        ("websockets", python(run)),
        ("schemathesis", schemathesis(run)),
        ("autobahn", autobahn(run)),
    ] {
        match found {
            Ok(path) => println!("{name}: {}", path.display()),
            Err(error) => {
                run.skip(name, &format!("{error:#}"))?;
            }
        }
    }
    Ok(Done::Passed)
}

/// What a test may rely on: a variable is there only when the thing is.
pub(crate) fn environment(run: &Run) -> Vec<(&'static str, PathBuf)> {
    let tools = run.root.join("tests/tools");
    let python = run.tools().join("venv/bin/python");
    [
        ("TIDEGATE_BIN", run.gateway(), run.gateway()),
        (
            "TIDEGATE_NODE_TOOLS",
            tools.clone(),
            tools.join("node_modules/ws"),
        ),
        ("TIDEGATE_PYTHON", python.clone(), python),
    ]
    .into_iter()
    .filter(|(_, _, proof)| proof.exists())
    .map(|(name, value, _)| (name, value))
    .collect()
}

/// Debian's packages for those of the commands that are missing.
pub(crate) fn debian(wanted: &[(&str, &str)]) -> anyhow::Result<()> {
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

/// Installs unless the stamp says that this very list has been installed already.
fn once(
    list: &Path,
    stamp: &Path,
    install: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wanted = fs::read(list).with_context(|| format!("cannot read {}", list.display()))?;
    if fs::read(stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    install()?;
    fs::write(stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_installed_once_and_again_when_it_changes() {
        let folder = std::env::temp_dir().join(format!("xtask-once-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (list, stamp) = (folder.join("list"), folder.join("stamp"));
        let installs = std::cell::Cell::new(0);
        let install = || {
            once(&list, &stamp, || {
                installs.set(installs.get() + 1);
                Ok(())
            })
            .unwrap();
        };
        fs::write(&list, "a").unwrap();
        install();
        install();
        assert_eq!(installs.get(), 1);
        fs::write(&list, "b").unwrap();
        install();
        assert_eq!(installs.get(), 2);
        fs::remove_dir_all(&folder).unwrap();
    }
}
