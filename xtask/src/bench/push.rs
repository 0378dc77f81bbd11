//! What the delivery of a push costs: to 5,000 sessions by one call, and by one event of a room, beside a
//! loop that writes the same frames to as many sockets; and to one session among few others and many.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::configurations::Wanted;
use super::figures::median;
use super::peers::Setting;
use super::report::between;
use super::scenarios::Legs;
use super::table::Table;
use crate::running::{Running, free_address};

/// Between these lines of the document stand these figures.
const MARKS: (&str, &str) = (
    "<!-- push: made by cargo xtask bench --only push --write -->",
    "<!-- end of push -->",
);
/// Who are told at once, of the idle sessions that are wanted at most: 5,000 of 9,000.
const MANY: (u32, u32) = (5, 9);
/// Pushes of each round; after each 32nd a client says that it has them.
const PUSHES: usize = 32;
/// Others beside the one that is told, in parts of the most.
const OTHERS: [u32; 3] = [90, 9, 1];
/// What a delivery may cost, in costs of the loop.
const MOST: f64 = 2.5;
/// What a push to one may cost beside the most others, in costs of one beside the fewest.
const FLAT: f64 = 1.25;
/// How long one may take until it listens.
const START: Duration = Duration::from_secs(20);

/// One who is measured, as the load is told of it: where it listens, where it is told what to push.
struct Started {
    running: Running,
    address: SocketAddr,
    orders: SocketAddr,
}

impl Started {
    fn gateway(setting: Setting<'_>, number: usize) -> anyhow::Result<Self> {
        let (address, orders) = (free_address()?, free_address()?);
        let wanted = Wanted {
            address,
            upstream: free_address()?,
            workers: setting.placement.workers(),
            legs: Legs::Bridge,
            folder: setting.folder,
        };
        let file = setting.folder.join(format!("push-{number}.yaml"));
        fs::write(&file, wanted.pushing(orders))?;
        let tidegate = &setting.binaries.tidegate;
        let words = [Path::new("run"), Path::new("--config"), &file];
        Self::start(setting, tidegate, &words, (address, orders))
    }

    fn bare(setting: Setting<'_>) -> anyhow::Result<Self> {
        let (address, orders) = (free_address()?, free_address()?);
        let words = [address.to_string(), orders.to_string()];
        let words = [Path::new("bare"), words[0].as_ref(), words[1].as_ref()];
        Self::start(setting, &setting.binaries.load, &words, (address, orders))
    }

    fn start(
        setting: Setting<'_>,
        program: &Path,
        words: &[&Path],
        (address, orders): (SocketAddr, SocketAddr),
    ) -> anyhow::Result<Self> {
        let mut command = setting.binaries.command(program, setting.placement, 0);
        let log = File::create(setting.folder.join(format!("push-{}.out", address.port())))?;
        command
            .args(words)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut running = Running::start("who pushes", &mut command)?;
        // The one at `address` would take it for a session.
        running.wait_for_port(orders, START)?;
        Ok(Self {
            running,
            address,
            orders,
        })
    }

    fn name(&self) -> String {
        format!("{},{},{}", self.address, self.orders, self.running.id())
    }
}

/// Measures, and tells the tables; writes them into `document` where that is wanted.
pub(super) fn measure(setting: Setting<'_>, document: &Path) -> anyhow::Result<()> {
    let (options, rounds) = (setting.options, setting.options.rounds.to_string());
    let count = options.sessions * MANY.0 / MANY.1;
    let many = {
        let (gateway, bare) = (Started::gateway(setting, 0)?, Started::bare(setting)?);
        let counts = [count.to_string(), PUSHES.to_string(), rounds.clone()];
        let words = ["many".to_owned(), gateway.name(), bare.name()];
        load(setting, words.into_iter().chain(counts))?
    };
    let others = OTHERS.map(|part| options.sessions / part);
    let mut gateways = Vec::new();
    for number in 0..others.len() {
        gateways.push(Started::gateway(setting, number)?);
    }
    let named = others.iter().zip(&gateways);
    let named = named.map(|(others, gateway)| format!("{others}={}", gateway.name()));
    let words = ["one".to_owned(), rounds].into_iter().chain(named);
    let one = load(setting, words)?;
    let tables = [
        ("A delivery, to many at once", deliveries(&many, count)?),
        ("A push to one session, among others", among(&one, others)?),
    ];
    let mut text = String::new();
    for (title, table) in &tables {
        println!("\n{title}\n\n{}", table.plain());
        text.push_str(&format!("**{title}**\n\n{}\n", table.markdown()));
    }
    if options.write {
        let before = fs::read_to_string(document)
            .with_context(|| format!("cannot read {}", document.display()))?;
        fs::write(document, between(&before, MARKS, text.trim_end())?)?;
    }
    Ok(())
}

/// What the load says, line by line.
fn load(setting: Setting<'_>, words: impl Iterator<Item = String>) -> anyhow::Result<Vec<Value>> {
    let binaries = setting.binaries;
    let mut load = binaries.command(&binaries.load, setting.placement, 1);
    load.arg("push").args(words).stdin(Stdio::null());
    let output = load.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "push: {} {}",
        said.trim(),
        errors.trim()
    );
    let lines = said.lines().map(serde_json::from_str);
    lines
        .collect::<Result<_, _>>()
        .with_context(|| said.into_owned())
}

