//! How fast a session may say something.

use std::time::Duration;

use tokio::time::Instant;

use crate::config::plan::{BridgeRates, Rate};

/// What a session has said lately, against what it may.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Pace {
    pub(super) fn new(rates: &BridgeRates) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let of_messages = |rate: Rate| Bucket {
            unit: nanos(rate.every) as f64,
            room: nanos(rate.every).saturating_mul(u64::from(rate.burst.saturating_sub(1))),
            until: 0,
        };
        let of_bytes = |per_second: u64| Bucket {
            unit: 1e9 / per_second.max(1) as f64,
            room: 1_000_000_000,
            until: 0,
        };
        Self {
            start: Instant::now(),
            messages: rates.messages.map(of_messages),
            bytes: rates.bytes.map(of_bytes),
        }
    }

    /// How long it is until one more message is within the rates; zero: it is now.
    pub(super) fn due(&self) -> Duration {
        self.due_at(self.now())
    }

    fn due_at(&self, now: u64) -> Duration {
        let buckets = [&self.messages, &self.bytes];
        let nanos = buckets.into_iter().flatten().map(|bucket| bucket.due(now));
        Duration::from_nanos(nanos.max().unwrap_or(0))
    }

    /// Charges a message of `bytes`.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.charge_at(self.now(), bytes);
    }

    fn charge_at(&mut self, now: u64, bytes: usize) {
        if let Some(bucket) = &mut self.messages {
            bucket.charge(now, 1);
        }
        if let Some(bucket) = &mut self.bytes {
            bucket.charge(now, bytes);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// A debt that time pays off. What is said may lead into debt once, so that a message may be larger
/// than what a second brings.
#[derive(Debug)]
struct Bucket {
    /// Nanoseconds that one unit takes.
    unit: f64,
    /// Nanoseconds of debt that do no harm.
    room: u64,
    /// When the debt is paid, in nanoseconds.
    until: u64,
}

impl Bucket {
    const fn due(&self, now: u64) -> u64 {
        self.until.saturating_sub(now.saturating_add(self.room))
    }

    fn charge(&mut self, now: u64, units: usize) {
        let cost = (units as f64 * self.unit) as u64;
        self.until = self.until.max(now).saturating_add(cost);
    }
}

/// What is counted begins anew after this.
const MINUTE: Duration = Duration::from_secs(60);

/// How often something happened in a minute.
pub(super) struct PerMinute {
    count: u32,
    since: Instant,
}

impl PerMinute {
    pub(super) const fn new(now: Instant) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate {
            every: Duration::from_millis(100),
            burst: 5,
        };
        let mut pace = Pace::new(&BridgeRates {
            messages: Some(rate),
            ..BridgeRates::default()
        });
        for now in [0, 100 * SECOND] {
            for _ in 0..5 {
                assert_eq!(pace.due_at(now), Duration::ZERO);
                pace.charge_at(now, 1);
            }
            assert_eq!(pace.due_at(now), Duration::from_millis(100));
            assert_eq!(pace.due_at(now + SECOND / 10), Duration::ZERO);
        }
    }

    #[test]
    fn a_large_message_is_paid_for_afterwards() {
        let mut pace = Pace::new(&BridgeRates {
            bytes: Some(1000),
            ..BridgeRates::default()
        });
        pace.charge_at(0, 5000);
        assert_eq!(pace.due_at(0), Duration::from_secs(4));
    }
}
