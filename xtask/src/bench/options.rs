//! What was typed behind `cargo xtask bench`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use super::peers::Peer;
use super::scenarios::{SCENARIOS, Scenario};

pub(crate) const USAGE: &str = "\
cargo xtask bench [--rounds N] [--seconds S] [--only NAME,NAME] [--peers NAME,NAME] [--free]
                                                 the gateway's cost beside nginx and HAProxy
";

pub(crate) const EXPLAINED: &str = "\
Options of the bench:
  --rounds N          rounds, of which the median counts (default 7; of memory 3 at most)
  --seconds S         of each measurement (default 2)
  --only NAME,NAME    these scenarios: echo-64, echo-64x16, echo-1k, echo-64k, paced, handshake,
                      get, get-1k, bridge, bridge-idle, idle, used; tls-echo-64, tls-echo-64x16, tls-echo-1k, tls-echo-64k,
                      tls-handshake, tls-handshake-pq, tls-session, tls-idle, tls-idle-upstream,
                      tls-idle-both; traffic: bytes and time of calls over HTTP and the bridge;
                      push: what it costs to push to many sessions and to one;
                      cluster: what several nodes take, over Kafka and Redis (only where it is named);
                      or ws: the library beside others
  --peers NAME,NAME   these gateways: tidegate, nginx, haproxy, raw
  --gateway FILE      a tidegate that was built elsewhere
  --load FILE         a tidegate-load that was built elsewhere
  --sessions N        idle sessions where memory is read last (default 9000)
  --free              measures with two workers and free placement, too
  --noisy             keeps rounds in which the machine did other things, and marks them
  --write             puts the figures into bench/BENCHMARKS.md
  --profile           shows where tidegate spends its time (Debian's linux-perf)
";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    /// The time of one measurement.
    pub(crate) window: Duration,
    pub(crate) scenarios: Vec<&'static Scenario>,
    /// Whether the library is measured, too.
    pub(crate) library: bool,
    /// Whether it is measured what calls cost on the wire.
    pub(crate) traffic: bool,
    /// Whether pushes are measured.
    pub(crate) push: bool,
    /// Whether several nodes are measured; they need Java and a build with librdkafka.
    pub(crate) cluster: bool,
    pub(crate) peers: Vec<Peer>,
    pub(crate) gateway: Option<PathBuf>,
    pub(crate) load: Option<PathBuf>,
    /// Idle sessions, at most.
    pub(crate) sessions: u32,
    pub(crate) free: bool,
    pub(crate) noisy: bool,
    pub(crate) write: bool,
    pub(crate) profile: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 7,
            window: Duration::from_secs(2),
            scenarios: SCENARIOS.iter().collect(),
            library: true,
            traffic: true,
            push: true,
            cluster: false,
            peers: Peer::ALL.to_vec(),
            gateway: None,
            load: None,
            sessions: 9_000,
            free: false,
            noisy: false,
            write: false,
            profile: false,
        }
    }
}

impl Options {
    /// `None` where help is wanted.
    pub(crate) fn parse(words: impl Iterator<Item = String>) -> anyhow::Result<Option<Self>> {
        let mut words = words;
        let mut options = Self::default();
        while let Some(word) = words.next() {
            let mut value = || {
                let value = words.next();
                value.with_context(|| format!("{word}: what it is to be is missing"))
            };
            match word.as_str() {
                "--help" | "-h" => return Ok(None),
                "--rounds" => options.rounds = number(&value()?)?,
                "--seconds" => options.window = Duration::try_from_secs_f64(number(&value()?)?)?,
                "--only" => options.only(&value()?)?,
                "--peers" => options.peers = named(&value()?, Peer::named)?,
                "--gateway" => options.gateway = Some(value()?.into()),
                "--load" => options.load = Some(value()?.into()),
                "--sessions" => options.sessions = number(&value()?)?,
                "--free" => options.free = true,
                "--noisy" => options.noisy = true,
                "--write" => options.write = true,
                "--profile" => options.profile = true,
                _ => bail!("bench has no option `{word}`; try `cargo xtask help`"),
            }
        }
        ensure!(options.rounds > 0, "no rounds, no median");
        ensure!(options.sessions >= 90, "that few sessions show nothing");
        ensure!(!options.window.is_zero(), "no time, no measurement");
        Ok(Some(options))
    }
}

impl Options {
    /// Measures what is in `list` alone.
    fn only(&mut self, list: &str) -> anyhow::Result<()> {
        (self.library, self.traffic, self.push) = (false, false, false);
        let found = named(list, |name| {
            match name {
                LIBRARY => self.library = true,
                TRAFFIC => self.traffic = true,
                PUSH => self.push = true,
                CLUSTER => self.cluster = true,
                name => return scenario(name).map(Some),
            }
            Some(None)
        })?;
        self.scenarios = found.into_iter().flatten().collect();
        Ok(())
    }
}

/// The library's name among the scenarios, that of what goes over the wire, that of pushes, and that of nodes.
const LIBRARY: &str = "ws";
const TRAFFIC: &str = "traffic";
const PUSH: &str = "push";
const CLUSTER: &str = "cluster";

fn scenario(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

fn named<T>(list: &str, mut find: impl FnMut(&str) -> Option<T>) -> anyhow::Result<Vec<T>> {
    let mut find = |name: &str| find(name.trim()).with_context(|| format!("`{name}` is not known"));
    list.split(',').map(&mut find).collect()
}

fn number<T: FromStr>(word: &str) -> anyhow::Result<T> {
    let number = word.parse().ok();
    number.with_context(|| format!("`{word}` is not such a number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Option<Options>> {
        Options::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn without_a_word_everything_is_measured_seven_times() {
        let options = parse("").unwrap().unwrap();
        assert_eq!((options.rounds, options.sessions), (7, 9_000));
        assert!(options.push && !options.cluster);
        assert_eq!(options.scenarios.len(), SCENARIOS.len());
        assert_eq!(options.peers, Peer::ALL);
        for scenario in SCENARIOS {
            assert!(EXPLAINED.contains(scenario.name), "{}", scenario.name);
        }
    }

    #[test]
    fn a_part_can_be_named() {
        let line = "--rounds 1 --seconds 0.2 --only get,idle --peers tidegate,raw --noisy";
        let options = parse(line).unwrap().unwrap();
        let names: Vec<_> = options.scenarios.iter().map(|one| one.name).collect();
        assert_eq!(names, ["get", "idle"]);
        assert!(!options.library);
        let library = parse("--only ws").unwrap().unwrap();
        assert!(library.library && library.scenarios.is_empty() && !library.traffic);
        let traffic = parse("--only get,traffic").unwrap().unwrap();
        assert!(traffic.traffic && !traffic.library && traffic.scenarios.len() == 1);
        let push = parse("--only push").unwrap().unwrap();
        assert!(push.push && !push.traffic && push.scenarios.is_empty());
        let cluster = parse("--only cluster").unwrap().unwrap();
        assert!(cluster.cluster && !cluster.push && cluster.scenarios.is_empty());
        assert_eq!(options.peers, [Peer::Tidegate, Peer::Raw]);
        assert_eq!(options.window, Duration::from_millis(200));
        assert!(options.noisy && !options.free);
        assert_eq!(parse("--rounds 2 --help").unwrap(), None);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for line in [
            "--only everything",
            "--peers apache",
            "--rounds",
            "--rounds 0",
            "--seconds -1",
            "--seconds 0",
            "--quick",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
