//! What the system has written down of processes and of the machine.

use std::fs;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use super::{now, words};

/// Ticks of the kernel's accounts in a second, on every Linux that we know.
const TICKS: f64 = 100.0;

/// The processes of a gateway: the first one and its descendants.
#[derive(Debug)]
pub(crate) struct Tree {
    pids: Vec<i32>,
    clocks: Vec<ClockId>,
}

impl Tree {
    /// The tree as it is now.
    pub(crate) fn of(root: i32) -> Result<Self, String> {
        let mut pids = vec![root];
        let parents = parents()?;
        let mut at = 0;
        while let Some(parent) = pids.get(at).copied() {
            let children = parents.iter().filter(|(_, of)| *of == parent);
            pids.extend(children.map(|(pid, _)| *pid));
            at += 1;
        }
        let clock = |pid: &i32| clock_getcpuclockid(Pid::from_raw(*pid)).map_err(words);
        let clocks = pids.iter().map(clock).collect::<Result<_, _>>()?;
        Ok(Self { pids, clocks })
    }

    /// The same without the first one.
    #[cfg(feature = "cluster")]
    pub(crate) fn below(root: i32) -> Result<Self, String> {
        let mut tree = Self::of(root)?;
        tree.pids.remove(0);
        tree.clocks.remove(0);
        Ok(tree)
    }

    /// User and system time of all its threads, ended ones included, to the nanosecond.
    pub(crate) fn cpu(&self) -> Result<Duration, String> {
        let mut sum = Duration::ZERO;
        for clock in &self.clocks {
            sum += Duration::from(clock_gettime(*clock).map_err(words)?);
        }
        Ok(sum)
    }

    /// Proportional set size in bytes.
    pub(super) fn memory(&self) -> Result<u64, String> {
        let mut sum = 0;
        for pid in &self.pids {
            let path = format!("/proc/{pid}/smaps_rollup");
            let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
            sum += pss(&text).ok_or(format!("no Pss in {path}"))?;
        }
        Ok(sum)
    }
}

/// Each process with its parent.
fn parents() -> Result<Vec<(i32, i32)>, String> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").map_err(words)?.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // A process may have ended meanwhile.
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(parent) = parent(&stat) {
            parents.push((pid, parent));
        }
    }
    Ok(parents)
}

/// The process's name, in brackets, may hold anything.
fn parent(stat: &str) -> Option<i32> {
    let rest = stat.rsplit_once(')')?.1;
    rest.split_whitespace().nth(1)?.parse().ok()
}

fn pss(text: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = rest.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// One moment of the gateway's, our own and the machine's time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(super) at: Instant,
    gateway: Duration,
    load: Duration,
    machine: Machine,
}

/// What was used between two readings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Used {
    pub(super) elapsed: Duration,
    pub(super) gateway: Duration,
    /// By clients and upstream.
    pub(super) load: Duration,
    /// Cores that were busy with none of these, in the mean.
    pub(crate) others: f64,
    /// Cores that the machine below us took away, in the mean.
    pub(super) stolen: f64,
}

impl Reading {
    pub(crate) fn take(tree: &Tree) -> Result<Self, String> {
        let load = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_err(words)?;
        Ok(Self {
            at: now(),
            gateway: tree.cpu()?,
            load: load.into(),
            machine: Machine::read()?,
        })
    }

    pub(crate) fn since(&self, before: &Self) -> Used {
        let elapsed = self.at.saturating_duration_since(before.at);
        let (gateway, load) = (self.gateway - before.gateway, self.load - before.load);
        let seconds = elapsed.as_secs_f64();
        let ours = (gateway + load).as_secs_f64();
        let busy = self.machine.busy_since(&before.machine, seconds);
        Used {
            elapsed,
            gateway,
            load,
            // Ticks are coarse: over a short window the rest may come out below nothing.
            others: ((busy - ours) / seconds).max(0.0),
            stolen: (self.machine.stolen - before.machine.stolen) / seconds,
        }
    }
}

/// The first line of `/proc/stat`, in seconds of all cores.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Machine {
    cores: f64,
    busy: f64,
    idle: f64,
    stolen: f64,
}

