//! Which messages of a session are signs of life and nothing more: they do not keep it from being idle.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use crate::session::clock::Clock;
use crate::session::handle::Handle;

/// What code of ours says of its session's messages, where it looks into them. Without it every message
/// counts.
#[derive(Debug, Default)]
pub(crate) struct Life {
    handle: OnceLock<Arc<Handle>>,
    /// What is sent now is a mere sign.
    is_sign: AtomicBool,
}

impl Life {
    /// The session has begun.
    pub(super) fn begin(&self, handle: &Arc<Handle>) {
        let _first = self.handle.set(Arc::clone(handle));
    }

    /// What came was no mere sign.
    pub(crate) fn moved(&self, clock: &Clock) {
        if let Some(handle) = self.handle.get() {
            handle.note_moved(clock.now());
        }
    }

    /// Whether what is sent from now on is a mere sign; at first it is not.
    pub(crate) fn set_sign(&self, is_sign: bool) {
        self.is_sign.store(is_sign, Ordering::Relaxed);
    }

    pub(super) fn is_sign(&self) -> bool {
        self.is_sign.load(Ordering::Relaxed)
    }
}
