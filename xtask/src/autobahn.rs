//! The Autobahn suite: its fuzzing client → the gateway → a Node `ws` echo server.
//!
//! The verdicts are compared with what the echo server gets when nothing stands between: a gateway
//! that passes frames on as they came neither gains nor loses a case.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Value, json};

use crate::run::{Done, Run};
use crate::running::{Running, free_address};
use crate::{services, shell};

/// How long the gateway may take until it listens.
const START: Duration = Duration::from_secs(20);

/// The cases we run, how many of them end with which verdict, and how long that may take.
struct Selection {
    excluded: &'static [&'static str],
    expected: &'static [(&'static str, usize)],
    limit: Duration,
}

/// Without the groups 12 and 13, permessage-deflate, which take nine tenths of the time.
const QUICK: Selection = Selection {
    excluded: &["12.*", "13.*"],
    expected: &[("INFORMATIONAL", 3), ("NON-STRICT", 4), ("OK", 294)],
    limit: Duration::from_secs(300),
};

const FULL: Selection = Selection {
    excluded: &[],
    expected: &[("INFORMATIONAL", 3), ("NON-STRICT", 4), ("OK", 510)],
    limit: Duration::from_secs(1800),
};

/// Verdicts on the closing handshake that are no fault; every case must have one of them.
const CLOSED_WELL: &[&str] = &["OK", "INFORMATIONAL"];

pub(crate) fn judge(run: &Run) -> anyhow::Result<Done> {
    let tools = services::node_tools(run).and_then(|tools| {
        shell::which("node").context("no node")?;
        Ok((tools, services::autobahn(run)?))
    });
    let (node_tools, wstest) = match tools {
        Ok(tools) => tools,
        Err(error) => return run.skip("autobahn", &format!("{error:#}")),
    };
    let folder = run.target.join("autobahn");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;

    let (_echo, upstream) = start_echo_server(&node_tools)?;
    let gateway = if run.options.direct {
        None
    } else {
        Some(start_gateway(&run.gateway(), upstream, &folder)?)
    };
    let selection = if run.options.full { &FULL } else { &QUICK };
    let judged = gateway.as_ref().map_or(upstream, |(_, address)| *address);
    let index = drive(&wstest, judged, selection, &folder)?;
    compare(&index, selection)?;
    Ok(Done::Passed)
}

fn start_echo_server(node_tools: &Path) -> anyhow::Result<(Running, SocketAddr)> {
    let mut command = Command::new("node");
    command.arg(node_tools.join("echo-server.mjs"));
    let (running, greeting) = Running::start_greeting("the echo server", &mut command)?;
    let greeting: Value = serde_json::from_str(&greeting)?;
    let port = greeting["port"].as_u64().context("it names no port")?;
    Ok((running, format!("127.0.0.1:{port}").parse()?))
}

fn start_gateway(
    binary: &Path,
    upstream: SocketAddr,
    folder: &Path,
) -> anyhow::Result<(Running, SocketAddr)> {
    let address = free_address()?;
    let config = folder.join("tidegate.yaml");
    fs::write(
        &config,
        format!(
            "version: 1\n\
             listeners: [{{ name: public, bind: \"{address}\" }}]\n\
             services: {{ echo: {{ endpoints: \"ws://{upstream}\" }} }}\n\
             routes:\n  - {{ name: echo, match: {{ path: \"/**\" }}, proxy: {{ service: echo }} }}\n"
        ),
    )?;
    let log = File::create(folder.join("gateway.log"))?;
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(&config);
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let mut running = Running::start("the gateway", &mut command)?;
    if let Err(error) = running.wait_for_port(address, START) {
        println!("{}", fs::read_to_string(folder.join("gateway.log"))?);
        return Err(error);
    }
    Ok((running, address))
}

/// Runs the fuzzing client to its end and gives its index of verdicts.
fn drive(
    wstest: &Path,
    judged: SocketAddr,
    selection: &Selection,
    folder: &Path,
) -> anyhow::Result<Value> {
    let (specification, log) = (folder.join("fuzzingclient.json"), folder.join("wstest.log"));
    let reports: PathBuf = folder.join("reports");
    let words = json!({
        "outdir": reports,
        "servers": [{ "agent": "tidegate", "url": format!("ws://{judged}") }],
        "cases": ["*"],
        "exclude-cases": selection.excluded,
        "exclude-agent-cases": {},
    });
    fs::write(&specification, words.to_string())?;
    println!("cases against {judged}; its talk goes to {}", log.display());
    let output = File::create(&log)?;
    let mut command = Command::new(wstest);
    command
        .args(["--mode", "fuzzingclient", "--spec"])
        .arg(&specification);
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let status = Running::start("wstest", &mut command)?.wait_for_end(selection.limit)?;
    if !status.success() {
        bail!("wstest ended with {status}");
    }
    let index = fs::read(reports.join("index.json")).context("wstest left no index.json")?;
    Ok(serde_json::from_slice(&index)?)
}

/// Counts the verdicts, prints every case that is not plainly OK, and wants the counts we know.
fn compare(index: &Value, selection: &Selection) -> anyhow::Result<()> {
    let cases = index["tidegate"].as_object().context("no cases were run")?;
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ill_closed = 0;
    for (case, report) in cases {
        let verdict = report["behavior"].as_str().unwrap_or("NONE");
        let close = report["behaviorClose"].as_str().unwrap_or("NONE");
        *counts.entry(verdict).or_default() += 1;
        if !CLOSED_WELL.contains(&close) {
            ill_closed += 1;
        }
        if verdict != "OK" || close != "OK" {
            println!("  {case:<8} {verdict}, closing {close}");
        }
    }
    println!("{} cases: {counts:?}", cases.len());
    let expected: BTreeMap<&str, usize> = selection.expected.iter().copied().collect();
    if counts != expected {
        bail!("expected {expected:?}, found {counts:?}");
    }
    if ill_closed > 0 {
        bail!("{ill_closed} cases were not closed as they should be");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: Selection = Selection {
        excluded: &[],
        expected: &[("NON-STRICT", 1), ("OK", 1)],
        limit: Duration::ZERO,
    };

    fn index(second: &str, close: &str) -> Value {
        json!({ "tidegate": {
            "1.1.1": { "behavior": "OK", "behaviorClose": close },
            "6.4.1": { "behavior": second, "behaviorClose": "OK" },
        } })
    }

    #[test]
    fn only_the_known_counts_pass() {
        assert!(compare(&index("NON-STRICT", "OK"), &TWO).is_ok());
        assert!(compare(&index("OK", "OK"), &TWO).is_err());
        assert!(compare(&index("FAILED", "OK"), &TWO).is_err());
        assert!(compare(&json!({}), &TWO).is_err());
    }

    #[test]
    fn a_connection_closed_uncleanly_fails() {
        assert!(compare(&index("NON-STRICT", "UNCLEAN"), &TWO).is_err());
    }
}
