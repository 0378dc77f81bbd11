//! `cargo xtask fuzz-planted`: what the fuzz targets are worth. Each patch of `fuzz/planted/` puts
//! one bug into a copy of the tree, and the target that it is named after must find it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;

use crate::fuzz::{self, Outcome, Target};
use crate::run::Run;
use crate::shell;
use crate::steps::now;

/// How long a target has for a bug.
const SECONDS: u32 = 120;

/// Says whether every bug was found.
pub(crate) fn find_all(run: &Run) -> anyhow::Result<bool> {
    let folder = run.target.join("fuzz-planted");
    let tree = copy(run, &folder.join("tree"))?;
    let mut patches: Vec<PathBuf> = fs::read_dir(run.root.join("fuzz/planted"))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    let wanted = &run.options.test_arguments;
    patches.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".patch")
            && (wanted.is_empty() || wanted.iter().any(|part| name.starts_with(&**part)))
    });
    patches.sort();
    let mut told = Vec::new();
    for patch in &patches {
        told.push(find(run, &folder, &tree, patch)?);
    }
    println!("\n=== planted bugs");
    for (name, seconds) in &told {
        match seconds {
            Some(seconds) => println!("{name:<40} found in {seconds:>6.1} s"),
            None => println!("{name:<40} NOT FOUND in {SECONDS} s"),
        }
    }
    Ok(told.iter().all(|(_, seconds)| seconds.is_some()))
}

/// A work tree of what is committed, beside ours.
fn copy(run: &Run, tree: &Path) -> anyhow::Result<PathBuf> {
    if tree.join(".git").exists() {
        let head = shell::output(git(&run.root).args(["rev-parse", "HEAD"]))?;
        shell::run(git(tree).args(["reset", "--quiet", "--hard", head.trim()]))?;
    } else {
        let mut add = git(&run.root);
        add.args(["worktree", "add", "--force", "--detach"]);
        shell::run(add.arg(tree).arg("HEAD"))?;
    }
    Ok(tree.to_owned())
}

/// Plants one bug; tells in how many seconds it was found.
fn find(
    run: &Run,
    folder: &Path,
    tree: &Path,
    patch: &Path,
) -> anyhow::Result<(String, Option<f64>)> {
    let name = patch.file_stem().context("a patch has a name")?;
    let name = name.to_string_lossy().into_owned();
    // `session-accept` is a bug for the target `session`.
    let target = name.split('-').next().unwrap_or_default().to_owned();
    println!("\n=== {name}");
    shell::run(git(tree).arg("apply").arg(patch))?;
    let built = folder.join("build");
    let result = shell::run(fuzz::build(run, tree, &built)?.arg(&target));
    shell::run(git(tree).args(["reset", "--quiet", "--hard"]))?;
    result?;
    let findings = folder.join("findings").join(&name);
    if findings.exists() {
        fs::remove_dir_all(&findings)?;
    }
    let target = Target {
        program: fuzz::built(&built, &target)?,
        kept: tree.join("fuzz/corpus").join(&target),
        name: target,
        findings,
    };
    let begun = now();
    let seconds = match target.run(SECONDS)? {
        Outcome::Found(_) => Some(begun.elapsed().as_secs_f64()),
        Outcome::Quiet(_) => None,
    };
    Ok((name, seconds))
}

fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    command
}
