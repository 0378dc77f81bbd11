//! The bench: what the gateway's CPU does for a message, a request, a handshake, and how much memory a
//! session takes, beside nginx, HAProxy and a relay that parses nothing.
//!
//! Read on in [`scenarios`] (what is measured, and what is to be reached), [`peers`] (who is), and
//! [`rounds`] (in which order, and what is done again). `bench/BENCHMARKS.md` tells the method.

mod cluster;
mod configurations;
mod figures;
mod library;
mod options;
mod peers;
mod profile;
mod push;
mod report;
mod rounds;
mod scenarios;
mod table;
mod traffic;

use std::fs;
use std::process::Command;

use anyhow::{Context as _, ensure};

pub(crate) use self::options::{EXPLAINED, Options, USAGE};
use self::peers::{Binaries, Peer, Placement, Setting};
use self::report::Report;
use crate::run::Run;
use crate::{running, services, shell};

/// Descriptors of a process besides two for each session.
const SPARE_DESCRIPTORS: u32 = 1_000;

/// Measures; says yes whatever the figures are.
pub(crate) fn run(run: &Run, options: &Options) -> anyhow::Result<bool> {
    if options.library {
        library::measure(run, options)?;
    }
    if options.cluster {
        cluster::measure(run, options)?;
    }
    if options.scenarios.is_empty() && !options.traffic && !options.push {
        return Ok(true);
    }
    let cores = std::thread::available_parallelism()?.get();
    ensure!(cores >= 2, "the bench needs two cores, one for each side");
    let limit = running::descriptor_limit()?;
    ensure!(
        limit >= 2 * options.sessions + SPARE_DESCRIPTORS,
        "a process may open {limit} files: too few for {} idle sessions (--sessions)",
        options.sessions
    );
    let binaries = binaries(run, options)?;
    let folder = run.target.join("bench");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;

    let made = Command::new(&binaries.load)
        .arg("certificates")
        .arg(&folder)
        .status()?;
    ensure!(
        made.success(),
        "no certificates for what is measured over TLS"
    );

    let fixed = Setting {
        options,
        binaries: &binaries,
        folder: &folder,
        placement: Placement::Fixed,
    };
    let document = run.root.join("bench/BENCHMARKS.md");
    if options.traffic {
        traffic::measure(fixed, &document)?;
    }
    if options.push {
        push::measure(fixed, &document)?;
    }
    if options.scenarios.is_empty() {
        return Ok(true);
    }
    let mut report = Report::begin(run, options, &binaries);
    rounds::measure(fixed, &mut report.figures)?;
    if options.free {
        let free = Setting {
            placement: Placement::Free,
            ..fixed
        };
        rounds::measure(free, &mut report.figures)?;
    }
    if options.profile {
        report.profiles = profile::take(fixed)?;
    }
    report.tell(&folder)?;
    if options.write {
        report.write(&document)?;
    }
    Ok(true)
}

/// The release builds of the gateway, unless another is to be measured, and of the load; and those
/// of the peers.
fn binaries(run: &Run, options: &Options) -> anyhow::Result<Binaries> {
    let mut debian = Vec::new();
    for (peer, package) in [
        (Peer::Nginx, ("nginx", "nginx")),
        (Peer::Haproxy, ("haproxy", "haproxy")),
    ] {
        if options.peers.contains(&peer) {
            debian.push(package);
        }
    }
    if options.profile {
        debian.push(("perf", "linux-perf"));
    }
    services::debian(&debian)?;
    let found = |name: &str| shell::which(name).with_context(|| format!("no {name}"));
    let build = |package: &str| {
        shell::run(&mut run.cargo(&["build", "--locked", "--release", "--package", package]))
    };
    let release = run.target.join("release");
    let load = match &options.load {
        Some(load) => load.clone(),
        None => {
            build("tidegate-bench")?;
            release.join("tidegate-load")
        }
    };
    let tidegate = match &options.gateway {
        Some(gateway) => gateway.clone(),
        None => {
            build("tidegate-server")?;
            release.join("tidegate")
        }
    };
    let found_if_wanted = |peer: Peer, name: &str| {
        if options.peers.contains(&peer) {
            found(name)
        } else {
            Ok(name.into())
        }
    };
    Ok(Binaries {
        tidegate,
        nginx: found_if_wanted(Peer::Nginx, "nginx")?,
        haproxy: found_if_wanted(Peer::Haproxy, "haproxy")?,
        load,
        taskset: found("taskset")?,
    })
}
