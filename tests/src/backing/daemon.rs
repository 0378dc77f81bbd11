//! A process that is ended, killed, paused and started anew, and ends with the one that runs the tests.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use crate::time::eventually_within;

/// How long one may take to start: seconds of work on a quiet machine.
const LONG: Duration = Duration::from_secs(120);

/// How often it is asked whether it is ready.
const ASKED_EVERY: Duration = Duration::from_millis(20);

/// A daemon, and how it is started.
pub struct Daemon {
    name: &'static str,
    log: PathBuf,
    command: Box<dyn Fn() -> Command + Send + Sync>,
    child: Mutex<Option<Child>>,
}

impl std::fmt::Debug for Daemon {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Daemon").field("log", &self.log).finish()
    }
}

impl Daemon {
    /// Starts what `command` makes; what it says goes to `<name>.log` in `folder`.
    pub fn start(
        name: &'static str,
        folder: &Path,
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        let daemon = Self {
            name,
            log: folder.join(format!("{name}.log")),
            command: Box::new(command),
            child: Mutex::new(None),
        };
        daemon.launch();
        daemon
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts it again; it must have ended.
    pub fn launch(&self) {
        let mut child = self.child();
        assert!(child.is_none(), "{} runs already", self.name);
        let asked = (self.command)();
        // The kernel ends it with the thread that started it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]);
        command.arg(asked.get_program()).args(asked.get_args());
        command.envs(
            asked
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        if let Some(folder) = asked.get_current_dir() {
            command.current_dir(folder);
        }
        let log = File::create(&self.log).unwrap();
        command.stdin(Stdio::null());
        command.stderr(log.try_clone().unwrap()).stdout(log);
        let started = spawn(command);
        *child =
            Some(started.unwrap_or_else(|error| panic!("cannot start {}: {error}", self.name)));
    }

    /// Waits until `is_ready`; what it said where it ends before.
    pub async fn ready(&self, mut is_ready: impl AsyncFnMut() -> bool) -> Result<(), String> {
        let begun = Instant::now();
        while !is_ready().await {
            if let Some(status) = self.ended() {
                return Err(format!(
                    "{} ended with {status}:\n{}",
                    self.name,
                    self.said()
                ));
            }
            let words = || format!("{} is not ready:\n{}", self.name, self.said());
            assert!(begun.elapsed() < LONG, "{}", words());
            tokio::time::sleep(ASKED_EVERY).await;
        }
        Ok(())
    }

    /// What it has said since it was started last, or the end of it.
    #[must_use]
    pub fn said(&self) -> String {
        const MOST: usize = 8_000;
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = &text[text.len().saturating_sub(MOST)..];
        String::from_utf8_lossy(text).into_owned()
    }

    /// Whether its log has `words`.
    #[must_use]
    pub fn has_said(&self, words: &str) -> bool {
        std::fs::read_to_string(&self.log).is_ok_and(|text| text.contains(words))
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub async fn stop(&self) {
        self.signal("TERM");
        self.is_gone().await;
    }

    /// Kills it (SIGKILL), and waits until it has ended.
    pub async fn kill(&self) {
        self.signal("KILL");
        self.is_gone().await;
    }

    /// Holds it (SIGSTOP), and waits until none of its threads runs: its sockets stay open and say nothing.
    ///
    /// # Panics
    /// When it does not stop within ten seconds.
    pub fn pause(&self) {
        self.signal("STOP");
        let begun = Instant::now();
        while !self.is_held() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it runs on");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_held(&self) -> bool {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.id()));
        threads.unwrap().flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat"));
            // The state stands behind the name, which may have anything in it; a thread may have ended.
            stat.is_ok_and(|stat| {
                stat.rsplit_once(") ")
                    .is_some_and(|(_, rest)| rest.starts_with('T'))
            })
        })
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Its number.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().as_ref().unwrap().id()
    }

    fn signal(&self, name: &str) {
        let pid = self.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(status.unwrap().success());
    }

    async fn is_gone(&self) {
        let what = format!("{} ends", self.name);
        eventually_within(LONG, &what, || self.ended().is_some()).await;
        *self.child() = None;
    }

    fn ended(&self) -> Option<ExitStatus> {
        self.child().as_mut()?.try_wait().unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = self.child().as_mut() {
            child.kill().ok();
            child.wait().ok();
        }
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}", self.name, self.said());
        }
    }
}

/// Starts it again and again: between choosing a port and listening there, somebody else may take it.
pub(super) async fn insist<T>(mut start: impl AsyncFnMut() -> Result<T, String>) -> T {
    let mut tries = 0;
    loop {
        match start().await {
            Ok(started) => return started,
            Err(words) if tries < 3 && words.contains("ddress already in use") => tries += 1,
            Err(words) => panic!("{words}"),
        }
    }
}

type Started = io::Result<Child>;

/// Starts a process from a thread that lasts as long as this process. Those of cases do not.
fn spawn(command: Command) -> Started {
    type Order = (Command, mpsc::Sender<Started>);
    static SPAWNER: LazyLock<Mutex<mpsc::Sender<Order>>> = LazyLock::new(|| {
        let (orders, incoming) = mpsc::channel::<Order>();
        std::thread::spawn(move || {
            for (mut command, answer) in incoming {
                answer.send(command.spawn()).ok();
            }
        });
        Mutex::new(orders)
    });
    let (answer, answered) = mpsc::channel();
    let orders = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner);
    orders.send((command, answer)).unwrap();
    answered.recv().unwrap()
}
