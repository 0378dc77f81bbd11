//! The steps cargo itself can do: format, lint, build, test, document, and the features.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::run::{Done, Run};
use crate::{services, shell};

/// What stands beside the main workspace, with a lock file of its own.
const WORKSPACES: [&str; 2] = ["fuzz/Cargo.toml", LIBRARY_BENCH];
const LIBRARY_BENCH: &str = "bench/ws/Cargo.toml";

/// `cargo xtask fmt`: formats, where the step `fmt` only looks.
pub(crate) fn format(run: &Run) -> anyhow::Result<()> {
    shell::run(&mut run.cargo(&["fmt", "--all"]))?;
    for workspace in WORKSPACES {
        shell::run(&mut run.cargo(&["fmt", "--manifest-path", workspace]))?;
    }
    Ok(())
}

pub(crate) fn formatted(run: &Run) -> anyhow::Result<Done> {
    shell::run(&mut run.cargo(&["fmt", "--all", "--check"]))?;
    for workspace in WORKSPACES {
        shell::run(&mut run.cargo(&["fmt", "--manifest-path", workspace, "--check"]))?;
    }
    Ok(Done::Passed)
}

pub(crate) fn lint(run: &Run) -> anyhow::Result<Done> {
    services::debian::install_headers()?;
    shell::run(&mut run.cargo(&[
        "clippy",
        "--locked",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]))?;
    lint_fuzz(run)?;
    // Who is measured there takes long to build: its lock file alone is looked at.
    let metadata = ["metadata", "--locked", "--format-version", "1"];
    shell::output(
        run.cargo(&metadata)
            .args(["--manifest-path", LIBRARY_BENCH]),
    )?;
    lint_references(run)?;
    Ok(Done::Passed)
}

/// Comments must stand without documents and numbers that are not in the repository.
fn lint_references(run: &Run) -> anyhow::Result<()> {
    let mut grep = Command::new("git");
    grep.current_dir(&run.root)
        .args(["grep", "-nIP", FOREIGN_REFERENCES, "--", "*.rs", "*.md"]);
    let output = grep.output().context("cannot start `git`")?;
    let found = String::from_utf8_lossy(&output.stdout);
    match output.status.code() {
        Some(0) => bail!("what is referred to is not in the repository:\n{found}"),
        // It has looked, and found nothing.
        Some(1) => Ok(()),
        _ => run.skip("references", "no git repository").map(|_| ()),
    }
}

const FOREIGN_REFERENCES: &str =
    r"\b(conventions|security|predecessors)\.md\b|\b[XRAE]-\d\d\d?\b|\bFA-\d";

/// The fuzz targets are a workspace of their own, with a lock file that goes stale unseen.
fn lint_fuzz(run: &Run) -> anyhow::Result<()> {
    let mut command = run.cargo(&["clippy", "--locked", "--manifest-path", "fuzz/Cargo.toml"]);
    command
        .arg("--target-dir")
        .arg(run.target.join("fuzz-lint"));
    command.args(["--", "-D", "warnings"]);
    command.env("RUSTFLAGS", "--cfg fuzzing");
    // Nothing is linked here, so libFuzzer need not be built, which takes a C++ compiler.
    command.env("CUSTOM_LIBFUZZER_PATH", "fuzz/libfuzzer.a");
    shell::run(&mut command)
}

/// With every adapter, and then without: both have one name, and the second is what stands there after.
pub(crate) fn build(run: &Run) -> anyhow::Result<Done> {
    services::debian::install_headers()?;
    let build = ["build", "--locked", "--package", "tidegate-server"];
    shell::run(run.cargo(&build).arg("--all-features"))?;
    let (built, full) = (run.gateway(), run.full_gateway());
    fs::copy(&built, &full).with_context(|| format!("cannot write {}", full.display()))?;
    shell::run(&mut run.cargo(&build))?;
    Ok(Done::Passed)
}

/// Tests at one time: they wait for sockets more than they compute, so more than there are cores.
const TEST_THREADS: &str = "8";

/// Tests and doctests, with default features; and those of packages that have others with all of them. The
/// black-box cases need no second time: of what they are built with nothing depends on features, and the
/// gateway with every adapter they start as a program.
pub(crate) fn tests(run: &Run) -> anyhow::Result<Done> {
    services::debian::install_headers()?;
    test(run, &["--workspace"])?;
    let mut packages: Vec<_> = features_of_packages(run)?
        .into_iter()
        .map(|(package, _)| package)
        .collect();
    packages.dedup();
    if !packages.is_empty() {
        let named = packages.iter().flat_map(|package| ["--package", package]);
        let selection: Vec<_> = named.chain(["--all-features"]).collect();
        test(run, &selection)?;
    }
    Ok(Done::Passed)
}

