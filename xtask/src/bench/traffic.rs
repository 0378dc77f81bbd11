//! What an app's calls cost on the wire and in time: over HTTP/1.1 and over the bridge, each with and
//! without compression.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::peers::{Peer, Setting, Started};
use super::report::between;
use super::scenarios::Legs;
use super::table::Table;
use crate::running::free_address;

/// Between these lines of the document stand these figures.
const MARKS: (&str, &str) = (
    "<!-- traffic: made by cargo xtask bench --only traffic --write -->",
    "<!-- end of traffic -->",
);
/// Calls of each of five rounds, of each way and size.
const CALLS: usize = 2_000;

/// Measures, and tells the table; writes it into `document` where that is wanted.
pub(super) fn measure(setting: Setting<'_>, document: &Path) -> anyhow::Result<()> {
    let upstream = free_address()?;
    let mut started = Started::start(Peer::Tidegate, setting, Legs::Bridge, upstream)?;
    let binaries = setting.binaries;
    let mut load = binaries.command(&binaries.load, setting.placement, 1);
    load.arg("traffic")
        .args([started.address.to_string(), upstream.to_string()])
        .args([started.id().to_string(), CALLS.to_string()]);
    let output = load.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "traffic: {}", said.trim());
    started.must_run()?;
    let table = table(&said)?;
    println!("\nWhat a call costs, one at a time\n\n{}", table.plain());
    if setting.options.write {
        let text = fs::read_to_string(document)
            .with_context(|| format!("cannot read {}", document.display()))?;
        fs::write(document, between(&text, MARKS, &table.markdown())?)?;
    }
    Ok(())
}

fn table(said: &str) -> anyhow::Result<Table> {
    let mut table = Table::new(vec![
        "a call over",
        "body",
        "B up",
        "B down",
        "B in all",
        "/ HTTP/1.1",
        "µs",
        "µs CPU of the gateway",
        "B to open",
    ]);
    let mut plain = None;
    for line in said.lines() {
        let row: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        let number = |name: &str| row[name].as_f64().with_context(|| line.to_owned());
        let (up, down) = (number("up")?, number("down")?);
        let way = row["way"].as_str().with_context(|| line.to_owned())?;
        // It comes first of each size.
        if way == "HTTP/1.1" {
            plain = Some(up + down);
        }
        let ratio = plain.map(|plain| (up + down) / plain);
        table.add(vec![
            way.to_owned(),
            format!("{}", row["size"]),
            format!("{up:.0}"),
            format!("{down:.0}"),
            format!("{:.0}", up + down),
            ratio.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            format!("{:.0}", number("call_ns")? / 1e3),
            format!("{:.1}", number("gateway_ns")? / 1e3),
            format!("{:.0}", number("opening_up")? + number("opening_down")?),
        ]);
    }
    ensure!(!table.is_empty(), "nothing was measured");
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_is_compared_with_plain_http() {
        let line = |way: &str, up: u32| {
            format!(
                "{{\"way\":\"{way}\",\"size\":200,\"opening_up\":0,\"opening_down\":0,\"up\":{up},\
                 \"down\":400,\"call_ns\":120000,\"gateway_ns\":21000}}"
            )
        };
        let said = format!("{}\n{}\n", line("HTTP/1.1", 600), line("bridge", 100));
        let table = table(&said).unwrap().markdown();
        let row = "| bridge | 200 | 100 | 400 | 500 | 0.50 | 120 | 21.0 | 0 |";
        assert!(table.contains(row), "{table}");
        assert!(super::table("").is_err());
    }

    #[test]
    fn the_document_has_a_place_for_it() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../bench/BENCHMARKS.md");
        let text = fs::read_to_string(document).unwrap();
        assert!(between(&text, MARKS, "").is_ok());
    }
}
