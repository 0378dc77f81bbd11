//! Lines on their way out of the process. Whoever has a line leaves it in memory and goes on; one
//! thread for each log writes them out. What it cannot write in time is dropped, whole lines of it,
//! and counted: a log that is stuck keeps nobody waiting.

mod shard;
mod target;
mod writer;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::thread::{self, Thread};
use std::time::Duration;

pub use self::shard::Shard;
pub use self::target::Target;
use self::writer::Writer;

/// How long [`Sink::close`] waits for what is queued.
pub const CLOSE_PATIENCE: Duration = Duration::from_secs(2);

/// A log: where its lines are left, and the thread that writes them out. Dropped, it is closed.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    /// Says nothing, and ends with the thread.
    ended: Mutex<mpsc::Receiver<()>>,
}

/// How many lines a log has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lines {
    /// Written out.
    pub written: u64,
    /// Dropped, because they could not be written out in time.
    pub dropped: u64,
}

/// What those who leave lines share with the thread.
#[derive(Debug)]
struct Shared {
    /// What the log is called where others tell of it.
    name: &'static str,
    shards: Box<[Arc<Shard>]>,
    thread: OnceLock<Thread>,
    /// The thread sleeps until it is woken.
    idle: AtomicBool,
    /// A shard is filling up.
    hurry: AtomicBool,
    reopen: AtomicBool,
    closing: AtomicBool,
    written: AtomicU64,
    /// Dropped by the thread itself.
    lost: AtomicU64,
}

impl Sink {
    /// Opens `target` and starts the thread. `name` is what messages and metrics call the log;
    /// `shards`, how many places there are to leave lines at, each with room for 1 MiB; `gather`, for
    /// how long lines are gathered before they are written.
    ///
    /// # Errors
    /// When the target cannot be opened or there can be no thread.
    pub fn start(
        name: &'static str,
        target: Target,
        shards: usize,
        gather: Duration,
    ) -> io::Result<Self> {
        let output = target.open()?;
        let shared = Arc::new_cyclic(|shared| Shared {
            name,
            shards: (0..shards.max(1))
                .map(|_| Arc::new(Shard::new(shared.clone())))
                .collect(),
            thread: OnceLock::new(),
            idle: AtomicBool::new(false),
            hurry: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            written: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        });
        let (alive, ended) = mpsc::channel();
        let writer = Writer::new(Arc::clone(&shared), target, output, gather);
        let thread = thread::Builder::new().name(format!("log-{name}"));
        let thread = thread.spawn(move || {
            writer.run();
            drop::<mpsc::Sender<()>>(alive);
        })?;
        let _first = shared.thread.set(thread.thread().clone());
        shared.wake();
        Ok(Self {
            shared,
            ended: Mutex::new(ended),
        })
    }

    /// The place to leave lines at with this number. Threads with places of their own do not wait for
    /// each other.
    #[must_use]
    pub fn shard(&self, number: usize) -> Arc<Shard> {
        let shards = &self.shared.shards;
        Arc::clone(&shards[number % shards.len()])
    }

    /// What reopens it and tells how many lines it has had, even after it was closed.
    #[must_use]
    pub fn control(&self) -> Control {
        Control(Arc::clone(&self.shared))
    }

    /// Writes out what was left so far, for at most `patience`; whether that was enough. What is left
    /// there later may not be written.
    pub fn close(&self, patience: Duration) -> bool {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.wake();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = ended.recv_timeout(patience);
        !matches!(ended, Err(mpsc::RecvTimeoutError::Timeout))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        if !self.shared.closing.load(Ordering::SeqCst) {
            self.close(CLOSE_PATIENCE);
        }
    }
}

/// What reopens a log and counts its lines.
#[derive(Debug, Clone)]
pub struct Control(Arc<Shared>);

impl Control {
    /// Opens the file anew by its name, behind what was left so far: the one that was there may have
    /// been renamed. Where that fails the old one stays, and the application log says so.
    pub fn reopen(&self) {
        self.0.reopen.store(true, Ordering::SeqCst);
        self.0.wake();
    }

    /// How many lines there were so far. Those that are queued are not among them yet.
    #[must_use]
    pub fn lines(&self) -> Lines {
        Lines {
            written: self.0.written.load(Ordering::Relaxed),
            dropped: self.0.dropped(),
        }
    }

    /// What the log is called.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.0.name
    }
}

impl Shared {
    fn wake(&self) {
        self.idle.store(false, Ordering::SeqCst);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn dropped(&self) -> u64 {
        let at_shards = self.shards.iter().map(|shard| shard.dropped());
        let lost = self.lost.load(Ordering::Relaxed);
        at_shards.fold(lost, u64::wrapping_add)
    }
}
