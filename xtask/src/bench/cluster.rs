//! What it takes to reach a user who is on one of several nodes: how long, beside the same without a gateway and at
//! the node that has the user; and the CPU of each node, with one to three of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::options::Options;
use super::push::{middle, ratio, readings};
use super::report::between;
use super::table::Table;
use crate::run::Run;
use crate::running::with_all_descriptors;
use crate::{services, shell};

/// Between these lines of the document stand these figures.
const MARKS: (&str, &str) = (
    "<!-- cluster: made by cargo xtask bench --only cluster --write -->",
    "<!-- end of cluster -->",
);
/// Pushes of each way in each round, at 200 a second and in bursts.
const PUSHES: usize = 600;
/// What is measured: what nodes share, and how many there are.
const CLUSTERS: [&str; 8] = [
    "memory=1", "redis=1", "redis=2", "redis=3", "both=1", "both=2", "both=3", "kafka=3",
];
/// What nodes share, and how it is called in the tables.
const BUSES: [(&str, &str); 4] = [
    ("memory", "nothing"),
    ("redis", "Redis"),
    ("both", "Kafka and Redis"),
    ("kafka", "Kafka"),
];
/// Where pushes come from.
const SOURCES: [(&str, &str); 3] = [
    ("record", "a record in Kafka"),
    ("holder", "`POST` there"),
    ("other", "`POST` at another node"),
];
const PARTS: [&str; 4] = ["holds and publishes", "holds", "publishes", "neither"];
const NODES: [usize; 3] = [1, 2, 3];

/// Measures, and tells the tables; writes them into the document where that is wanted.
pub(super) fn measure(run: &Run, options: &Options) -> anyhow::Result<()> {
    let (gateway, load) = binaries(run, options)?;
    let mut command = with_all_descriptors(&load);
    command.arg("cluster").arg(gateway);
    command.args([options.rounds.to_string(), PUSHES.to_string()]);
    command.args(CLUSTERS);
    for (name, value) in services::environment(run) {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "cluster: {} {}",
        said.lines().last().unwrap_or_default(),
        errors.trim()
    );
    let lines = said.lines().map(serde_json::from_str);
    let said: Vec<Value> = lines.collect::<Result<_, _>>()?;
    let mut text = String::new();
    for (title, table) in [
        (
            "From when a push is due to its frame at the socket",
            latency(&said)?,
        ),
        ("CPU of a push, one at a time", cpu(&said, "alone")?),
        ("CPU of a push, 50 at once", cpu(&said, "burst")?),
        ("CPU of nodes besides", besides(&said)?),
    ] {
        println!("\n{title}\n\n{}", table.plain());
        text.push_str(&format!("**{title}**\n\n{}\n", table.markdown()));
    }
    let machine = machine(&said)?;
    println!("{machine}");
    text.push_str(&machine);
    if options.write {
        let document = run.root.join("bench/BENCHMARKS.md");
        let before = fs::read_to_string(&document)
            .with_context(|| format!("cannot read {}", document.display()))?;
        fs::write(&document, between(&before, MARKS, &text)?)?;
    }
    Ok(())
}

/// The gateway with both adapters, unless another is to be measured, and the load that knows Kafka.
fn binaries(run: &Run, options: &Options) -> anyhow::Result<(PathBuf, PathBuf)> {
    services::debian::install_headers()?;
    let folder = run.target.join("release");
    let build = |package: &str, features: &str, name: &str| {
        let words = ["build", "--locked", "--release", "--package", package];
        shell::run(run.cargo(&words).args(["--features", features]))?;
        // The same name belongs to what is built without them.
        let (built, kept) = (folder.join(name), folder.join(format!("{name}-full")));
        fs::copy(&built, &kept).with_context(|| format!("cannot write {}", kept.display()))?;
        anyhow::Ok(kept)
    };
    let gateway = match &options.gateway {
        Some(gateway) => gateway.clone(),
        None => build("tidegate-server", "kafka,redis", "tidegate")?,
    };
    let said = shell::output(Command::new(&gateway).arg("version"))?;
    for feature in ["kafka", "redis"] {
        let has_it = said.contains(feature);
        ensure!(has_it, "{} has no {feature}", Path::new(&gateway).display());
    }
    let load = match &options.load {
        Some(load) => load.clone(),
        None => build("tidegate-bench", "cluster", "tidegate-load")?,
    };
    Ok((gateway, load))
}

/// Whether it was measured at all: not every cluster has every way.
fn is_told(said: &[Value], way: &str, by: &str) -> bool {
    said.iter()
        .any(|line| line["way"] == way && line["by"] == by)
}

fn latency(said: &[Value]) -> anyhow::Result<Table> {
    let mut table = Table::new(vec![
        "nodes share",
        "nodes",
        "a push from",
        "p50 µs",
        "p99 µs",
        "bare p50",
        "bare p99",
        "p50 / bare",
        "p50 / there",
    ]);
    let of = |by: &str, name: &str| readings(said, "latency", by, name);
    for (bus, shared) in BUSES {
        for nodes in NODES {
            for (source, from) in SOURCES {
                let by = format!("{bus} {nodes} {source}");
                if !is_told(said, "latency", &by) {
                    continue;
                }
                let (p50, p99) = (of(&by, "p50_us")?, of(&by, "p99_us")?);
                let mut row = vec![shared.to_owned(), nodes.to_string(), from.to_owned()];
                row.extend([number(&p50)?, number(&p99)?]);
                // With Kafka a plain consumer has read the very same records.
                let bare = match bus {
                    "memory" => None,
                    "redis" => Some("bare redis".to_owned()),
                    _ => Some(format!("{by} consumer")),
                };
                match bare {
                    Some(bare) => {
                        let bare_p50 = of(&bare, "p50_us")?;
                        row.extend([number(&bare_p50)?, number(&of(&bare, "p99_us")?)?]);
                        row.push(format!("{:.2}", ratio(&p50, &bare_p50)?));
                    }
                    None => row.extend(["-"; 3].map(str::to_owned)),
                }
                let there = of(&format!("{bus} {nodes} holder"), "p50_us")?;
                row.push(format!("{:.2}", ratio(&p50, &there)?));
                table.add(row);
            }
        }
    }
    ensure!(!table.is_empty(), "nothing was measured");
    Ok(table)
}