impl Machine {
    fn read() -> Result<Self, String> {
        let text = fs::read_to_string("/proc/stat").map_err(words)?;
        Self::parse(&text).ok_or("no times in /proc/stat".to_owned())
    }

    /// Busy time is a sample taken at each tick, in which work that keeps step with a timer counts
    /// too much or too little. Idle time is measured, but going to sleep and waking up are no part
    /// of it. So there are two ways to see how busy the cores were, and the lesser one is told.
    fn busy_since(&self, before: &Self, seconds: f64) -> f64 {
        let not_idle = self.cores * seconds - (self.idle - before.idle);
        not_idle.min(self.busy - before.busy)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let ticks: Vec<f64> = lines
            .next()?
            .split_whitespace()
            .skip(1)
            .map_while(|word| word.parse().ok())
            .collect();
        let cores = lines.filter(|line| line.starts_with("cpu")).count();
        let [user, nice, system, idle, waiting, irq, softirq, stolen, ..] = ticks[..] else {
            return None;
        };
        Some(Self {
            cores: cores as f64,
            busy: (user + nice + system + irq + softirq + stolen) / TICKS,
            idle: (idle + waiting) / TICKS,
            stolen: stolen / TICKS,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(begun: Instant, seconds: f64, [gateway, load, busy, idle]: [f64; 4]) -> Reading {
        let machine = Machine {
            cores: 2.0,
            busy,
            idle,
            stolen: 0.0,
        };
        Reading {
            at: begun + Duration::from_secs_f64(seconds),
            gateway: Duration::from_secs_f64(gateway),
            load: Duration::from_secs_f64(load),
            machine,
        }
    }

    #[test]
    fn what_neither_side_used_was_used_by_others() {
        let begun = now();
        let before = at(begun, 0.0, [1.0, 1.0, 9.0, 50.0]);
        let others = |after: [f64; 4]| at(begun, 2.0, after).since(&before).others;
        let used = at(begun, 2.0, [2.9, 2.5, 12.9, 50.1]).since(&before);
        assert!((used.gateway.as_secs_f64() - 1.9).abs() < 1e-6);
        assert!((used.load.as_secs_f64() - 1.5).abs() < 1e-6);
        // Of four core-seconds 1.9 and 1.5 were ours and 0.1 idle.
        assert!((used.others - 0.25).abs() < 1e-6, "{used:?}");
        // Sampled at bad moments, or asleep and not idle yet: the other account knows better.
        assert!((others([2.0, 2.0, 12.5, 51.9]) - 0.05).abs() < 1e-6);
        assert!((others([2.0, 2.0, 11.1, 51.5]) - 0.05).abs() < 1e-6);
        // Accounts that are coarse.
        assert!(others([3.0, 3.0, 12.9, 50.01]).abs() < 1e-9);
    }

    #[test]
    fn the_machine_is_read() {
        let text = "cpu  1 2 3 400 50 6 7 80 0 0\ncpu0 1 2 3 4\ncpu1 1 2 3 4\nintr 5\n";
        let due = Machine {
            cores: 2.0,
            busy: 0.99,
            idle: 4.5,
            stolen: 0.8,
        };
        assert_eq!(Machine::parse(text), Some(due));
        assert_eq!(Machine::parse("cpu 1 2"), None);
        assert!(Machine::read().unwrap().cores >= 1.0);
    }

    #[test]
    fn a_tree_has_its_children_and_their_time() {
        let sleep = std::process::Command::new("sleep").arg("60").spawn();
        let mut sleep = sleep.unwrap();
        let ours = Tree::of(std::process::id() as i32).unwrap();
        let theirs = sleep.id() as i32;
        sleep.kill().unwrap();
        sleep.wait().unwrap();
        assert!(ours.pids.contains(&theirs));
        assert_eq!(parent("7 (a) b) S 3 1 1"), Some(3));
        let own = Tree {
            pids: vec![std::process::id() as i32],
            clocks: vec![ClockId::CLOCK_PROCESS_CPUTIME_ID],
        };
        let before = own.cpu().unwrap();
        while own.cpu().unwrap() < before + Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        assert!(own.memory().unwrap() > 100_000);
    }
}
