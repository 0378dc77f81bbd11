//! What runs on Java: a Kafka broker and a registry of schemas, fetched by Maven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::once;
use crate::run::Run;
use crate::running::{Running, free_address};
use crate::shell;
use crate::steps::now;

/// What Kafka and the registry ask for.
const OLDEST_JAVA: u32 = 17;

/// How long a first start may take: seconds on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often its log is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Whoever speaks SCRAM to a broker of the tests is this one; `tests/src/backing/kafka.rs` names it again.
const USER: &str = "name=alice,password=alice-secret";

/// Any identifier does: the brokers of the tests never meet.
const CLUSTER: &str = "dGlkZWdhdGUtdGVzdHMtMQ";

/// A folder with Kafka's jars in `lib`, and in `blank` what a new broker's storage holds.
pub(crate) fn kafka(run: &Run) -> anyhow::Result<PathBuf> {
    let (folder, sources) = (
        run.tools().join("kafka"),
        run.root.join("tests/tools/kafka"),
    );
    once(&sources.join("pom.xml"), &folder.join("installed"), || {
        empty(&folder)?;
        let output = format!("-DoutputDirectory={}", folder.join("lib").display());
        maven(&sources, &["dependency:copy-dependencies", &output])
    })?;
    let settings = sources.join("broker.properties");
    once(&settings, &folder.join("formatted"), || {
        let (blank, first) = (folder.join("blank"), folder.join("first"));
        let used = format(&folder, &first, &settings)?;
        let log = sources.join("log4j2.xml");
        let mut command = smallest_java()?;
        command.arg(format!("-Dlog4j2.configurationFile={}", log.display()));
        command.arg("-cp").arg(folder.join("lib/*"));
        command.arg("kafka.Kafka").arg(used);
        archive("kafka", &folder, command, "Kafka Server started")?;
        fs::remove_dir_all(first)?;
        format(&folder, &blank, &settings).map(drop)
    })?;
    Ok(folder)
}

/// A folder with the registry's own jar, and its `lib`.
pub(crate) fn registry(run: &Run) -> anyhow::Result<PathBuf> {
    let folder = run.tools().join("registry");
    let sources = run.root.join("tests/tools/registry");
    once(&sources.join("pom.xml"), &folder.join("installed"), || {
        empty(&folder)?;
        let output = format!("-DoutputDirectory={}", folder.display());
        maven(&sources, &["dependency:unpack", &output])?;
        let port = free_address()?.port();
        let mut command = smallest_java()?;
        command.arg("-Dquarkus.http.host=127.0.0.1");
        command.arg(format!("-Dquarkus.http.port={port}"));
        command.arg("-jar").arg(jar(&folder)?);
        archive("registry", &folder, command, "Listening on:")
    })?;
    Ok(folder)
}

/// Starts what `command` starts, until it says `words`, so that the classes which it has loaded by then
/// are at hand in `classes.jsa` for whoever starts it next: that halves what a start costs.
fn archive(
    name: &'static str,
    folder: &Path,
    mut command: Command,
    words: &str,
) -> anyhow::Result<()> {
    let option = format!(
        "-XX:ArchiveClassesAtExit={}",
        folder.join("classes.jsa").display()
    );
    // Options of a JVM stand before what it runs, so they come from outside.
    command.env("JDK_JAVA_OPTIONS", option);
    let path = folder.join("first.log");
    let log = fs::File::create(&path)?;
    command.stderr(log.try_clone()?).stdout(log);
    let mut running = Running::start(name, &mut command)?;
    let begun = now();
    while !fs::read_to_string(&path)?.contains(words) {
        running.must_run()?;
        if begun.elapsed() > PATIENCE {
            bail!("{name} does not start: {}", path.display());
        }
        thread::sleep(LOOK);
    }
    let pid = running.id().to_string();
    shell::output(Command::new("kill").args(["-s", "TERM", &pid]))?;
    running.wait_for_end(PATIENCE).map(drop)
}

/// A JVM as the kit starts it (`tests/src/backing/kafka.rs`), for what is installed in `home`: the classes
/// that it loads first are at hand there. What it leaves lying about goes to `scratch`.
pub(super) fn small_java(home: &Path, scratch: &Path) -> anyhow::Result<Command> {
    let mut command = smallest_java()?;
    let classes = home.join("classes.jsa");
    command.arg(format!("-XX:SharedArchiveFile={}", classes.display()));
    command.arg("-XX:+PerfDisableSharedMem");
    command.arg(format!("-Djava.io.tmpdir={}", scratch.display()));
    Ok(command)
}

fn smallest_java() -> anyhow::Result<Command> {
    let mut command = Command::new(java()?);
    command.args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    Ok(command)
}

/// The registry's own jar.
pub(super) fn jar(folder: &Path) -> anyhow::Result<PathBuf> {
    let mut entries = folder.read_dir()?.flatten().map(|entry| entry.path());
    let jar = entries.find(|file| file.extension().is_some_and(|end| end == "jar"));
    jar.context("no registry came")
}

/// Makes the storage `data` of a new broker, and gives the settings of one that uses it. A test copies
/// what is made here: starting a JVM for it takes longer.
fn format(folder: &Path, data: &Path, settings: &Path) -> anyhow::Result<PathBuf> {
    empty(data)?;
    let settings = fs::read_to_string(settings)?;
    let (broker, controller) = (free_address()?, free_address()?);
    let text = format!(
        "{settings}\nlisteners=PLAIN://{broker},CONTROLLER://{controller}\n\
         controller.quorum.voters=1@{controller}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT\n\
         log.dirs={}\n",
        data.display()
    );
    let file = folder.join("new.properties");
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = smallest_java()?;
    command.arg("-cp").arg(folder.join("lib/*"));
    command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]);
    command.arg(&file);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        command.args(["--add-scram", &format!("{mechanism}=[{USER}]")]);
    }
    shell::output(&mut command)?;
    Ok(file)
}

fn maven(sources: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    java()?;
    let program = shell::which("mvn").context("no Maven (mvn)")?;
    let mut command = Command::new(program);
    command.args(["--quiet", "--batch-mode", "--file"]);
    shell::run(command.arg(sources.join("pom.xml")).args(arguments))
}

/// The program `java`, which is not too old.
fn java() -> anyhow::Result<PathBuf> {
    let program = shell::which("java").context("no Java")?;
    let said = shell::output(Command::new(&program).arg("--version"))?;
    match major(&said) {
        Some(version) if version >= OLDEST_JAVA => Ok(program),
        _ => bail!(
            "Java {OLDEST_JAVA} or later is needed; this is {}",
            said.trim()
        ),
    }
}

/// Of `openjdk 17.0.15 2025-04-15`, 17.
fn major(said: &str) -> Option<u32> {
    let version = said.split_whitespace().nth(1)?;
    let mut digits = version.split(|letter: char| !letter.is_ascii_digit());
    digits.next()?.parse().ok()
}

/// Makes `folder` anew.
fn empty(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_java_are_read() {
        assert_eq!(major("openjdk 17.0.15 2025-04-15\nmore"), Some(17));
        assert_eq!(major("java 21 2023-09-19 LTS"), Some(21));
        assert_eq!(major("openjdk 25-ea 2025-09-16"), Some(25));
        assert_eq!(major("nothing"), None);
    }
}
