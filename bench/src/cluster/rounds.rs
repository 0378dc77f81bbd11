//! One round after the other: each has every way once.

use std::ops::Range;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use super::arrivals::data;
use super::listener::Session;
use super::pace::{paced, quantiles};
use super::redis::Pair;
use super::{Cluster, USER, words};
use crate::measure::accounts::{Reading, Tree};

/// Who may wait for answers to pushes at one time.
const SENDERS: usize = 8;
/// Pushes that go out at once.
const BURST: usize = 50;
/// How long nodes that nobody waits for have until their CPU is read.
const SETTLE: Duration = Duration::from_millis(250);
/// How long nothing happens.
const QUIET: Duration = Duration::from_secs(3);
/// Sessions that come and go, one after the other.
const SESSIONS: usize = 200;

/// Where a push comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum From {
    /// `POST /v1/push` at the node that has the user.
    Holder,
    /// The same at another one.
    Other,
    /// A record of somebody else's.
    Record,
}

impl From {
    const fn name(self) -> &'static str {
        match self {
            Self::Holder => "holder",
            Self::Other => "other",
            Self::Record => "record",
        }
    }

    /// What a node does in a push.
    const fn part(self, node: usize) -> &'static str {
        match (self, node) {
            (Self::Holder, 0) => "holds and publishes",
            (_, 0) => "holds",
            (Self::Other, 1) => "publishes",
            _ => "neither",
        }
    }
}

impl Cluster {
    fn name(&self) -> String {
        format!("{} {}", self.bus.name(), self.nodes.len())
    }

    fn ways(&self) -> impl Iterator<Item = From> {
        let other = (self.nodes.len() > 1).then_some(From::Other);
        let record = self.topic.is_some().then_some(From::Record);
        [Some(From::Holder), other, record].into_iter().flatten()
    }

    /// One push: a request, or a record.
    fn push(&self, from: From, mut numbers: Range<u64>) -> Result<(), String> {
        let node = match (from, &self.topic) {
            (From::Record, Some(topic)) => {
                return numbers.try_for_each(|number| topic.publish(number));
            }
            (From::Other, _) => 1,
            _ => 0,
        };
        let pushes = numbers.map(|number| {
            let data = data(number);
            format!("{{\"user\":\"user-{USER}\",\"event\":\"bench\",\"data\":{data}}}")
        });
        let pushes: Vec<String> = pushes.collect();
        let body = match &pushes[..] {
            [one] => one.clone(),
            several => format!("[{}]", several.join(",")),
        };
        self.nodes[node].publisher.push(&body)
    }

    fn cpu(&self) -> Result<Vec<Duration>, String> {
        self.nodes.iter().map(|node| node.tree.cpu()).collect()
    }

