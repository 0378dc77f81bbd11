//! The rounds: in each, every peer in turn does the same.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::ensure;

use super::figures::{Figures, Reading};
use super::peers::{Peer, Placement, Setting, Started};
use super::scenarios::{Scenario, Unit};
use crate::running::free_address;

/// Cores that others may use; a round with more is done again.
pub(super) const MOST_OTHERS: f64 = 0.1;
/// How often a round is done again at most.
const AGAIN: usize = 5;
/// Memory comes out alike each time, and takes its time.
const ROUNDS_OF_MEMORY: usize = 3;
/// The load runs for so long before anything counts.
const WARM_UP: Duration = Duration::from_millis(500);

pub(super) fn measure(setting: Setting<'_>, figures: &mut Figures) -> anyhow::Result<()> {
    let (options, placement) = (setting.options, setting.placement);
    for round in 0..options.rounds {
        for scenario in &options.scenarios {
            // Memory is where it is whoever runs on which core.
            let is_memory = scenario.unit == Unit::Memory;
            if is_memory && (round >= ROUNDS_OF_MEMORY || placement == Placement::Free) {
                continue;
            }
            let measured = quiet_round(scenario, setting)?;
            let shown: Vec<String> = measured
                .iter()
                .map(|(peer, reading)| format!("{} {:.2}", peer.name(), reading.figure))
                .collect();
            let (round, rounds, used) = (round + 1, options.rounds, others(&measured));
            println!(
                "{} {round}/{rounds} {}: {} (others {used:.2}{})",
                placement.name(),
                scenario.name,
                shown.join(", "),
                if used > MOST_OTHERS { ", NOISY" } else { "" },
            );
            for (peer, reading) in measured {
                figures.add((placement, scenario.name, peer), reading);
            }
        }
    }
    Ok(())
}

type Round = Vec<(Peer, Reading)>;

/// A round that the machine left alone; or, where it never does, the one that it left alone most.
fn quiet_round(scenario: &Scenario, setting: Setting<'_>) -> anyhow::Result<Round> {
    let options = setting.options;
    let mut best: Option<Round> = None;
    for _ in 0..=AGAIN {
        let mut round = Round::new();
        for peer in options.peers.iter().filter(|peer| scenario.is_for(**peer)) {
            let reading = one(*peer, scenario, setting)?;
            round.push((*peer, reading));
        }
        let used = others(&round);
        if options.noisy || used <= MOST_OTHERS {
            return Ok(round);
        }
        println!(
            "{}: others used {used:.2} cores, so once more",
            scenario.name
        );
        if best.as_ref().is_none_or(|best| used < others(best)) {
            best = Some(round);
        }
    }
    Ok(best.unwrap_or_default())
}

fn others(round: &Round) -> f64 {
    round
        .iter()
        .fold(0.0, |most, (_, reading)| reading.others.max(most))
}

/// Starts a peer, measures it, and ends it.
fn one(peer: Peer, scenario: &Scenario, setting: Setting<'_>) -> anyhow::Result<Reading> {
    let upstream = free_address()?;
    let mut started = Started::start(peer, setting, scenario.legs, upstream)?;
    let reading = load(&started, upstream, scenario, setting);
    let context = || format!("{} in {}", peer.name(), scenario.name);
    let reading = anyhow::Context::with_context(reading, context)?;
    started.must_run()?;
    Ok(reading)
}

/// Measures a peer that has been started.
pub(super) fn load(
    started: &Started,
    upstream: SocketAddr,
    scenario: &Scenario,
    setting: Setting<'_>,
) -> anyhow::Result<Reading> {
    let Setting {
        options,
        binaries,
        placement,
        ..
    } = setting;
    let mut load = binaries.command(&binaries.load, placement, 1);
    load.arg("measure").args(scenario.order);
    load.args(scenario.legs.order());
    load.args([
        format!("gateway={}", started.address),
        format!("upstream={upstream}"),
        format!("pid={}", started.id()),
        format!("warm-up-ms={}", WARM_UP.min(options.window).as_millis()),
        format!("window-ms={}", options.window.as_millis()),
        format!("least={}", options.sessions * 2 / 9),
        format!("most={}", options.sessions),
        format!("certificates={}", setting.folder.display()),
    ]);
    Reading::parse(scenario.unit, &said(&mut load)?)
}

/// What the load says, good or bad.
fn said(load: &mut Command) -> anyhow::Result<String> {
    let output = load.stdin(Stdio::null()).output()?;
    let words = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{} {}",
        words.trim(),
        errors.trim()
    );
    Ok(words)
}
