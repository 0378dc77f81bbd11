//! The three processes of a soak: the gateway, the upstreams and the clients.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::Value;

use crate::running::{Running, free_address, with_all_descriptors};
use crate::steps::now;

/// How long a program may take until it listens or answers an order.
const START: Duration = Duration::from_secs(60);

/// What is run.
#[derive(Debug)]
pub(super) struct Binaries {
    pub(super) gateway: PathBuf,
    /// Clients and upstreams in one.
    pub(super) load: PathBuf,
}

/// What a program of the load has said.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The newest of each count.
    pub(super) counts: BTreeMap<String, u64>,
    pub(super) faults: Vec<String>,
    pub(super) kinds: Vec<String>,
    pub(super) events: Vec<String>,
}

/// A program of the load.
#[derive(Debug)]
pub(super) struct Talker {
    running: Running,
    orders: ChildStdin,
    heard: Arc<Mutex<Heard>>,
}

impl Talker {
    fn start(name: &'static str, command: &mut Command) -> anyhow::Result<Self> {
        let (running, orders, words) = Running::start_talking(name, command)?;
        let heard = Arc::new(Mutex::new(Heard::default()));
        let kept = Arc::clone(&heard);
        thread::spawn(move || {
            for line in BufReader::new(words).lines().map_while(Result::ok) {
                hear(&mut lock(&kept), &line);
            }
        });
        Ok(Self {
            running,
            orders,
            heard,
        })
    }

    /// Gives an order; `None` where it is over.
    pub(super) fn order(&mut self, order: &str) -> anyhow::Result<()> {
        self.running.must_run()?;
        writeln!(self.orders, "{order}").with_context(|| format!("nobody takes `{order}`"))
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        lock(&self.heard)
    }

    pub(super) fn count(&self, name: &str) -> u64 {
        self.heard().counts.get(name).copied().unwrap_or(0)
    }

    pub(super) fn must_run(&mut self) -> anyhow::Result<()> {
        self.running.must_run()
    }

    /// Waits until it has said something.
    pub(super) fn wait(&mut self, what: &str, said: impl Fn(&Heard) -> bool) -> anyhow::Result<()> {
        let begun = now();
        while !said(&self.heard()) {
            self.running.must_run()?;
            anyhow::ensure!(begun.elapsed() < START, "no {what} within {START:?}");
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn lock(heard: &Mutex<Heard>) -> MutexGuard<'_, Heard> {
    heard.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hear(heard: &mut Heard, line: &str) {
    let Ok(Value::Object(said)) = serde_json::from_str(line) else {
        // Last words of a program that fails.
        return heard.faults.push(line.to_owned());
    };
    for (name, value) in said {
        match (name.as_str(), value) {
            ("fault", Value::String(words)) => heard.faults.push(words),
            ("kind", Value::String(words)) => heard.kinds.push(words),
            ("event", Value::String(words)) => heard.events.push(words),
            (_, value) => {
                let count = value.as_u64().unwrap_or(0);
                heard.counts.insert(name, count);
            }
        }
    }
}

pub(super) fn start_upstreams(load: &Path) -> anyhow::Result<Talker> {
    let mut command = with_all_descriptors(load);
    let mut upstreams = Talker::start("the upstreams", command.args(["soak", "upstream"]))?;
    upstreams.wait("ports", |heard| heard.counts.contains_key("shaky"))?;
    Ok(upstreams)
}

pub(super) fn start_clients(load: &Path, gateway: SocketAddr) -> anyhow::Result<Talker> {
    let mut command = with_all_descriptors(load);
    command.args(["soak", "client"]).arg(gateway.to_string());
    Talker::start("the clients", &mut command)
}

/// The gateway, where it listens, and where it can be asked.
#[derive(Debug)]
pub(super) struct Gateway {
    pub(super) running: Running,
    pub(super) address: SocketAddr,
    pub(super) admin: SocketAddr,
}

impl Gateway {
    /// Starts it before the ports of `upstreams`.
    pub(super) fn start(binary: &Path, folder: &Path, upstreams: &Talker) -> anyhow::Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let file = folder.join("tidegate.yaml");
        let ports = (upstreams.count("steady"), upstreams.count("shaky"));
        fs::write(&file, config(address, admin, ports))?;
        let log = File::create(folder.join("gateway.log"))?;
        let mut command = with_all_descriptors(binary);
        command
            .args(["run", "--log-level", "warn", "--config"])
            .arg(&file);
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let mut running = Running::start("the gateway", &mut command)?;
        if let Err(error) = running.wait_for_port(address, START) {
            println!("{}", fs::read_to_string(folder.join("gateway.log"))?);
            return Err(error);
        }
        Ok(Self {
            running,
            address,
            admin,
        })
    }
}

/// The defaults of the gateway but for one limit, which short lives go over.
fn config(address: SocketAddr, admin: SocketAddr, (steady, shaky): (u64, u64)) -> String {
    let mut config = format!(
        "version: 1\n\
         workers: 2\n\
         listeners: [{{ name: public, bind: \"{address}\" }}]\n\
         admin: {{ bind: \"{admin}\" }}\n\
         services:\n  \
           steady: {{ endpoints: \"ws://127.0.0.1:{steady}\" }}\n  \
           shaky: {{ endpoints: \"ws://127.0.0.1:{shaky}\" }}\n\
         routes:\n"
    );
    for name in ["steady", "shaky"] {
        config.push_str(&format!(
            "  - name: {name}\n    \
                 match: {{ path: \"/{name}/**\" }}\n    \
                 filters: [{{ strip_prefix: 1 }}]\n    \
                 proxy: {{ service: {name}, websocket: {{ max_message: 128KiB }} }}\n"
        ));
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_faults_and_last_words_are_heard() {
        let mut heard = Heard::default();
        for line in [
            r#"{"idle":7,"ends":3}"#,
            r#"{"idle":8}"#,
            r#"{"fault":"wrong byte"}"#,
            "thread main panicked",
        ] {
            hear(&mut heard, line);
        }
        assert_eq!((heard.counts["idle"], heard.counts["ends"]), (8, 3));
        assert_eq!(heard.faults, ["wrong byte", "thread main panicked"]);
    }
}
