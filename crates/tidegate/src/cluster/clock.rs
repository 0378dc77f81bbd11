//! The store's clock, as this node knows it: by it all nodes know which of two sessions was opened first.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// By how many microseconds two clocks may part in one.
const DRIFT: u64 = 10_000;

/// What is known of it.
#[derive(Debug, Default)]
pub(super) struct StoreClock(Option<Sample>);

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// By how much it is ahead of ours, in microseconds.
    ahead: u64,
    /// By how much that may be wrong.
    error: u64,
    /// When it was asked, by ours.
    asked: u64,
}

impl Sample {
    const fn error_at(&self, now: u64) -> u64 {
        self.error + now.saturating_sub(self.asked) / DRIFT
    }
}

impl StoreClock {
    /// It showed `time` at some moment between two of ours, in microseconds. Of what was seen that
    /// counts which is surest.
    pub(super) fn note(&mut self, time: SystemTime, asked: u64, answered: u64) {
        let time = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        let error = answered.saturating_sub(asked) / 2;
        let sample = Sample {
            ahead: time.saturating_sub(asked.saturating_add(error)),
            error,
            asked,
        };
        if self
            .0
            .is_none_or(|before| before.error_at(answered) >= error)
        {
            self.0 = Some(sample);
        }
    }

    /// What it showed at a moment of ours, in microseconds since 1970; `None`: nobody knows yet.
    pub(super) fn at(&self, moment: u64) -> Option<u64> {
        self.0.map(|sample| moment.saturating_add(sample.ahead))
    }

    /// The same.
    pub(super) fn time_at(&self, moment: u64) -> Option<SystemTime> {
        let since = Duration::from_micros(self.at(moment)?);
        UNIX_EPOCH.checked_add(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_sight_counts_until_the_clocks_have_parted() {
        let time = |micros| UNIX_EPOCH + Duration::from_micros(micros);
        let mut clock = StoreClock::default();
        assert_eq!(clock.at(5), None);
        clock.note(time(1_000_500), 0, 1_000);
        assert_eq!(clock.at(5), Some(1_000_005));
        // Slower to answer, so it says less.
        clock.note(time(1_012_000), 10_000, 13_000);
        assert_eq!(clock.at(5), Some(1_000_005));
        clock.note(time(1_020_055), 20_000, 20_100);
        assert_eq!(clock.at(5), Some(1_000_010));
        assert_eq!(clock.time_at(5), Some(time(1_000_010)));
        // An hour later it may be wrong by more than that.
        let later = 3_600_000_000;
        clock.note(time(later + 1_100_500), later, later + 1_000);
        assert_eq!(clock.at(5), Some(1_100_005));
    }
}
