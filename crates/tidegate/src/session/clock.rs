//! The coarse clock of a worker, and times by it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::handle::NEVER;

/// Seconds since a worker was made, moved once a second.
#[derive(Debug)]
pub(crate) struct Clock {
    begun: Instant,
    now: AtomicU32,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            begun: Instant::now(),
            now: AtomicU32::new(0),
        }
    }
}

impl Clock {
    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }

    /// Sets the time, and tells it.
    pub(crate) fn set(&self, now: u32) {
        self.now.store(now, Ordering::Relaxed);
    }

    /// How long it has run.
    pub(crate) fn age(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The first second that begins at this moment or later.
    pub(crate) fn second_of(&self, moment: Instant) -> u32 {
        whole_seconds(moment.saturating_duration_since(self.begun)).min(NEVER - 1)
    }
}

/// The first second in which `time` has passed since the stamp `since`, whenever in its second that
/// was set.
pub(crate) fn after(since: u32, time: Duration) -> u32 {
    since
        .saturating_add(whole_seconds(time))
        .saturating_add(1)
        .min(NEVER - 1)
}

/// Seconds, rounded up.
pub(crate) fn whole_seconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis().div_ceil(1000)).unwrap_or(NEVER - 2)
}

/// How long before the end of such an age a client is told of it.
pub(crate) fn notice_of_age(max_age: Duration) -> Duration {
    let quarter = u64::from(whole_seconds(max_age / 4));
    Duration::from_secs(quarter.clamp(1, 30))
}

/// When a session that is opened now is too old: sessions that were opened together do not end
/// together.
pub(crate) fn end_of_age(max_age: Option<Duration>, now: u32) -> u32 {
    max_age.map_or(NEVER, |age| {
        let share = fastrand::u32(900..=1000);
        after(now, age.saturating_mul(share) / 1000)
    })
}
