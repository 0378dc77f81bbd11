//! The clients and servers that we did not write, run as child processes.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The script `name` of `tests/tools`.
#[must_use]
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tools")
        .join(name)
}

/// The folder whose `node_modules` holds `ws`; `None`, said aloud, when it is not there.
#[must_use]
pub fn node_tools(test: &str) -> Option<PathBuf> {
    let folder = variable(test, "TIDEGATE_NODE_TOOLS")?;
    let is_there = PathBuf::from(&folder).join("node_modules/ws").is_dir();
    found(test, "Node's ws", is_there.then_some(folder.into()))
}

/// The folder whose `node_modules` holds `package`; `None`, said aloud, when it is not there.
#[must_use]
pub fn node_package(test: &str, package: &str) -> Option<PathBuf> {
    let folder = node_tools(test)?;
    let is_there = folder.join("node_modules").join(package).is_dir();
    found(
        test,
        &format!("npm's {package}"),
        is_there.then_some(folder),
    )
}

/// RabbitMQ's server; `None`, said aloud, when it is not there. What stands on the `PATH` is a script
/// of Debian's that becomes another user.
#[must_use]
pub fn rabbitmq(test: &str) -> Option<PathBuf> {
    let file = PathBuf::from("/usr/lib/rabbitmq/bin/rabbitmq-server");
    let is_there = file.is_file();
    found(test, "rabbitmq-server", is_there.then_some(file))
}

/// A Python that has `websockets`; `None`, said aloud, when there is none.
#[must_use]
pub fn python(test: &str) -> Option<PathBuf> {
    let python = PathBuf::from(variable(test, "TIDEGATE_PYTHON")?);
    let is_there = python.is_file();
    found(test, "Python's websockets", is_there.then_some(python))
}

/// A Python that has `confluent-kafka`; `None`, said aloud, when there is none.
#[must_use]
pub fn python_of_kafka(test: &str) -> Option<PathBuf> {
    let python = PathBuf::from(variable(test, "TIDEGATE_PYTHON")?);
    let libraries = python.parent().and_then(Path::parent);
    let mut versions = libraries?.join("lib").read_dir().into_iter().flatten();
    let is_there = versions.any(|version| {
        let version = version.unwrap().path();
        version.join("site-packages/confluent_kafka").is_dir()
    });
    found(test, "Python's confluent-kafka", is_there.then_some(python))
}

/// The folder with a Kafka broker's jars, and a Java to run them; `None`, said aloud, when either is
/// not there.
#[must_use]
pub fn kafka(test: &str) -> Option<PathBuf> {
    java(test, "Kafka", "TIDEGATE_KAFKA")
}

/// The folder with a registry of schemas, and a Java to run it; `None`, said aloud, when either is not
/// there.
#[must_use]
pub fn registry(test: &str) -> Option<PathBuf> {
    java(test, "the registry of schemas", "TIDEGATE_REGISTRY")
}

fn java(test: &str, what: &str, name: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(variable(test, name)?);
    program(test, "java")?;
    let is_there = folder.join("lib").is_dir();
    found(test, what, is_there.then_some(folder))
}

/// The built binary `tidegate`; `None`, said aloud, when it is not there.
#[must_use]
pub fn tidegate(test: &str) -> Option<PathBuf> {
    let binary = PathBuf::from(variable(test, "TIDEGATE_BIN")?);
    let is_there = binary.is_file();
    found(test, "the binary tidegate", is_there.then_some(binary))
}

/// The binary `tidegate` built with this feature: `TIDEGATE_FULL_BIN`, or else [`tidegate()`]; `None`, said
/// aloud, when there is none.
#[must_use]
pub fn tidegate_with(test: &str, feature: &str) -> Option<PathBuf> {
    let full = std::env::var_os("TIDEGATE_FULL_BIN").map(PathBuf::from);
    let binary = match full {
        Some(binary) => binary,
        None => tidegate(test)?,
    };
    let output = std::process::Command::new(&binary).arg("version").output();
    let output = output.map(|one| String::from_utf8_lossy(&one.stdout).into_owned());
    let has_it = output.is_ok_and(|text| text.split([' ', ',', '\n']).any(|word| word == feature));
    let what = format!("the binary tidegate with the feature {feature}");
    found(test, &what, has_it.then_some(binary))
}

/// The example `name` of the library, which cargo builds beside the tests of the workspace; `None`,
/// said aloud, when it is not there.
#[must_use]
pub fn example(test: &str, name: &str) -> Option<PathBuf> {
    let this = std::env::current_exe().ok();
    let folder = this.as_deref().and_then(|file| file.parent()?.parent());
    let program = folder.map(|folder| folder.join("examples").join(name));
    let what = format!("the example {name}");
    found(test, &what, program.filter(|file| file.is_file()))
}

/// What sets the wall clock of a process, to be loaded before all else; `None`, said aloud, when it is
/// not there.
#[must_use]
pub fn faketime(test: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> = vec!["/usr/lib".into()];
    let below = std::fs::read_dir("/usr/lib").ok().into_iter().flatten();
    folders.extend(below.flatten().map(|entry| entry.path()));
    let mut files = folders
        .iter()
        .map(|folder| folder.join("faketime/libfaketime.so.1"));
    found(test, "libfaketime", files.find(|file| file.is_file()))
}

/// The program `name` of the system; `None`, said aloud, when it is not there.
#[must_use]
pub fn program(test: &str, name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    folders.push("/usr/sbin".into());
    let place = folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    found(test, name, place)
}

fn variable(test: &str, name: &str) -> Option<OsString> {
    found(test, name, std::env::var_os(name))
}

/// Standard error is written directly: the test harness shows the words even of a case that
/// passes.
fn found<T>(test: &str, what: &str, thing: Option<T>) -> Option<T> {
    if thing.is_none() {
        let words = format!("SKIPPED {test}: {what} is missing (run cargo xtask services)");
        assert!(
            std::env::var_os("CI").is_none_or(|ci| ci != "true"),
            "{words}"
        );
        writeln!(std::io::stderr(), "{words}").ok();
    }
    thing
}
