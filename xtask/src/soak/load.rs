//! One round of load: it comes, stays with cuts, and leaves.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::machine::{EVERY, Machine};
use super::series::{Census, Phase, Sample};
use super::{Amounts, HTTP};
use crate::steps::now;

/// How long all sessions may take to be open: the machine may be busy.
const RAMP: Duration = Duration::from_secs(300);
/// How long the gateway has, once everybody leaves, to be as it was: its idle connections to
/// upstreams live 60 s.
const REST: Duration = Duration::from_secs(90);
/// How long sessions may outlive their upstream: a closing handshake and some.
const CUT: Duration = Duration::from_secs(60);
/// After the last session has come, the time until what is read counts as steady.
const SETTLING: Duration = Duration::from_secs(10);

/// A round that is to be.
#[derive(Debug)]
pub(super) struct Stage {
    amounts: Amounts,
    phase: Phase,
    time: Duration,
    /// When the shaky service is cut, in hundredths of the time.
    cuts: &'static [u32],
}

impl Stage {
    pub(super) const fn of(amounts: Amounts, phase: Phase, time: Duration) -> Self {
        let cuts: &[u32] = match phase {
            // The most memory that coming back in a crowd takes is found here.
            Phase::WarmUp => &[10, 30, 45],
            _ => &[10, 30],
        };
        Self {
            amounts,
            phase,
            time,
            cuts,
        }
    }

    pub(super) fn run(&self, machine: &mut Machine) -> anyhow::Result<()> {
        let Amounts {
            idle,
            active,
            churn,
            ..
        } = self.amounts;
        let name = self.phase.name();
        println!("{name}: {idle} idle, {active} active sessions");
        machine
            .clients
            .order(&format!("load {idle} {active} {HTTP} {churn}"))?;
        self.wait_until_whole(machine)?;
        let begun = now();
        let mut cuts = self.cuts.iter();
        let mut next_cut = cuts.next();
        let mut whole_since = begun;
        // However long the cuts took, half of the time is left after the last.
        while begun.elapsed() < self.time
            || next_cut.is_some()
            || whole_since.elapsed() < self.time / 2
        {
            let is_settled = whole_since.elapsed() >= SETTLING;
            machine.read_settled(self.phase, is_settled)?;
            if next_cut.is_some_and(|part| begun.elapsed() >= self.time * *part / 100) {
                next_cut = cuts.next();
                self.cut(machine)?;
                self.wait_until_whole(machine)?;
                whole_since = now();
            }
            thread::sleep(EVERY);
        }
        machine.ordered_lives += f64::from(churn) * begun.elapsed().as_secs_f64();
        leave(machine)
    }

    fn wait_until_whole(&self, machine: &mut Machine) -> anyhow::Result<()> {
        let (idle, active) = (self.amounts.idle.into(), self.amounts.active.into());
        let begun = now();
        loop {
            let counts = machine.read(self.phase)?.counts;
            if counts.idle >= idle && counts.active >= active {
                println!("  whole after {:.0} s", begun.elapsed().as_secs_f64());
                return Ok(());
            }
            let (idle, active) = (counts.idle, counts.active);
            ensure!(
                begun.elapsed() < RAMP,
                "only {idle} idle and {active} active sessions after {RAMP:?}"
            );
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// Resets every connection of the shaky upstream, and lets it come back.
    fn cut(&self, machine: &mut Machine) -> anyhow::Result<()> {
        let begun = now();
        let (before, lost) = (machine.counts().cuts, machine.counts().shaky);
        machine.clients.heard().events.clear();
        machine.clients.order("cut-begins")?;
        machine.clients.wait("beginning of the cut", |heard| {
            heard.events.iter().any(|event| event == "cut-begins")
        })?;
        machine.upstreams.order("cut")?;
        let both = |counts: super::series::Counts| counts.shaky == 0 && counts.cuts > before;
        while !both(machine.counts()) {
            machine.read(self.phase)?;
            let left = machine.counts().shaky;
            ensure!(
                begun.elapsed() < CUT,
                "{left} sessions outlive their upstream by {CUT:?}"
            );
            thread::sleep(Duration::from_secs(1));
        }
        // What was on its way to the upstream when it went has ended in this time.
        thread::sleep(EVERY);
        machine.clients.order("cut-ended")?;
        println!("  a cut: {lost} sessions lost their upstream");
        Ok(())
    }
}

/// Everybody leaves; waits until the gateway is as it was, or its time is over.
fn leave(machine: &mut Machine) -> anyhow::Result<()> {
    let baseline = machine.baseline().copied();
    machine.clients.order("leave")?;
    let begun = now();
    while begun.elapsed() < REST {
        let sample = machine.read(Phase::Leaving)?;
        if is_at_rest(&sample, baseline.as_ref()) && begun.elapsed() > EVERY {
            break;
        }
        thread::sleep(EVERY);
    }
    // The reading before was a connection to the gateway, too; by now that is gone.
    thread::sleep(EVERY);
    machine.read(Phase::Rest)?;
    told(begun);
    Ok(())
}

fn told(begun: Instant) {
    println!("  at rest after {:.0} s", begun.elapsed().as_secs_f64());
}

fn counts_no_more(now: &Census, then: &Census) -> bool {
    now.tasks <= then.tasks
        && now.sessions <= then.sessions
        && now.connections <= then.connections
        && now.upstream_idle <= then.upstream_idle
}

fn is_at_rest(sample: &Sample, baseline: Option<&Sample>) -> bool {
    let counts = &sample.counts;
    let has_left = counts.left == 0 && counts.churning == 0 && counts.upstream_connections == 0;
    has_left
        && baseline.is_some_and(|baseline| {
            sample.process.descriptors <= baseline.process.descriptors
                && counts_no_more(&sample.census, &baseline.census)
        })
}
