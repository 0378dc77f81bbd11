//! The library beside others: `bench/ws`, which is a workspace of its own, so that those others stay
//! out of the gateway's.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context as _;

use super::options::Options;
use super::report::between;
use crate::run::Run;
use crate::shell;

/// Between these lines of the document stand the library's figures.
const MARKS: (&str, &str) = (
    "<!-- library: made by cargo xtask bench --only ws --write -->",
    "<!-- end of library -->",
);

/// Builds the bench, runs it, and tells its tables.
pub(super) fn measure(run: &Run, options: &Options) -> anyhow::Result<()> {
    let target = run.target.join("bench-ws");
    let mut build = run.cargo(&["build", "--locked", "--release"]);
    build.args(["--manifest-path", "bench/ws/Cargo.toml", "--target-dir"]);
    shell::run(build.arg(&target))?;
    let mut bench = Command::new(target.join("release/tidegate-ws-bench"));
    bench.arg("--rounds").arg(options.rounds.to_string());
    let tables = shell::output(&mut bench)?;
    println!("\nThe library beside others, in ns of CPU and in bytes\n\n{tables}");
    if options.write {
        write(&run.root.join("bench/BENCHMARKS.md"), &tables)?;
    }
    Ok(())
}

fn write(document: &Path, tables: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(document)
        .with_context(|| format!("cannot read {}", document.display()))?;
    fs::write(document, between(&text, MARKS, tables)?)?;
    println!("the figures stand in {}", document.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_a_place_for_it() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/BENCHMARKS.md");
        let text = fs::read_to_string(document).unwrap();
        assert!(between(&text, MARKS, "").is_ok());
    }
}
