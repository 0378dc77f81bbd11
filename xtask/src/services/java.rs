//! What runs on Java: a Kafka broker and a registry of schemas, fetched by Maven.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use super::once;
use crate::run::Run;
use crate::shell;

/// What Kafka and the registry ask for.
const OLDEST_JAVA: u32 = 17;

/// Whoever speaks SCRAM to a broker of the tests is this one; the kit's `kafka.rs` names it again.
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
    let blank = folder.join("blank");
    let settings = sources.join("broker.properties");
    once(&settings, &folder.join("formatted"), || {
        empty(&blank)?;
        format(&folder, &blank, &settings)
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
        maven(&sources, &["dependency:unpack", &output])
    })?;
    Ok(folder)
}

/// Starting a JVM for it takes longer than copying what it makes, so it happens once.
fn format(folder: &Path, blank: &Path, settings: &Path) -> anyhow::Result<()> {
    let settings = fs::read_to_string(settings)?;
    let file = folder.join("blank.properties");
    let more = "listeners=PLAIN://127.0.0.1:1,CONTROLLER://127.0.0.1:2\n\
                controller.quorum.voters=1@127.0.0.1:2\n\
                listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAIN:PLAINTEXT";
    let text = format!("{settings}\n{more}\nlog.dirs={}\n", blank.display());
    fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
    let mut command = Command::new(java()?);
    command.arg("-cp").arg(folder.join("lib/*"));
    command.args(["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c"]);
    command.arg(&file);
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        command.args(["--add-scram", &format!("{mechanism}=[{USER}]")]);
    }
    shell::output(&mut command)?;
    Ok(())
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
