//! `cargo xtask fuzz-planted`: what the fuzz targets are worth. Each patch of `fuzz/planted/` puts
//! one bug into a copy of the tree, and the target that it is named after must find it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::fuzz::{self, Outcome, Target};
use crate::run::Run;
use crate::shell;
use crate::steps::now;

/// How long a target has for a bug.
const SECONDS: u32 = 120;

/// Says whether every bug was found.
pub(crate) fn find_all(run: &Run) -> anyhow::Result<bool> {
    if !fuzz::has_compiler() {
        run.skip("fuzz-planted", fuzz::NO_COMPILER)?;
        return Ok(true);
    }
    let patches = patches(run, "fuzz/planted", &run.options.test_arguments)?;
    let folder = run.target.join("fuzz-planted");
    let tree = copy(run, &folder.join("tree"))?;
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

/// The patches of a folder whose names begin with what is wanted; all, if nothing is.
pub(crate) fn patches(run: &Run, folder: &str, wanted: &[String]) -> anyhow::Result<Vec<PathBuf>> {
    let mut patches: Vec<PathBuf> = fs::read_dir(run.root.join(folder))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    patches.retain(|file| file.extension().is_some_and(|end| end == "patch"));
    let begins = |file: &Path, part: &str| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with(part)
    };
    for part in wanted {
        if !patches.iter().any(|file| begins(file, part)) {
            bail!("no patch in {folder}/ begins with {part}");
        }
    }
    patches.retain(|file| wanted.is_empty() || wanted.iter().any(|part| begins(file, part)));
    if patches.is_empty() {
        bail!("there is no patch in {folder}/");
    }
    patches.sort();
    Ok(patches)
}

/// A clone of what is committed. It borrows our objects, and our repository knows nothing of it.
pub(crate) fn copy(run: &Run, tree: &Path) -> anyhow::Result<PathBuf> {
    if tree.exists() {
        fs::remove_dir_all(tree)?;
    }
    let mut clone = git(&run.root);
    clone.args(["clone", "--quiet", "--shared", "."]).arg(tree);
    shell::run(&mut clone)?;
    let head = shell::output(git(&run.root).args(["rev-parse", "HEAD"]))?;
    shell::run(git(tree).args(["checkout", "--quiet", "--detach", head.trim()]))?;
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

pub(crate) fn git(folder: &Path) -> Command {
    let mut command = Command::new("git");
    command.current_dir(folder);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A patch that fits no more would be seen by those alone who plant the bugs.
    #[test]
    fn each_bug_can_be_planted() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let patches = fs::read_dir(root.join("fuzz/planted")).unwrap();
        for patch in patches {
            let mut apply = git(&root);
            apply.args(["apply", "--check"]).arg(patch.unwrap().path());
            shell::run(&mut apply).unwrap();
        }
    }
}
