//! The threads of a gateway, and the wait for their end. One that is stuck, in a filter of an embedder
//! perhaps, cannot be ended by anybody; it must not keep the others, or the process, for ever.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::time::Instant;

use crate::drain::Drain;

/// For so long behind the deadline of a drain threads are waited for.
const STUCK: Duration = Duration::from_secs(2);

/// Threads, in the order in which they were started.
#[derive(Debug, Default)]
pub(crate) struct Threads {
    handles: Vec<JoinHandle<()>>,
    alive: Arc<Alive>,
}

/// How many have not ended.
#[derive(Debug, Default)]
struct Alive {
    count: Mutex<usize>,
    one_less: Condvar,
}

/// One of them.
struct Counted(Arc<Alive>);

impl Threads {
    /// Starts one more.
    pub(crate) fn spawn(
        &mut self,
        name: String,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<()> {
        *self.alive.lock() += 1;
        let counted = Counted(Arc::clone(&self.alive));
        let thread = thread::Builder::new().name(name).spawn(move || {
            let _counted = counted;
            run();
        })?;
        self.handles.push(thread);
        Ok(())
    }

    /// Waits until all have ended, or `drain` has been late for a while; the places of those that have
    /// not ended then, and are left to themselves.
    pub(crate) fn join(&mut self, drain: &Drain) -> Vec<usize> {
        let mut count = self.alive.lock();
        while *count > 0 {
            // The one that sets the deadline ends then, so it is seen here.
            let wait = drain.deadline().map_or(Duration::MAX, |deadline| {
                (deadline + STUCK).saturating_duration_since(Instant::now())
            });
            if wait.is_zero() {
                break;
            }
            let waited = self.alive.one_less.wait_timeout(count, wait);
            (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let all = *count == 0;
        drop(count);
        let mut stuck = Vec::new();
        for (place, thread) in self.handles.drain(..).enumerate() {
            if all || thread.is_finished() {
                // One that panicked has nothing left to stop.
                let _ = thread.join();
            } else {
                stuck.push(place);
            }
        }
        stuck
    }
}

impl Alive {
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        *self.0.lock() -= 1;
        self.0.one_less.notify_all();
    }
}