fn test(run: &Run, selection: &[&str]) -> anyhow::Result<()> {
    let mut command = run.cargo(&["test", "--locked"]);
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", TEST_THREADS);
    }
    command.args(selection).args(&run.options.test_arguments);
    for (name, value) in services::environment(run) {
        command.env(name, value);
    }
    shell::run(&mut command)
}

/// What of the cases says something about plain sockets, or talks to the gateway by them.
const NOT_OVER_TLS: &[&str] = &[
    "access_log::exchanges::it_says_all_that_was_asked_and_answered",
    "access_log::formats::text_is_for_people",
    "access_log::sessions::both_lines_say_all_there_is",
    "admin_is_never_starved::",
    "admin_says_how_it_is::a_second_signal_does_not_wait_for_it",
    "admin_says_how_it_is::without_the_key_there_is_none_and_an_address_is_had_once",
    "backing::",
    "balancers_name_their_clients::",
    "bridge::foreign_clients::",
    "caps_are_kept::refusals_are_few_and_short",
    "cluster::",
    "descriptors_run_short::",
    "drain_is_even::",
    "drain_of_a_process::",
    "early_answers_and_uploads::upload",
    "foreign_",
    "kafka::",
    "library::",
    "lifetimes::clocks_may_be_set::",
    "hop_by_hop_fields_stop_here::protecting_ones_cannot_be_named_away",
    "host_and_origin_are_as_configured::origin_of_a_client_that_has_one",
    "memory_stays_flat::",
    "one_client_starves_no_other::by_a_worker_that_is_stuck",
    "open_sessions::command_line::what_is_wrong_is_said",
    "open_sessions::seen::other_gateways_paths_are_there_where_they_are_switched_on",
    "open_sessions::seen::routes_and_services_are_told_as_they_are_used",
    "open_sessions::walked",
    "process_starts_and_ends::",
    "redirects_lead_to_https::curl_would_follow",
    "schedules::",
    "subprotocols::",
    "tls::",
    "together::",
    "unix_sockets_serve::",
    "upstream_knows_the_client::junk_of_a_trusted_proxy_ends_here",
    "upstream_knows_the_client::made_from_nothing",
    "upstream_knows_the_client::port_goes_with_the_scheme_and_host_that_a_trusted_proxy_tells",
    "upstream_knows_the_client::strangers_words_are_not_believed",
    "wire::",
];

/// The black-box cases once more, with TLS on both legs.
pub(crate) fn over_tls(run: &Run) -> anyhow::Result<Done> {
    // Of the whole workspace, as the step `tests` has built them.
    let mut command = run.cargo(&["test", "--locked", "--workspace"]);
    command.args(["--test", "it", "--"]);
    for case in NOT_OVER_TLS {
        command.args(["--skip", case]);
    }
    command.env("TIDEGATE_OVER_TLS", "1");
    if std::env::var_os("RUST_TEST_THREADS").is_none() {
        command.env("RUST_TEST_THREADS", TEST_THREADS);
    }
    for (name, value) in services::environment(run) {
        command.env(name, value);
    }
    shell::run(&mut command)?;
    Ok(Done::Passed)
}

/// Thousands of connections over TLS, and what they cost.
pub(crate) fn many_over_tls(run: &Run) -> anyhow::Result<Done> {
    let mut command = run.cargo(&["test", "--locked", "--workspace"]);
    command.args([
        "--test",
        "it",
        "--",
        "--ignored",
        "--nocapture",
        "--test-threads=1",
    ]);
    command.arg("tls::many_connections");
    for (name, value) in services::environment(run) {
        command.env(name, value);
    }
    shell::run(&mut command)?;
    Ok(Done::Passed)
}

/// Only the libraries: the binary bears the library's name, and its pages would overwrite them.
pub(crate) fn doc(run: &Run) -> anyhow::Result<Done> {
    services::debian::install_headers()?;
    let mut command = run.cargo(&["doc", "--locked", "--workspace", "--lib", "--no-deps"]);
    command.arg("--all-features");
    shell::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Done::Passed)
}

pub(crate) fn features(run: &Run) -> anyhow::Result<Done> {
    let features = features_of_packages(run)?;
    if features.is_empty() {
        println!("no package has a feature yet");
    }
    services::debian::install_headers()?;
    for (package, feature) in &features {
        shell::run(&mut run.cargo(&[
            "check",
            "--locked",
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
