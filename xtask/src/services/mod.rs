//! What the tests talk to and did not come with Rust: installed where it may be, named where not.
//!
//! Everything but Debian's packages goes into the repository's own folders. Versions are pinned in
//! `tests/tools/` (`package-lock.json`, `requirements*.txt`, `*/pom.xml`).

pub(crate) mod debian;
mod java;
mod scripts;
mod start;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

pub(crate) use self::debian::install as debian;
pub(crate) use self::scripts::{autobahn, node_tools, python, schemathesis};
pub(crate) use self::start::start;

use crate::run::{Done, Run};
use crate::shell;

/// A command the tests need, and the Debian package which brings it.
const DEBIAN: &[(&str, &str)] = &[
    ("curl", "curl"),
    // It brings the library that tests load.
    ("faketime", "faketime"),
    ("haproxy", "haproxy"),
    ("java", "default-jre-headless"),
    ("mosquitto", "mosquitto"),
    ("mvn", "maven"),
    ("nginx", "nginx"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("openssl", "openssl"),
    ("promtool", "prometheus"),
    ("python3", "python3-venv"),
    ("rabbitmq-server", "rabbitmq-server"),
    // It is a Sentinel and a node of a cluster as well.
    ("redis-server", "redis-server"),
];

/// The browser and what puts certificates into its store. Not every Debian-like system has the browser
/// as a package, so it stands apart.
const BROWSER: &[(&str, &str)] = &[("chromium", "chromium"), ("certutil", "libnss3-tools")];

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
        ("websockets, confluent-kafka", python(run)),
        ("schemathesis", schemathesis(run)),
        ("autobahn", autobahn(run)),
        ("kafka", java::kafka(run)),
        ("registry of schemas", java::registry(run)),
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
    let [kafka, registry] = ["kafka", "registry"].map(|name| run.tools().join(name));
    [
        ("TIDEGATE_BIN", run.gateway(), run.gateway()),
        ("TIDEGATE_FULL_BIN", run.full_gateway(), run.full_gateway()),
        (
            "TIDEGATE_NODE_TOOLS",
            tools.clone(),
            tools.join("node_modules/ws"),
        ),
        ("TIDEGATE_PYTHON", python.clone(), python),
        ("TIDEGATE_KAFKA", kafka.clone(), kafka.join("formatted")),
        (
            "TIDEGATE_REGISTRY",
            registry.clone(),
            registry.join("installed"),
        ),
    ]
    .into_iter()
    .filter(|(_, _, proof)| proof.exists())
    .map(|(name, value, _)| (name, value))
    .collect()
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