/// Readings of one way and by one measured process, in the order of the rounds.
pub(super) fn readings(
    said: &[Value],
    way: &str,
    by: &str,
    name: &str,
) -> anyhow::Result<Vec<f64>> {
    let of = said
        .iter()
        .filter(|line| line["way"] == way && line["by"] == by);
    let found: Option<Vec<f64>> = of.map(|line| line[name].as_f64()).collect();
    let found = found.with_context(|| format!("no {name} in {said:?}"))?;
    ensure!(!found.is_empty(), "nothing was measured of {way} by {by}");
    Ok(found)
}

/// The median of what came out in each round.
pub(super) fn middle(numbers: impl IntoIterator<Item = f64>) -> anyhow::Result<f64> {
    median(numbers.into_iter()).context("no rounds")
}

pub(super) fn ratio(over: &[f64], under: &[f64]) -> anyhow::Result<f64> {
    middle(over.iter().zip(under).map(|(over, under)| over / under))
}

const fn verdict(is_reached: bool) -> &'static str {
    match is_reached {
        true => "reached",
        false => "SHORT",
    }
}

fn deliveries(said: &[Value], count: u32) -> anyhow::Result<Table> {
    let mut table = Table::new(vec![
        "a push to",
        "sessions",
        "µs CPU a delivery",
        "the loop",
        "/ the loop",
        "at most",
        "verdict",
        "deliveries/s",
        "the loop",
    ]);
    for (way, name) in [
        ("users", "one call with so many users"),
        ("room", "one room"),
    ] {
        let of = |by, name| readings(said, way, by, name);
        let (ours, bare) = (of("tidegate", "cpu_ns")?, of("bare", "cpu_ns")?);
        let ratio = ratio(&ours, &bare)?;
        let micros = |readings: Vec<f64>| anyhow::Ok(format!("{:.2}", middle(readings)? / 1e3));
        let rate = |by| anyhow::Ok(format!("{:.0}", middle(of(by, "per_second")?)?));
        table.add(vec![
            name.to_owned(),
            count.to_string(),
            micros(ours)?,
            micros(bare)?,
            format!("{ratio:.2}"),
            format!("{MOST:.2}"),
            verdict(ratio <= MOST).to_owned(),
            rate("tidegate")?,
            rate("bare")?,
        ]);
    }
    Ok(table)
}

fn among(said: &[Value], others: [u32; 3]) -> anyhow::Result<Table> {
    let mut table = Table::new(vec![
        "µs CPU a push",
        "few others",
        "more",
        "most",
        "most / few",
        "at most",
        "verdict",
    ]);
    table.add(
        ["sessions beside it".to_owned()]
            .into_iter()
            .chain(others.map(|others| others.to_string()))
            .chain(["", "", ""].map(str::to_owned))
            .collect(),
    );
    for (way, name) in [("single", "one in a request"), ("batch", "50 in a request")] {
        let mut row = vec![name.to_owned()];
        let mut all = Vec::new();
        for others in others {
            let readings = readings(said, way, &others.to_string(), "cpu_ns")?;
            row.push(format!("{:.2}", middle(readings.iter().copied())? / 1e3));
            all.push(readings);
        }
        let [few, _, most] = &all[..] else {
            anyhow::bail!("three gateways were to be measured");
        };
        let ratio = ratio(most, few)?;
        row.extend([
            format!("{ratio:.2}"),
            format!("{FLAT:.2}"),
            verdict(ratio <= FLAT).to_owned(),
        ]);
        table.add(row);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(way: &str, by: &str, cpu: u32) -> Value {
        serde_json::json!({ "way": way, "by": by, "cpu_ns": cpu, "per_second": 1000, "deliveries": 5 })
    }

    #[test]
    fn each_round_is_compared_with_itself() {
        let mut said = Vec::new();
        for way in ["users", "room"] {
            // The machine was slower in the second round.
            for (ours, bare) in [(10_000, 5_000), (30_000, 15_000), (12_000, 4_000)] {
                said.push(line(way, "tidegate", ours));
                said.push(line(way, "bare", bare));
            }
        }
        let table = deliveries(&said, 5_000).unwrap().markdown();
        let row = "| one room | 5000 | 12.00 | 5.00 | 2.00 | 2.50 | reached | 1000 | 1000 |";
        assert!(table.contains(row), "{table}");
        assert!(deliveries(&said[..2], 5_000).is_err());
    }

    #[test]
    fn what_grows_with_others_is_short() {
        let mut said = Vec::new();
        for way in ["single", "batch"] {
            for (by, cpu) in [("100", 10_000), ("1000", 11_000), ("9000", 13_000)] {
                said.push(line(way, by, cpu));
            }
        }
        let table = among(&said, [100, 1_000, 9_000]).unwrap().markdown();
        let row = "| one in a request | 10.00 | 11.00 | 13.00 | 1.30 | 1.25 | SHORT |";
        assert!(table.contains(row), "{table}");
    }

    #[test]
    fn the_document_has_a_place_for_it() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/BENCHMARKS.md");
        let text = fs::read_to_string(document).unwrap();
        assert!(between(&text, MARKS, "").is_ok());
    }
}
