//! The wish to end: Ctrl-C, SIGTERM, or a terminal that is closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Whether there is that wish.
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on none of these ends us by itself.
    pub(super) fn catch() -> anyhow::Result<Self> {
        let stop = Self(Arc::default());
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