/// Microseconds, the median of all rounds.
fn number(readings: &[f64]) -> anyhow::Result<String> {
    Ok(format!("{:.0}", middle(readings.iter().copied())?))
}

fn cpu(said: &[Value], way: &str) -> anyhow::Result<Table> {
    let mut table = Table::new(vec![
        "nodes share",
        "a push from",
        "a node that",
        "µs CPU, 1 node",
        "2 nodes",
        "3 nodes",
        "3 / fewest",
    ]);
    for (bus, shared) in BUSES {
        for (source, from) in SOURCES {
            for part in PARTS {
                let mut row = vec![shared.to_owned(), from.to_owned(), part.to_owned()];
                let mut all = Vec::new();
                for nodes in NODES {
                    let by = format!("{bus} {nodes} {source} {part}");
                    if !is_told(said, way, &by) {
                        row.push("-".to_owned());
                        continue;
                    }
                    let readings = readings(said, way, &by, "cpu_ns")?;
                    row.push(micros(&readings)?);
                    all.push((nodes, readings));
                }
                row.push(match &all[..] {
                    [] => continue,
                    [(_, fewest), .., (3, most)] => format!("{:.2}", ratio(most, fewest)?),
                    _ => "-".to_owned(),
                });
                table.add(row);
            }
        }
    }
    ensure!(!table.is_empty(), "nothing was measured");
    Ok(table)
}

fn besides(said: &[Value]) -> anyhow::Result<Table> {
    let mut table = Table::new(vec![
        "nodes share",
        "nodes",
        "idle, ms a second",
        "µs a session, opened and closed",
        "/ nothing shared",
        "µs of each other node",
    ]);
    let alone = readings(said, "session", "memory 1 holds", "cpu_ns")?;
    for (bus, shared) in BUSES {
        for nodes in NODES {
            let idle = format!("{bus} {nodes} node");
            if !is_told(said, "idle", &idle) {
                continue;
            }
            let idle = middle(readings(said, "idle", &idle, "cpu_ns")?)? / 1e6;
            let session = readings(said, "session", &format!("{bus} {nodes} holds"), "cpu_ns")?;
            let other = format!("{bus} {nodes} neither");
            let other = match is_told(said, "session", &other) {
                true => micros(&readings(said, "session", &other, "cpu_ns")?)?,
                false => "-".to_owned(),
            };
            table.add(vec![
                shared.to_owned(),
                nodes.to_string(),
                format!("{idle:.2}"),
                micros(&session)?,
                format!("{:.2}", ratio(&session, &alone)?),
                other,
            ]);
        }
    }
    Ok(table)
}

fn micros(readings: &[f64]) -> anyhow::Result<String> {
    Ok(format!("{:.1}", middle(readings.iter().copied())? / 1e3))
}

/// What else the machine did.
fn machine(said: &[Value]) -> anyhow::Result<String> {
    let others = readings(said, "machine", "others", "cores")?;
    let most = others.iter().copied().fold(0.0, f64::max);
    let cores = std::thread::available_parallelism()?;
    Ok(format!(
        "{} rounds; of {cores} cores others, who have no part in this, used {:.2} in the median of them and {most:.2} at most.\n",
        others.len(),
        middle(others.iter().copied())?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency_of(by: &str, p50: u32) -> Value {
        serde_json::json!({ "way": "latency", "by": by, "p50_us": p50, "p99_us": 9 * p50 })
    }

    #[test]
    fn each_push_is_compared_with_the_bare_one_and_with_the_holders_of_its_round() {
        let mut said = Vec::new();
        // The machine was slower in the second round.
        for times in [1, 3, 1] {
            said.push(latency_of("bare redis", 100 * times));
            said.push(latency_of("redis 2 holder", 300 * times));
            said.push(latency_of("redis 2 other", 450 * times));
        }
        let table = latency(&said).unwrap().markdown();
        let row = "| Redis | 2 | `POST` at another node | 450 | 4050 | 100 | 900 | 4.50 | 1.50 |";
        assert!(table.contains(row), "{table}");
        assert!(latency(&[]).is_err());
    }

    #[test]
    fn nodes_are_compared_with_the_fewest_that_have_that_part() {
        let line =
            |by: &str, cpu: u32| serde_json::json!({ "way": "alone", "by": by, "cpu_ns": cpu });
        let said = [
            line("both 1 record holds", 20_000),
            line("both 2 record holds", 21_000),
            line("both 3 record holds", 22_000),
            line("both 2 record neither", 10_000),
            line("both 3 record neither", 15_000),
        ];
        let table = cpu(&said, "alone").unwrap().markdown();
        for row in [
            "| Kafka and Redis | a record in Kafka | holds | 20.0 | 21.0 | 22.0 | 1.10 |",
            "| Kafka and Redis | a record in Kafka | neither | - | 10.0 | 15.0 | 1.50 |",
        ] {
            assert!(table.contains(row), "{table}");
        }
        assert!(cpu(&said, "burst").is_err());
    }

    #[test]
    fn the_document_has_a_place_for_it() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/BENCHMARKS.md");
        let text = fs::read_to_string(document).unwrap();
        assert!(between(&text, MARKS, "").is_ok());
    }
}
