//! The Autobahn suite: its fuzzing client → the gateway → a Node `ws` echo server; and, in
//! [`library`], its two ends against those of `tidegate-ws`.
//!
//! The verdicts through the gateway are compared, case by case, with what the echo server gets when nothing stands
//! between (`--direct`): a gateway that passes frames on as they came neither gains nor loses one.

mod library;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

pub(crate) use self::library::judge as judge_library;
use crate::run::{Done, Run};
use crate::running::{Running, free_address};
use crate::steps::now;
use crate::{services, shell};

/// What the suite's reports call whom they judge.
const AGENT: &str = "tidegate";

/// How long the gateway may take until it listens.
const START: Duration = Duration::from_secs(20);

/// What one fuzzing client runs. It is Python, and uses one core.
struct Share {
    cases: &'static [&'static str],
    excluded: &'static [&'static str],
}

/// The cases we run, in shares that run side by side; how many they are, and how long that may take.
struct Selection {
    shares: &'static [Share],
    cases: usize,
    limit: Duration,
}

impl Selection {
    const fn of(run: &Run) -> &'static Self {
        if run.options.full { &FULL } else { &QUICK }
    }
}

/// Every case that is not plainly OK, and its verdict; the echo server's own, and the same with the
/// groups 12 and 13 as without.
const NOT_OK: &[(&str, &str)] = &[
    // Invalid UTF-8 is noticed at the end of the message, not at the first wrong byte.
    ("6.4.1", "NON-STRICT"),
    ("6.4.2", "NON-STRICT"),
    ("6.4.3", "NON-STRICT"),
    ("6.4.4", "NON-STRICT"),
    // The suite only reports what it saw: a close behind a large message, and two close codes
    // that RFC 6455 leaves open.
    ("7.1.6", "INFORMATIONAL"),
    ("7.13.1", "INFORMATIONAL"),
    ("7.13.2", "INFORMATIONAL"),
];

/// Without the groups 12 and 13, permessage-deflate, which take nine tenths of the time.
const QUICK: Selection = Selection {
    shares: &[Share {
        cases: &["*"],
        excluded: &["12.*", "13.*"],
    }],
    cases: 301,
    limit: Duration::from_secs(300),
};

/// Half of the time each; some 9 minutes on two cores that do other things too.
const FULL: Selection = Selection {
    shares: &[
        Share {
            cases: HALF,
            excluded: &[],
        },
        Share {
            cases: &["*"],
            excluded: HALF,
        },
    ],
    cases: 517,
    limit: Duration::from_secs(1800),
};

const HALF: &[&str] = &["12.1.*", "12.2.*", "12.3.*", "12.4.*"];

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
    let folder = fresh_folder(run, "autobahn")?;

    let (_echo, upstream) = start_echo_server(&node_tools)?;
    let gateway = if run.options.direct {
        None
    } else {
        let ours = run.gateway();
        let binary = run.options.gateway.as_ref().unwrap_or(&ours);
        Some(start_gateway(binary, upstream, &folder)?)
    };
    let selection = Selection::of(run);
    let judged = gateway.as_ref().map_or(upstream, |(_, address)| *address);
    let verdicts = drive(&wstest, judged, selection, &folder)?;
    compare(&verdicts, selection.cases, NOT_OK)?;
    Ok(Done::Passed)
}