    /// What each node used since `before`, in the mean of all that have the same part.
    fn used(&self, before: &[Duration], part: impl Fn(usize) -> &'static str) -> Parts {
        let after = self.cpu()?;
        let mut parts: Vec<(&'static str, Duration, u32)> = Vec::new();
        for (node, (before, after)) in before.iter().zip(after).enumerate() {
            let used = after.saturating_sub(*before);
            match parts.iter_mut().find(|(name, ..)| *name == part(node)) {
                Some((_, sum, count)) => (*sum, *count) = (*sum + used, *count + 1),
                None => parts.push((part(node), used, 1)),
            }
        }
        let mean = parts
            .into_iter()
            .map(|(name, sum, count)| (name, sum / count));
        Ok(mean.collect())
    }
}

/// What was used, by part.
type Parts = Result<Vec<(&'static str, Duration)>, String>;

pub(super) struct Rounds {
    clusters: Vec<Cluster>,
    pair: Pair,
    pushes: usize,
    next: u64,
    users: usize,
    /// All that was started here.
    ours: Tree,
    is_counted: bool,
}

impl Rounds {
    pub(super) fn new(clusters: Vec<Cluster>, pair: Pair, pushes: usize) -> Result<Self, String> {
        let own = i32::try_from(process::id()).map_err(words)?;
        Ok(Self {
            clusters,
            pair,
            pushes,
            next: 1,
            users: USER + 1,
            ours: Tree::below(own)?,
            is_counted: false,
        })
    }

    /// Measures everything once, and tells it where it counts.
    pub(super) fn measure(&mut self, is_counted: bool) -> Result<(), String> {
        self.is_counted = is_counted;
        let before = Reading::take(&self.ours)?;
        self.bare()?;
        self.nothing()?;
        for at in 0..self.clusters.len() {
            let ways: Vec<From> = self.clusters[at].ways().collect();
            for from in ways {
                self.one_at_a_time(at, from)?;
                self.in_bursts(at, from)?;
            }
            self.come_and_go(at)?;
        }
        let used = Reading::take(&self.ours)?.since(&before);
        self.tell("machine", "others", &[("cores", used.others)]);
        Ok(())
    }

    fn numbers(&mut self, count: usize) -> Range<u64> {
        let first = self.next;
        self.next += count as u64;
        first..self.next
    }

    fn tell(&self, way: &str, by: &str, figures: &[(&str, f64)]) {
        if !self.is_counted {
            return;
        }
        let figures = figures
            .iter()
            .map(|(name, figure)| format!(",\"{name}\":{figure:.3}"));
        let figures: String = figures.collect();
        println!("{{\"way\":\"{way}\",\"by\":\"{by}\"{figures}}}");
    }

    fn tell_latency(&self, by: &str, due: &[Instant], came: &[Instant]) {
        let [p50, p99] = quantiles(due, came).map(|time| time.as_secs_f64() * 1e6);
        self.tell("latency", by, &[("p50_us", p50), ("p99_us", p99)]);
    }

    fn tell_cpu(&self, way: &str, by: &str, parts: Parts, operations: usize) -> Result<(), String> {
        for (part, used) in parts? {
            let each = used.as_nanos() as f64 / operations as f64;
            self.tell(way, &format!("{by} {part}"), &[("cpu_ns", each)]);
        }
        Ok(())
    }

    /// By Redis alone.
    fn bare(&mut self) -> Result<(), String> {
        let numbers = self.numbers(self.pushes);
        let (pair, first) = (&self.pair, numbers.start);
        let due = paced(self.pushes, 1, |number| pair.publish(first + number as u64))?;
        self.tell_latency("bare redis", &due, &pair.arrivals.all(numbers)?);
        Ok(())
    }

    /// What nodes use that nobody asks anything.
    fn nothing(&self) -> Result<(), String> {
        let before = self.clusters.iter().map(Cluster::cpu);
        let before: Vec<_> = before.collect::<Result<_, _>>()?;
        thread::sleep(QUIET);
        for (cluster, before) in self.clusters.iter().zip(&before) {
            let parts = cluster.used(before, |_| "node")?;
            let a_second = parts.into_iter();
            let a_second = a_second.map(|(part, used)| (part, used / QUIET.as_secs() as u32));
            self.tell_cpu("idle", &cluster.name(), Ok(a_second.collect()), 1)?;
        }
        Ok(())
    }

    /// At a fixed rate, so low that each finds everybody at rest.
    fn one_at_a_time(&mut self, at: usize, from: From) -> Result<(), String> {
        let numbers = self.numbers(self.pushes);
        let (cluster, first) = (&self.clusters[at], numbers.start);
        let senders = if from == From::Record { 1 } else { SENDERS };
        let before = cluster.cpu()?;
        let due = paced(self.pushes, senders, |number| {
            let number = first + number as u64;
            cluster.push(from, number..number + 1)
        })?;
        let came = cluster.told.all(numbers.clone())?;
        thread::sleep(SETTLE);
        let parts = cluster.used(&before, |node| from.part(node));
        let by = format!("{} {}", cluster.name(), from.name());
        self.tell_cpu("alone", &by, parts, self.pushes)?;
        self.tell_latency(&by, &due, &came);
        if let Some(topic) = &cluster.topic {
            let read = topic.read.all(numbers.clone())?;
            self.tell_latency(&format!("{by} consumer"), &due, &read);
            if from == From::Record {
                let acked = topic.acked.all(numbers)?;
                self.tell_latency(&format!("{by} acked"), &due, &acked);
            }
        }
        Ok(())
    }

    /// Many at once, the next of them when all have come.
    fn in_bursts(&mut self, at: usize, from: From) -> Result<(), String> {
        let before = self.clusters[at].cpu()?;
        let bursts = self.pushes.div_ceil(BURST);
        for _ in 0..bursts {
            let numbers = self.numbers(BURST);
            let cluster = &self.clusters[at];
            cluster.push(from, numbers.clone())?;
            cluster.told.all(numbers)?;
        }
        thread::sleep(SETTLE);
        let cluster = &self.clusters[at];
        let parts = cluster.used(&before, |node| from.part(node));
        let by = format!("{} {}", cluster.name(), from.name());
        self.tell_cpu("burst", &by, parts, bursts * BURST)
    }

    /// Sessions of users who come and go at once, at the first node.
    fn come_and_go(&mut self, at: usize) -> Result<(), String> {
        let cluster = &self.clusters[at];
        let before = cluster.cpu()?;
        for user in self.users..self.users + SESSIONS {
            Session::open(cluster.nodes[0].public, user)?.close()?;
        }
        thread::sleep(SETTLE);
        let parts = cluster.used(&before, |node| if node == 0 { "holds" } else { "neither" });
        self.tell_cpu("session", &cluster.name(), parts, SESSIONS)?;
        self.users += SESSIONS;
        Ok(())
    }
}
