//! A place where lines are left.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError, Weak};

use super::Shared;

/// What may wait at one place. One more line than that is dropped.
const ROOM: usize = 1024 * 1024;
/// So much is written out without further waiting.
const PLENTY: usize = 128 * 1024;
/// A buffer that has grown beyond this is not kept while nothing comes.
const KEPT: usize = 64 * 1024;

/// A place where lines are left, meant for one thread.
#[derive(Debug)]
pub struct Shard {
    /// Whole lines.
    lines: Mutex<Vec<u8>>,
    dropped: AtomicU64,
    log: Weak<Shared>,
}

impl Shard {
    pub(super) const fn new(log: Weak<Shared>) -> Self {
        Self {
            lines: Mutex::new(Vec::new()),
            dropped: AtomicU64::new(0),
            log,
        }
    }

    /// Leaves a line, which `write` puts behind those that are there; it ends with a line feed, and
    /// has no other. Never waits: where there is no room the line is dropped and counted.
    pub fn offer(&self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() >= ROOM {
            drop(lines);
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let before = lines.len();
        write(&mut lines);
        let after = lines.len();
        drop(lines);
        let Some(log) = self.log.upgrade() else {
            return;
        };
        let is_plenty = before < PLENTY && after >= PLENTY;
        if is_plenty {
            log.hurry.store(true, Ordering::SeqCst);
        }
        if is_plenty || log.idle.load(Ordering::SeqCst) {
            log.wake();
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn is_empty(&self) -> bool {
        let lines = self.lines.lock();
        lines.unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Moves what is there behind what `into` has; whether there was anything.
    pub(super) fn take(&self, into: &mut Vec<u8>) -> bool {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            if lines.capacity() > KEPT {
                *lines = Vec::new();
            }
            return false;
        }
        if into.is_empty() {
            mem::swap(&mut *lines, into);
        } else {
            into.append(&mut lines);
        }
        true
    }
}
