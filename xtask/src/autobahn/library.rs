//! The Autobahn suite against `tidegate-ws` itself, both roles: its fuzzing client against our echo
//! server, and its fuzzing server against our client.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use super::{
    AGENT, START, Selection, Share, compare, drive, fresh_folder, index_of, merge, start_wstest,
};
use crate::run::{Done, Run};
use crate::running::{Running, free_address};
use crate::steps::now;
use crate::{services, shell};

/// What is not plainly OK, of either role: the suite only reports what it saw. It is a close behind a
/// large message, and two close codes that RFC 6455 leaves open.
const NOT_OK: &[(&str, &str)] = &[
    ("7.1.6", "INFORMATIONAL"),
    ("7.13.1", "INFORMATIONAL"),
    ("7.13.2", "INFORMATIONAL"),
];

pub(crate) fn judge(run: &Run) -> anyhow::Result<Done> {
    let wstest = match services::autobahn(run) {
        Ok(wstest) => wstest,
        Err(error) => return run.skip("autobahn-ws", &format!("{error:#}")),
    };
    let example = ["--example", "autobahn", "--features", "client"];
    let build = ["build", "--locked", "--package", "tidegate-ws"];
    shell::run(run.cargo(&build).args(example))?;
    let program = run.target.join("debug/examples/autobahn");
    let folder = fresh_folder(run, "autobahn-ws")?;
    let selection = Selection::of(run);

    println!("our server:");
    let verdicts = judge_server(&program, &wstest, selection, &folder.join("server"))?;
    compare(&verdicts, selection.cases, NOT_OK)?;
    println!("our client:");
    let verdicts = judge_client(&program, &wstest, selection, &folder.join("client"))?;
    compare(&verdicts, selection.cases, NOT_OK)?;
    Ok(Done::Passed)
}

fn judge_server(
    program: &Path,
    wstest: &Path,
    selection: &Selection,
    folder: &Path,
) -> anyhow::Result<Map<String, Value>> {
    let mut command = Command::new(program);
    let (_server, greeting) = Running::start_greeting("our server", command.arg("server"))?;
    let greeting: Value = serde_json::from_str(&greeting)?;
    let port = greeting["port"].as_u64().context("it names no port")?;
    let judged = format!("127.0.0.1:{port}").parse()?;
    drive(wstest, judged, selection, folder)
}

/// Runs a fuzzing server and our client for each share, all at one time, and gives their verdicts by
/// case.
fn judge_client(
    program: &Path,
    wstest: &Path,
    selection: &Selection,
    folder: &Path,
) -> anyhow::Result<Map<String, Value>> {
    let begun = now();
    let mut pairs = Vec::new();
    for (number, share) in selection.shares.iter().enumerate() {
        let folder = folder.join(format!("share-{number}"));
        fs::create_dir_all(&folder)?;
        pairs.push(Pair::start(program, wstest, share, folder)?);
    }
    let mut verdicts = Map::new();
    for mut pair in pairs {
        let left = selection.limit.saturating_sub(begun.elapsed());
        let status = pair.client.wait_for_end(left)?;
        if !status.success() {
            let log = fs::read_to_string(pair.folder.join("client.log"))?;
            bail!("our client ended with {status}: {log}");
        }
        merge(&mut verdicts, &index_of(&pair.folder)?)?;
    }
    println!("all after {:.0} s", begun.elapsed().as_secs_f64());
    Ok(verdicts)
}

/// A fuzzing server with our client.
struct Pair {
    folder: PathBuf,
    client: Running,
    _server: Running,
}

impl Pair {
    fn start(
        program: &Path,
        wstest: &Path,
        share: &Share,
        folder: PathBuf,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let url = format!("ws://{address}");
        println!("cases of {url}; talk in {}", folder.display());
        let peer = ("url", Value::from(url.as_str()));
        let mut server = start_wstest(wstest, "fuzzingserver", &peer, share, &folder)?;
        server.wait_for_port(address, START)?;
        let log = File::create(folder.join("client.log"))?;
        let mut command = Command::new(program);
        command.args(["client", &url, AGENT]);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let client = Running::start("our client", &mut command)?;
        Ok(Self {
            folder,
            client,
            _server: server,
        })
    }
}
