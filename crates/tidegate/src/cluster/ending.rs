//! Sessions that have left, until all that is to be told of it was published: only then the store drops
//! them, so that others tell it where this node dies before.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Ended;

/// The end of one session, shared by all that is still to be done for it.
#[derive(Debug)]
pub(crate) struct Ending {
    ended: Ended,
    /// What is still to be done; the keeper's own part is the first.
    left: AtomicU8,
    ends: Arc<Ends>,
}

/// Those of which all was told, and which the store may drop.
#[derive(Debug, Default)]
pub(super) struct Ends {
    told: Mutex<Vec<Ended>>,
    pub(super) arrived: Notify,
}

impl Ending {
    pub(super) fn new(ended: Ended, ends: &Arc<Ends>) -> Arc<Self> {
        Arc::new(Self {
            ended,
            left: AtomicU8::new(1),
            ends: Arc::clone(ends),
        })
    }

    /// One more thing is to be done; by who has not yet done his own.
    pub(crate) fn begin(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    /// One of them is done.
    pub(crate) fn done(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.ends.lock().push(self.ended.clone());
            self.ends.arrived.notify_one();
        }
    }
}

impl Ends {
    fn lock(&self) -> MutexGuard<'_, Vec<Ended>> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to `most` of them.
    pub(super) fn take(&self, most: usize) -> Vec<Ended> {
        let mut told = self.lock();
        let most = most.min(told.len());
        let rest = told.split_off(most);
        if !rest.is_empty() {
            self.arrived.notify_one();
        }
        std::mem::replace(&mut *told, rest)
    }
}
