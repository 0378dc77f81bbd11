//! What all mailboxes hold together for clients that are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of pushes that are held for clients that may come back.
#[derive(Debug, Clone, Default)]
pub(in crate::push) struct Held(Arc<AtomicUsize>);

impl Held {
    pub(in crate::push) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// One mailbox's share of it, which is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Charge {
    held: Held,
    bytes: usize,
}

impl Charge {
    pub(super) fn new(held: &Held) -> Self {
        Self {
            held: held.clone(),
            bytes: 0,
        }
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn set(&mut self, bytes: usize) {
        self.held.0.fetch_add(bytes, Ordering::Relaxed);
        self.held.0.fetch_sub(self.bytes, Ordering::Relaxed);
        self.bytes = bytes;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.set(0);
    }
}
