//! How long a session may go on by the token that it was opened with.
//!
//! When a token ends is judged by the clock on the wall, which may be set. What is waited for is the
//! steady clock: a wall clock that is set ahead ends nobody before the time that the token had left when
//! it was shown. When that time has come and the wall clock says that there is more, because it was set
//! back, the session goes on for as much as that says, but for no more than an hour in all; meanwhile the
//! wall clock is asked once a second, for it may be set right again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::clock::{Clock, whole_seconds};
use super::handle::NEVER;

/// The most that a wall clock that was set back adds to a session's time.
pub(crate) const MOST_MORE: Duration = Duration::from_secs(60 * 60);

const SECOND: Duration = Duration::from_secs(1);

/// What is left of a token's time when its timer has come; `None`: nothing.
fn left(expires: SystemTime, wall: SystemTime) -> Option<Duration> {
    let left = expires.duration_since(wall).ok()?;
    (!left.is_zero()).then_some(left)
}

/// When a token ends, by the clock of a session's worker.
#[derive(Debug)]
pub(crate) struct Expiry {
    /// When it is looked at next.
    due: AtomicU32,
    /// When it is over whatever the wall clock says.
    last: AtomicU32,
}

impl Expiry {
    /// There is no end.
    pub(super) const fn never() -> Self {
        Self {
            due: AtomicU32::new(NEVER),
            last: AtomicU32::new(NEVER),
        }
    }

    /// The token ends at `expires`, and it is `wall` now; it is looked at `grace` seconds later.
    pub(super) fn set(
        &self,
        expires: Option<SystemTime>,
        wall: SystemTime,
        clock: &Clock,
        grace: u32,
    ) {
        let Some(expires) = expires else {
            self.last.store(NEVER, Ordering::Relaxed);
            self.due.store(NEVER, Ordering::Relaxed);
            return;
        };
        let left = left(expires, wall).unwrap_or_default();
        let due = Instant::now().checked_add(left);
        let due = due.map_or(NEVER - 1, |due| clock.second_of(due).saturating_add(grace));
        let last = due.saturating_add(whole_seconds(MOST_MORE));
        self.last.store(last.min(NEVER - 1), Ordering::Relaxed);
        self.due.store(due, Ordering::Relaxed);
    }

    /// Whether it is to be looked at.
    pub(super) fn is_due(&self, now: u32) -> bool {
        now >= self.due.load(Ordering::Relaxed)
    }

    /// Nobody wants to know any more.
    pub(super) fn clear(&self) {
        self.due.store(NEVER, Ordering::Relaxed);
    }

    /// Whether it is over, now that it is due. Where it is not, it is due later.
    pub(super) fn judge(&self, expires: Option<SystemTime>, now: u32, wall: SystemTime) -> bool {
        let last = self.last.load(Ordering::Relaxed);
        let left = expires.and_then(|expires| left(expires, wall));
        match left.filter(|_| now < last) {
            Some(_) => {
                self.due.store(now.saturating_add(1), Ordering::Relaxed);
                false
            }
            None => true,
        }
    }
}

/// When a token ends, to the millisecond: for who waits for it by a timer of its own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lifetime {
    expires: SystemTime,
    due: Instant,
    last: Instant,
}

impl Lifetime {
    /// What begins now, of a token that ends at `expires`.
    pub(crate) fn begin(expires: SystemTime, now: Instant, wall: SystemTime) -> Self {
        let left = left(expires, wall).unwrap_or_default();
        // Times of tokens end before those of clocks do.
        let due = now.checked_add(left).unwrap_or(now);
        let last = due.checked_add(MOST_MORE).unwrap_or(due);
        Self { expires, due, last }
    }

    /// When it is to be looked at.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// Whether it is over by then. Where it should be and is not, it is due later.
    pub(crate) fn is_over(&mut self, now: Instant, wall: impl FnOnce() -> SystemTime) -> bool {
        if now < self.due {
            return false;
        }
        let left = left(self.expires, wall());
        match left.filter(|_| now < self.last) {
            Some(_) => {
                self.due = now + SECOND;
                false
            }
            None => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    /// After how many seconds a token that had 600 left is over, with the wall clock set by so much
    /// right after it was shown.
    fn over_after(set: i64) -> [u64; 2] {
        let (clock, wall, begun) = (Clock::default(), SystemTime::now(), Instant::now());
        let expires = wall + Duration::from_secs(600);
        let expiry = Expiry::never();
        expiry.set(Some(expires), wall, &clock, 0);
        let mut lifetime = Lifetime::begin(expires, begun, wall);
        let jump = Duration::from_secs(set.unsigned_abs());
        let wall_at = |second: u64| {
            let then = wall + Duration::from_secs(second);
            if set < 0 { then - jump } else { then + jump }
        };
        let mut over = [None; 2];
        for second in 0..10_000 {
            let now = u32::try_from(second).unwrap();
            if over[0].is_none()
                && expiry.is_due(now)
                && expiry.judge(Some(expires), now, wall_at(second))
            {
                over[0] = Some(second);
            }
            let now = begun + Duration::from_secs(second);
            if over[1].is_none() && lifetime.is_over(now, || wall_at(second)) {
                over[1] = Some(second);
            }
        }
        over.map(Option::unwrap)
    }

    #[test]
    fn clocks_that_are_set_end_nobody_early_and_keep_nobody_for_ever() {
        for (set, expected) in [
            (0, 600),
            (3600, 600),
            (1_000_000, 600),
            (-60, 660),
            (-3600, 600 + 3600),
            (-1_000_000, 600 + 3600),
        ] {
            for over in over_after(set) {
                assert!((expected..=expected + 2).contains(&over), "{set}: {over}");
            }
        }
    }

    #[test]
    fn what_never_ends_is_never_due() {
        let (clock, expiry) = (Clock::default(), Expiry::never());
        assert!(!expiry.is_due(NEVER - 1));
        let wall = SystemTime::now();
        expiry.set(Some(wall + HOUR), wall, &clock, 0);
        expiry.set(None, wall, &clock, 0);
        assert!(!expiry.is_due(NEVER - 1));
        // One that is over already, and one that ends when no clock counts any more.
        expiry.set(Some(wall - HOUR), wall, &clock, 0);
        assert!(expiry.is_due(1) && expiry.judge(Some(wall - HOUR), 1, wall));
        let far = wall + HOUR * 24 * 365 * 5000;
        expiry.set(Some(far), wall, &clock, 0);
        assert!(!expiry.is_due(1_000_000_000));
    }
}
