//! The thread that writes a log out.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use std::{io, thread};

use tokio::time::Instant;

use super::target::Output;
use super::{Shared, Target};

/// How long a target that failed is left alone.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one that takes nothing is, at first and at most.
const SHORT: Duration = Duration::from_millis(1);
const LONG: Duration = Duration::from_millis(100);
/// Losing is over when nothing was lost for so long.
const CALM: Duration = Duration::from_secs(3);
/// How long what is queued may take at the end. Whoever waits for it waits a little longer.
const LAST_WORDS: Duration = Duration::from_millis(1500);

pub(super) struct Writer {
    shared: Arc<Shared>,
    target: Target,
    output: Output,
    gather: Duration,
    trouble: Trouble,
    /// Set when the log is closed.
    deadline: Option<Instant>,
}

/// What the application log is told of a log that loses lines.
#[derive(Default)]
struct Trouble {
    /// It was told that it began.
    told: bool,
    /// Why a write failed, until one succeeds.
    error: Option<io::Error>,
    /// It takes nothing just now.
    is_stuck: bool,
    /// Lines dropped as of the last look, and when it began.
    seen: u64,
    before: u64,
    /// When one was dropped last.
    last: Option<Instant>,
}

impl Writer {
    pub(super) fn new(
        shared: Arc<Shared>,
        target: Target,
        output: Output,
        gather: Duration,
    ) -> Self {
        Self {
            shared,
            target,
            output,
            gather,
            trouble: Trouble::default(),
            deadline: None,
        }
    }

    pub(super) fn run(mut self) {
        let mut batch = Vec::new();
        loop {
            self.look();
            if self.take(&mut batch) {
                self.put(&batch);
                batch.clear();
                self.sleep(self.gather);
                continue;
            }
            if self.deadline.is_some() {
                return;
            }
            batch = Vec::new();
            self.idle();
        }
    }

    fn take(&self, batch: &mut Vec<u8>) -> bool {
        self.shared.hurry.store(false, Ordering::SeqCst);
        for shard in &self.shared.shards {
            shard.take(batch);
        }
        !batch.is_empty()
    }

    /// Sleeps until there is something to do.
    fn idle(&mut self) {
        let shared = Arc::clone(&self.shared);
        shared.idle.store(true, Ordering::SeqCst);
        // Whoever leaves a line from here on sees that and wakes this thread.
        let is_empty = || shared.shards.iter().all(|shard| shard.is_empty());
        while shared.idle.load(Ordering::SeqCst) && is_empty() && !self.is_called() {
            if self.trouble.told {
                thread::park_timeout(CALM);
                self.look();
            } else {
                thread::park();
            }
        }
        shared.idle.store(false, Ordering::SeqCst);
        self.sleep(self.gather);
    }

    fn is_called(&self) -> bool {
        let shared = &self.shared;
        shared.closing.load(Ordering::SeqCst) || shared.reopen.load(Ordering::SeqCst)
    }

    /// Sleeps for so long, unless there is a reason not to.
    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let in_hurry = self.shared.hurry.load(Ordering::SeqCst);
            if left.is_zero() || in_hurry || self.deadline.is_some() || self.is_called() {
                return;
            }
            thread::park_timeout(left);
        }
    }

    /// Looks after what it was told, and after what was lost.
    fn look(&mut self) {
        if self.shared.closing.load(Ordering::SeqCst) && self.deadline.is_none() {
            self.deadline = Some(Instant::now() + LAST_WORDS);
        }
        if self.shared.reopen.swap(false, Ordering::SeqCst) {
            self.reopen();
        }
        self.trouble.look(self.shared.name, self.shared.dropped());
    }

    fn reopen(&mut self) {
        let log = self.shared.name;
        match self.target.open() {
            Ok(output) => {
                self.output = output;
                tracing::info!(log, "log reopened");
            }
            Err(error) => tracing::error!(log, %error, "log not reopened; the old file goes on"),
        }
    }

    /// Writes these lines, however long it takes, or until the log is closed.
    fn put(&mut self, lines: &[u8]) {
        let lock = self.target.lock();
        let _alone = lock.map(|lock| lock.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut at, mut patience) = (0, SHORT);
        while at < lines.len() {
            match self.output.write(&lines[at..]) {
                Ok(written) => {
                    let whole = memchr::memchr_iter(b'\n', &lines[at..at + written]).count();
                    self.shared
                        .written
                        .fetch_add(whole as u64, Ordering::Relaxed);
                    at += written;
                    patience = SHORT;
                    self.trouble.error = None;
                    self.trouble.is_stuck = false;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.trouble.is_stuck = true;
                    thread::park_timeout(patience);
                    patience = (patience * 2).min(LONG);
                }
                Err(error) => {
                    self.trouble.error = Some(error);
                    self.trouble.look(self.shared.name, self.shared.dropped());
                    thread::park_timeout(if self.deadline.is_some() { LONG } else { PAUSE });
                }
            }
            if self.shared.reopen.load(Ordering::SeqCst) && at > 0 && lines[at - 1] != b'\n' {
                // Half a line stays behind in the old file; the new one begins with a whole one.
                let rest = memchr::memchr(b'\n', &lines[at..]);
                at = rest.map_or(lines.len(), |end| at + end + 1);
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
            self.look();
            if self.deadline.is_some_and(|end| Instant::now() >= end) {
                let left = memchr::memchr_iter(b'\n', &lines[at..]).count();
                self.shared.lost.fetch_add(left as u64, Ordering::Relaxed);
                return;
            }
        }
    }
}

impl Trouble {
    /// Tells once when losing begins, and once when it is over.
    fn look(&mut self, log: &str, dropped: u64) {
        if dropped != self.seen {
            self.seen = dropped;
            self.last = Some(Instant::now());
        }
        let is_calm = self.last.is_none_or(|last| last.elapsed() >= CALM);
        if !self.told && (self.error.is_some() || !is_calm) {
            self.told = true;
            match &self.error {
                Some(error) => tracing::warn!(log, %error, "log cannot be written"),
                None => tracing::warn!(log, "log is not taken fast enough; lines are dropped"),
            }
        } else if self.told && self.error.is_none() && !self.is_stuck && is_calm {
            self.told = false;
            let count = self.seen.wrapping_sub(self.before);
            self.before = self.seen;
            tracing::warn!(log, dropped = count, "log is written again");
        }
    }
}
