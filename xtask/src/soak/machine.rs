//! The running soak: its processes, and what is written down of them.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::census;
use super::processes::{Binaries, Gateway, Talker, start_clients, start_upstreams};
use super::series::{CSV_HEAD, Counts, Phase, Sample};
use crate::shell;
use crate::steps::now;

/// How often everything is read.
pub(super) const EVERY: Duration = Duration::from_secs(5);
/// How long the gateway may take to end once it is told to; it has no sessions then.
const STOP: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(super) struct Machine {
    gateway: Gateway,
    pub(super) upstreams: Talker,
    pub(super) clients: Talker,
    csv: File,
    log: PathBuf,
    begun: Instant,
    samples: Vec<Sample>,
    /// Short lives that were ordered so far.
    pub(super) ordered_lives: f64,
    has_stopped_well: bool,
}

/// All that a soak has shown.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) samples: Vec<Sample>,
    pub(super) faults: Vec<String>,
    pub(super) kinds: Vec<String>,
    /// Lines of the gateway's log that tell of a panic.
    pub(super) panics_logged: u64,
    pub(super) has_stopped_well: bool,
}

impl Machine {
    /// Starts everything; waits until the gateway has come to rest.
    pub(super) fn start(binaries: &Binaries, folder: &Path) -> anyhow::Result<Self> {
        let upstreams = start_upstreams(&binaries.load)?;
        let gateway = Gateway::start(&binaries.gateway, folder, &upstreams)?;
        let clients = start_clients(&binaries.load, gateway.address)?;
        let mut csv = File::create(folder.join("soak.csv"))?;
        writeln!(csv, "{CSV_HEAD}")?;
        let pid = gateway.running.id();
        // The connection by which we saw that it listens must have gone.
        thread::sleep(Duration::from_secs(1));
        println!(
            "gateway {pid} on {}; readings go to {}",
            gateway.address,
            folder.join("soak.csv").display()
        );
        Ok(Self {
            gateway,
            upstreams,
            clients,
            csv,
            log: folder.join("gateway.log"),
            begun: now(),
            samples: Vec::new(),
            ordered_lives: 0.0,
            has_stopped_well: false,
        })
    }

    /// Reads everything, and writes it down.
    pub(super) fn read(&mut self, phase: Phase) -> anyhow::Result<Sample> {
        self.read_settled(phase, false)
    }

    pub(super) fn read_settled(
        &mut self,
        phase: Phase,
        is_settled: bool,
    ) -> anyhow::Result<Sample> {
        self.gateway.running.must_run()?;
        self.clients.must_run()?;
        self.upstreams.must_run()?;
        let sample = Sample {
            at: self.begun.elapsed().as_secs_f64(),
            phase,
            is_settled,
            process: census::look(self.gateway.running.id())?,
            census: census::ask(self.gateway.admin)?,
            counts: self.counts(),
            ordered_lives: self.ordered_lives,
        };
        writeln!(self.csv, "{}", sample.csv())?;
        self.samples.push(sample);
        Ok(sample)
    }

    /// The load's counts, up to a second old.
    pub(super) fn counts(&self) -> Counts {
        let of = |name: &str| self.clients.count(name);
        Counts {
            idle: of("idle"),
            active: of("active"),
            shaky: of("shaky"),
            churning: of("churning"),
            left: of("left"),
            messages: of("messages"),
            bytes: of("bytes"),
            requests: of("requests"),
            lives: of("lives"),
            ends: of("ends"),
            cut: of("cut"),
            unexpected: of("unexpected"),
            upstream_connections: self.upstreams.count("connections"),
            upstream_faults: self.upstreams.count("faults"),
            cuts: self.upstreams.count("cuts"),
        }
    }

    /// What the gateway held when it was last at rest.
    pub(super) fn baseline(&self) -> Option<&Sample> {
        let mut rests = self.samples.iter().filter(|s| s.phase == Phase::Rest);
        rests.next().or_else(|| self.samples.first())
    }

    /// Ends the gateway in order.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        self.clients.order("kinds")?;
        self.clients.wait("kinds", |heard| {
            heard.events.iter().any(|event| event == "kinds-told")
        })?;
        let pid = self.gateway.running.id().to_string();
        shell::run(Command::new("kill").args(["-s", "TERM", &pid]))?;
        let status = self.gateway.running.wait_for_end(STOP)?;
        ensure!(status.success(), "the gateway ended with {status}");
        self.has_stopped_well = true;
        Ok(())
    }

    pub(super) fn outcome(&self) -> Outcome {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let panics = log.lines().filter(|line| line.contains("panicked"));
        let mut faults = self.clients.heard().faults.clone();
        faults.extend(self.upstreams.heard().faults.iter().cloned());
        Outcome {
            samples: self.samples.clone(),
            faults,
            kinds: self.clients.heard().kinds.clone(),
            panics_logged: panics.count() as u64,
            has_stopped_well: self.has_stopped_well,
        }
    }
}
