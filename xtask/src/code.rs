//! The steps cargo itself can do: format, lint, build, test, document, and the features.

use anyhow::Context as _;

use crate::run::{Done, Run};
use crate::{services, shell};

/// `cargo xtask fmt`: formats, where the step `fmt` only looks.
pub(crate) fn format(run: &Run) -> anyhow::Result<()> {
    shell::run(&mut run.cargo(&["fmt", "--all"]))?;
    shell::run(&mut run.cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml"]))
}

pub(crate) fn formatted(run: &Run) -> anyhow::Result<Done> {
    shell::run(&mut run.cargo(&["fmt", "--all", "--check"]))?;
    shell::run(&mut run.cargo(&["fmt", "--manifest-path", "fuzz/Cargo.toml", "--check"]))?;
    Ok(Done::Passed)
}

pub(crate) fn lint(run: &Run) -> anyhow::Result<Done> {
    shell::run(&mut run.cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(Done::Passed)
}

pub(crate) fn build(run: &Run) -> anyhow::Result<Done> {
    shell::run(&mut run.cargo(&["build", "--package", "tidegate-server"]))?;
    Ok(Done::Passed)
}

/// Tests and doctests, with default features and, where there are others, with all of them.
pub(crate) fn tests(run: &Run) -> anyhow::Result<Done> {
    test(run, &[])?;
    if !features_of_packages(run)?.is_empty() {
        test(run, &["--all-features"])?;
    }
    Ok(Done::Passed)
}

fn test(run: &Run, features: &[&str]) -> anyhow::Result<()> {
    let mut command = run.cargo(&["test", "--workspace"]);
    command.args(features);
    command.args(&run.options.test_arguments);
    for (name, value) in services::environment(run) {
        command.env(name, value);
    }
    shell::run(&mut command)
}

/// Only the libraries: the binary bears the library's name, and its pages would overwrite them.
pub(crate) fn doc(run: &Run) -> anyhow::Result<Done> {
    let mut command = run.cargo(&["doc", "--workspace", "--lib", "--no-deps"]);
    shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Done::Passed)
}

pub(crate) fn features(run: &Run) -> anyhow::Result<Done> {
    let features = features_of_packages(run)?;
    if features.is_empty() {
        println!("no package has a feature yet");
    }
    for (package, feature) in &features {
        shell::run(&mut run.cargo(&[
            "check",
            "--package",
            package,
            "--no-default-features",
            "--features",
            feature,
        ]))?;
    }
    Ok(Done::Passed)
}

/// Every feature but `default`, with the name of its package.
fn features_of_packages(run: &Run) -> anyhow::Result<Vec<(String, String)>> {
    let metadata = run.metadata()?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let mut found = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let features = package["features"].as_object();
        for feature in features.into_iter().flat_map(|features| features.keys()) {
            if feature != "default" {
                found.push((name.to_owned(), feature.clone()));
            }
        }
    }
    Ok(found)
}
