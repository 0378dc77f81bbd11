//! How slowly a request's body may come.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The least that a client may send of a body, on average.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MinRate {
    /// Bytes in a second.
    pub(crate) bytes: u64,
    /// How long it may be slower at first.
    pub(crate) grace: Duration,
}

/// The pace of one body. Only the time counts in which somebody waits for its bytes, so a receiver
/// that does not take them costs the client nothing.
#[derive(Debug)]
pub(super) struct Pace {
    least: MinRate,
    received: u64,
    /// How long was waited, without the wait that is on.
    waited: Duration,
    since: Option<Instant>,
    /// Made when the first wait begins; it may ring too early, as bytes only buy time.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Pace {
    pub(super) const fn new(least: MinRate) -> Self {
        Self {
            least,
            received: 0,
            waited: Duration::ZERO,
            since: None,
            timer: None,
        }
    }

    /// Bytes of the body came, or something that holds none.
    pub(super) fn received(&mut self, bytes: usize) {
        self.received = self.received.saturating_add(bytes as u64);
        if let Some(since) = self.since.take() {
            self.waited = self.waited.saturating_add(since.elapsed());
        }
    }

    /// Waits on; ready when the body has become too slow.
    pub(super) fn poll_too_slow(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let since = *self.since.get_or_insert_with(Instant::now);
        loop {
            let late = since + self.allowed().saturating_sub(self.waited);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(sleep_until(late)));
            ready!(timer.as_mut().poll(cx));
            if Instant::now() >= late {
                return Poll::Ready(());
            }
            timer.as_mut().reset(late);
        }
    }

    /// How long may be waited in all, given what came.
    fn allowed(&self) -> Duration {
        /// So long that it never passes, and can be added to any time.
        const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        let earned = self.received.saturating_mul(1000) / self.least.bytes.max(1);
        let earned = Duration::from_millis(earned);
        earned.max(self.least.grace).min(LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_buy_time_behind_the_grace() {
        let second = Duration::from_secs(1);
        for (rate, received, allowed) in [
            (10, 0, 3 * second),
            (10, 30, 3 * second),
            (10, 31, second * 31 / 10),
            (10, 1000, 100 * second),
            (u64::MAX, 1000, 3 * second),
        ] {
            let mut pace = Pace::new(MinRate {
                bytes: rate,
                grace: 3 * second,
            });
            pace.received(received);
            assert_eq!(pace.allowed(), allowed, "{received} at {rate}");
        }
        let mut endless = Pace::new(MinRate {
            bytes: 1,
            grace: second,
        });
        endless.received(usize::MAX);
        assert!(Instant::now().checked_add(endless.allowed()).is_some());
    }
}
