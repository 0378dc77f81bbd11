//! Child processes that end with the case which started them.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::time::{DEADLINE, eventually, eventually_within};
use crate::{sockets, tools};

/// How long a process may take for seconds of work of its own.
const LONG: Duration = Duration::from_secs(120);

/// A process, its output so far, and its end together with this value's.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Process {
    /// Starts `command`; what it prints to either output is kept.
    pub fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let output = Arc::new(Mutex::new(String::new()));
        keep(child.stdout.take().unwrap(), Arc::clone(&output));
        keep(child.stderr.take().unwrap(), Arc::clone(&output));
        Self { child, output }
    }

    /// The gateway's binary with `yaml` as its configuration, and its only listener's address.
    pub async fn gateway(binary: &Path, yaml: &str) -> (Self, SocketAddr, Scratch) {
        let scratch = Scratch::new();
        let file = scratch.write("tidegate.yaml", yaml);
        let mut gateway = Self::start(Command::new(binary).arg("run").arg("--config").arg(file));
        let address = gateway.listens().await;
        (gateway, address, scratch)
    }

    /// Waits until it listens somewhere: the address on the IPv4 loopback.
    pub async fn listens(&mut self) -> SocketAddr {
        let pid = self.child.id();
        eventually(&format!("process {pid} listens"), || {
            self.assert_runs();
            !sockets::listening(pid).is_empty()
        })
        .await;
        ([127, 0, 0, 1], sockets::listening(pid)[0]).into()
    }

    /// Waits until it listens at `port`, which takes it seconds of work.
    pub async fn listens_at(&mut self, port: u16) {
        let pid = self.child.id();
        let what = format!("process {pid} listens at {port}");
        eventually_within(LONG, &what, || {
            self.assert_runs();
            sockets::listening(pid).contains(&port)
        })
        .await;
    }

    /// Waits until it says that the listener `name` listens, and where.
    pub async fn address_of(&mut self, name: &str) -> SocketAddr {
        let mut found = None;
        eventually(&format!("the listener {name} is said to listen"), || {
            self.assert_runs();
            found = self.output().lines().find_map(|line| {
                let (_, behind) =
                    line.split_once(&format!("\"listener\":\"{name}\",\"address\":\""))?;
                behind.split('"').next()?.parse().ok()
            });
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Waits for a line that begins with `word`, and returns what follows it.
    pub async fn says(&mut self, word: &str) -> String {
        let mut found = None;
        eventually(&format!("the process says {word:?}"), || {
            found = self.line(word);
            if found.is_none() {
                self.assert_runs();
                found = self.line(word);
            }
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// Waits until it has ended, and returns its status and all that it printed.
    pub async fn ends(&mut self) -> (ExitStatus, String) {
        self.ends_within(DEADLINE).await
    }

    /// As [`Self::ends`], after seconds of work.
    pub async fn ends_late(&mut self) -> (ExitStatus, String) {
        self.ends_within(LONG).await
    }

    async fn ends_within(&mut self, limit: Duration) -> (ExitStatus, String) {
        let mut status = None;
        eventually_within(limit, "the process ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        })
        .await;
        // The readers hold the other references; they end with the pipes.
        eventually("its output is read", || {
            Arc::strong_count(&self.output) == 1
        })
        .await;
        (status.unwrap(), self.output())
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Sends it the signal of this name (`TERM`).
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").arg("-s").arg(name).arg(pid).status();
        assert!(status.unwrap().success());
    }

    /// How many descriptors it holds.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.child.id());
        std::fs::read_dir(folder).unwrap().count()
    }

    /// The lowest number that is free: allowed no more than that, it can open nothing.
    #[must_use]
    pub fn first_free_descriptor(&self) -> usize {
        let file = |number: &usize| format!("/proc/{}/fd/{number}", self.child.id());
        (0..)
            .find(|number| std::fs::symlink_metadata(file(number)).is_err())
            .unwrap()
    }

    /// How much CPU time it has used, in hundredths of a second.
    #[must_use]
    pub fn cpu_ticks(&self) -> u64 {
        let file = format!("/proc/{}/stat", self.child.id());
        let stat = std::fs::read_to_string(file).unwrap();
        let (_, fields) = stat.rsplit_once(") ").unwrap();
        let fields = fields.split_whitespace().skip(11).take(2);
        fields.map(|ticks| ticks.parse::<u64>().unwrap()).sum()
    }

    /// From now on it may have so many descriptors.
    pub fn allow_descriptors(&self, count: usize) {
        let pid = self.child.id().to_string();
        let mut prlimit = Command::new("prlimit");
        prlimit
            .arg("--pid")
            .arg(pid)
            .arg(format!("--nofile={count}:"));
        assert!(prlimit.status().unwrap().success());
    }

    /// Its memory in bytes, of what it shares with others its part (PSS).
    #[must_use]
    pub fn shared_memory(&self) -> usize {
        let file = format!("/proc/{}/smaps_rollup", self.child.id());
        let text = std::fs::read_to_string(file).unwrap();
        let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
        let kib = line.split_whitespace().nth(1).unwrap();
        kib.parse::<usize>().unwrap() * 1024
    }

    /// The most memory that it ever had, in MiB.
    #[must_use]
    pub fn peak_memory(&self) -> u64 {
        let file = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(file).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmHWM:"))
            .unwrap();
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        kib / 1024
    }

    fn line(&self, word: &str) -> Option<String> {
        let output = self.output.lock().unwrap();
        let whole = &output[..output.rfind('\n')?];
        let line = whole.lines().find_map(|line| line.strip_prefix(word))?;
        Some(line.trim().to_owned())
    }

    fn assert_runs(&mut self) {
        if let Some(status) = self.child.try_wait().unwrap() {
            panic!("the process ended with {status}: {}", self.output());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A folder of a case's own, which goes with it.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// A new folder.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Self {
        let name = format!("tidegate-{}-{:x}", std::process::id(), fastrand::u64(..));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// Writes a file into it.
    #[must_use]
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// The script `name` of `tests/tools` under `node`, with `arguments`.
#[must_use]
pub fn node(folder: &Path, name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(tools::script(name)).args(arguments);
    command.env("TIDEGATE_NODE_TOOLS", folder);
    command
}

/// A port of the loopback for a program that cannot take 0: below the range from which the system
/// gives, so that nobody else gets it by chance, and given once only.
#[must_use]
pub fn spare_port() -> u16 {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    loop {
        let port = fastrand::u16(20_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() && GIVEN.lock().unwrap().insert(port) {
            return port;
        }
    }
}

fn keep(pipe: impl std::io::Read + Send + 'static, output: Arc<Mutex<String>>) {
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
            output
                .lock()
                .unwrap()
                .push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
        reader.read_to_end(&mut line).ok();
    });
}
