//! What is read of the gateway and of the load, moment by moment.

use std::fmt::Write as _;

/// What is going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Started, and nobody has come yet.
    Cold,
    WarmUp,
    RoundOne,
    RoundTwo,
    /// Between rounds: the load is leaving.
    Leaving,
    /// Between rounds, at the end of the time that the gateway has to be as it was.
    Rest,
}

impl Phase {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::WarmUp => "warm-up",
            Self::RoundOne => "round-one",
            Self::RoundTwo => "round-two",
            Self::Leaving => "leaving",
            Self::Rest => "rest",
        }
    }
}

/// What the gateway says of itself; `None` in a sample of a gateway that cannot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Census {
    pub(super) connections: u64,
    pub(super) sessions: u64,
    pub(super) upstream_idle: u64,
    pub(super) tasks: u64,
    pub(super) panics: u64,
}

/// What the system says of the gateway's process. Memory is in KiB.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Process {
    pub(super) rss: u64,
    pub(super) pss: u64,
    pub(super) private: u64,
    pub(super) descriptors: u64,
    pub(super) threads: u64,
    /// Seconds.
    pub(super) cpu: f64,
}

/// What the load has counted so far, and what of it is there now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) idle: u64,
    pub(super) active: u64,
    pub(super) shaky: u64,
    pub(super) churning: u64,
    /// Clients that are kept at a number and have not left.
    pub(super) left: u64,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) requests: u64,
    /// Short lives that have ended.
    pub(super) lives: u64,
    pub(super) ends: u64,
    pub(super) cut: u64,
    pub(super) unexpected: u64,
    /// At the upstreams.
    pub(super) upstream_connections: u64,
    pub(super) upstream_faults: u64,
    pub(super) cuts: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    /// Seconds since the gateway was started.
    pub(super) at: f64,
    pub(super) phase: Phase,
    /// The load is whole, and has been for a while.
    pub(super) is_settled: bool,
    pub(super) process: Process,
    pub(super) census: Census,
    pub(super) counts: Counts,
    /// Short lives that were ordered so far.
    pub(super) ordered_lives: f64,
}

pub(super) const CSV_HEAD: &str = "seconds,phase,settled,rss_kib,pss_kib,private_kib,descriptors,\
    threads,cpu_seconds,connections,sessions,upstream_idle,tasks,panics,load_idle,load_active,\
    load_churning,messages,bytes,requests,lives,ends,cut,unexpected,upstream_connections,upstream_faults,\
    cuts";

impl Sample {
    pub(super) fn csv(&self) -> String {
        let (process, counts) = (&self.process, &self.counts);
        let mut line = format!(
            "{:.1},{},{},{},{},{},{},{},{:.2}",
            self.at,
            self.phase.name(),
            u8::from(self.is_settled),
            process.rss,
            process.pss,
            process.private,
            process.descriptors,
            process.threads,
            process.cpu
        );
        let census = &self.census;
        for count in [
            census.connections,
            census.sessions,
            census.upstream_idle,
            census.tasks,
            census.panics,
        ] {
            // Writing to a string does not fail.
            let _ = write!(line, ",{count}");
        }
        for count in [
            counts.idle,
            counts.active,
            counts.churning,
            counts.messages,
            counts.bytes,
            counts.requests,
            counts.lives,
            counts.ends,
            counts.cut,
            counts.unexpected,
            counts.upstream_connections,
            counts.upstream_faults,
            counts.cuts,
        ] {
            let _ = write!(line, ",{count}");
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_has_a_value_for_each_column() {
        let columns = CSV_HEAD.split(',').count();
        let sample = Sample {
            at: 1.0,
            phase: Phase::RoundOne,
            is_settled: true,
            process: Process::default(),
            census: Census::default(),
            counts: Counts::default(),
            ordered_lives: 0.0,
        };
        assert_eq!(sample.csv().split(',').count(), columns);
    }
}