/// An empty folder of this name among what is built.
fn fresh_folder(run: &Run, name: &str) -> anyhow::Result<PathBuf> {
    let folder = run.target.join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
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

/// Runs a fuzzing client for each share, all at one time, and gives their verdicts by case.
fn drive(
    wstest: &Path,
    judged: SocketAddr,
    selection: &Selection,
    folder: &Path,
) -> anyhow::Result<Map<String, Value>> {
    let begun = now();
    let mut clients = Vec::new();
    for (number, share) in selection.shares.iter().enumerate() {
        let folder = folder.join(format!("share-{number}"));
        fs::create_dir_all(&folder)?;
        println!("cases against {judged}; talk in {}", folder.display());
        let client = start_client(wstest, judged, share, &folder)?;
        clients.push((folder, client));
    }
    let mut verdicts = Map::new();
    for (folder, mut client) in clients {
        let left = selection.limit.saturating_sub(begun.elapsed());
        let status = client.wait_for_end(left)?;
        if !status.success() {
            bail!("wstest ended with {status}");
        }
        merge(&mut verdicts, &index_of(&folder)?)?;
    }
    println!("all after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(verdicts)
}

fn start_client(
    wstest: &Path,
    judged: SocketAddr,
    share: &Share,
    folder: &Path,
) -> anyhow::Result<Running> {
    let url = format!("ws://{judged}");
    let peer = ("servers", json!([{ "agent": AGENT, "url": url }]));
    start_wstest(wstest, "fuzzingclient", &peer, share, folder)
}

/// Starts the suite in one of its modes; `peer` is what is particular to that mode.
fn start_wstest(
    wstest: &Path,
    mode: &str,
    peer: &(&str, Value),
    share: &Share,
    folder: &Path,
) -> anyhow::Result<Running> {
    let specification = folder.join("specification.json");
    let words = json!({
        "outdir": folder.join("reports"),
        peer.0: peer.1,
        "cases": share.cases,
        "exclude-cases": share.excluded,
        "exclude-agent-cases": {},
    });
    fs::write(&specification, words.to_string())?;
    let output = File::create(folder.join("wstest.log"))?;
    let mut command = Command::new(wstest);
    // As a server it would also serve pages, on a port of its own choice.
    command
        .args(["--mode", mode, "--webport", "0", "--spec"])
        .arg(&specification);
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Running::start("wstest", &mut command)
}

/// What the suite wrote of one share.
fn index_of(folder: &Path) -> anyhow::Result<Value> {
    let index = fs::read(folder.join("reports/index.json"));
    let index = index.context("wstest left no index.json")?;
    Ok(serde_json::from_slice(&index)?)
}

/// Takes the verdicts of one share; no case may be in two.
fn merge(verdicts: &mut Map<String, Value>, index: &Value) -> anyhow::Result<()> {
    let cases = index[AGENT].as_object().context("no cases were run")?;
    for (case, report) in cases {
        if verdicts.insert(case.clone(), report.clone()).is_some() {
            bail!("{case} was run twice");
        }
    }
    Ok(())
}

/// Prints every case that is not plainly OK, and wants those we know and no other.
fn compare(cases: &Map<String, Value>, all: usize, not_ok: &[(&str, &str)]) -> anyhow::Result<()> {
    let mut found: BTreeMap<&str, &str> = BTreeMap::new();
    let mut ill_closed = 0;
    for (case, report) in cases {
        let verdict = report["behavior"].as_str().unwrap_or("NONE");
        let close = report["behaviorClose"].as_str().unwrap_or("NONE");
        if verdict != "OK" {
            found.insert(case, verdict);
        }
        if !CLOSED_WELL.contains(&close) {
            ill_closed += 1;
        }
        if verdict != "OK" || close != "OK" {
            println!("  {case:<8} {verdict}, closing {close}");
        }
    }
    let passed = cases.len() - found.len();
    println!("{} cases: {passed} OK, {} not", cases.len(), found.len());
    let known: BTreeMap<&str, &str> = not_ok.iter().copied().collect();
    let changed: Vec<String> = known
        .keys()
        .chain(found.keys())
        .filter(|case| known.get(*case) != found.get(*case))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .map(|case| {
            let verdict = |verdicts: &BTreeMap<&str, &str>| {
                verdicts.get(case).copied().unwrap_or("OK").to_owned()
            };
            format!("{case} is {}, was {}", verdict(&found), verdict(&known))
        })
        .collect();
    if !changed.is_empty() {
        bail!("cases have changed: {}", changed.join("; "));
    }
    if cases.len() != all {
        bail!("expected {all} cases, found {}", cases.len());
    }
    if ill_closed > 0 {
        bail!("{ill_closed} cases were not closed as they should be");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compare(index: &Value) -> anyhow::Result<()> {
        let mut verdicts = Map::new();
        merge(&mut verdicts, index)?;
        super::compare(&verdicts, 2, &[("6.4.1", "NON-STRICT")])
    }

    fn index(first: &str, second: &str, close: &str) -> Value {
        json!({ "tidegate": {
            "1.1.1": { "behavior": first, "behaviorClose": close },
            "6.4.1": { "behavior": second, "behaviorClose": "OK" },
        } })
    }

    #[test]
    fn only_the_known_verdicts_pass() {
        assert!(compare(&index("OK", "NON-STRICT", "OK")).is_ok());
        assert!(compare(&index("OK", "OK", "OK")).is_err());
        assert!(compare(&index("OK", "FAILED", "OK")).is_err());
        assert!(compare(&json!({})).is_err());
    }

    #[test]
    fn the_same_counts_with_other_cases_fail() {
        let error = compare(&index("NON-STRICT", "OK", "OK")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cases have changed: 1.1.1 is NON-STRICT, was OK; 6.4.1 is OK, was NON-STRICT"
        );
    }

    #[test]
    fn the_shares_of_a_run_are_put_together() {
        let report = json!({ "behavior": "OK", "behaviorClose": "OK" });
        let mut verdicts = Map::new();
        merge(&mut verdicts, &json!({ AGENT: { "1.1.1": report } })).unwrap();
        merge(&mut verdicts, &json!({ AGENT: { "1.1.2": report } })).unwrap();
        assert_eq!(verdicts.len(), 2);
        assert!(super::compare(&verdicts, 2, &[]).is_ok());
        assert!(super::compare(&verdicts, 3, &[]).is_err());
        assert!(merge(&mut verdicts, &json!({ AGENT: { "1.1.1": report } })).is_err());
        assert!(merge(&mut verdicts, &json!({})).is_err());
    }

    #[test]
    fn a_connection_closed_uncleanly_fails() {
        assert!(compare(&index("OK", "NON-STRICT", "UNCLEAN")).is_err());
    }
}
