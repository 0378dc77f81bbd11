//! What a client did wrong lately.

use std::time::Duration;

use tokio::time::Instant;

/// What is counted begins anew after this.
const MINUTE: Duration = Duration::from_secs(60);

/// What its client did wrong.
pub(super) struct Faults {
    pub(super) malformed: PerMinute,
    /// Refused for their rate.
    pub(super) too_fast: PerMinute,
    /// Whether it knows that it is too fast.
    pub(super) has_told_late: bool,
}

impl Faults {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            malformed: PerMinute::new(now),
            too_fast: PerMinute::new(now),
            has_told_late: false,
        }
    }
}

/// How often something happened in a minute.
pub(super) struct PerMinute {
    count: u32,
    since: Instant,
}

impl PerMinute {
    const fn new(now: Instant) -> Self {
        Self {
            count: 0,
            since: now,
        }
    }

    /// Counts once more, and tells whether that is too often.
    pub(super) fn exceeds(&mut self, most: u32) -> bool {
        if self.since.elapsed() > MINUTE {
            *self = Self::new(Instant::now());
        }
        self.count += 1;
        self.count > most
    }
}
