//! The polite end of a gateway, as all its threads see it.
//!
//! It is not ready any more at once, and accepts for a while still, until those who choose a gateway
//! have noticed. Then the acceptor closes the listeners, and the workers finish what is under way and
//! end the sessions, all together at one even pace. What is left at the deadline is cut.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::config::plan::DrainPlan;

/// How often a worker that drains looks after its sessions.
pub(crate) const LOOK: Duration = Duration::from_millis(10);
/// So long before the deadline nothing is waited for any more.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Of a pause without a look, so much counts at once.
const LONGEST_STEP: Duration = Duration::from_millis(20);
/// A pace that has fallen behind goes so much faster, in percent.
const CATCH_UP: u32 = 105;

/// One gateway's drain, begun or not.
#[derive(Debug)]
pub(crate) struct Drain {
    begun: CancellationToken,
    /// Nothing is accepted any more.
    closed: CancellationToken,
    /// What is under way is dropped.
    cut: CancellationToken,
    course: Mutex<Course>,
    /// Wakes the acceptor, so that it sees how long it still accepts.
    acceptor: OnceLock<mio::Waker>,
}

#[derive(Debug)]
struct Course {
    plan: DrainPlan,
    /// Set when it begins.
    accepts_until: Option<Instant>,
    /// Set when the listeners are closed.
    closed: Option<Closed>,
}

#[derive(Debug)]
struct Closed {
    pace: Pace,
    deadline: Instant,
}

impl Drain {
    pub(crate) fn new(plan: DrainPlan) -> Self {
        Self {
            begun: CancellationToken::new(),
            closed: CancellationToken::new(),
            cut: CancellationToken::new(),
            course: Mutex::new(Course {
                plan,
                accepts_until: None,
                closed: None,
            }),
            acceptor: OnceLock::new(),
        }
    }

    /// Whom to wake when it begins.
    pub(crate) fn wakes(&self, acceptor: mio::Waker) {
        // A gateway has one acceptor.
        let _ = self.acceptor.set(acceptor);
    }

    /// Begins it, as the plan has it, unless it has begun.
    pub(crate) fn begin(&self) {
        let mut course = self.lock();
        if course.accepts_until.is_none() {
            course.accepts_until = Some(after(Instant::now(), course.plan.delay));
        }
        drop(course);
        self.has_changed();
    }

    /// Begins it, or goes on with it, without delay and all sessions at once. What is under way has
    /// `timeout`.
    pub(crate) fn hasten(&self, timeout: Duration) {
        let now = Instant::now();
        let mut course = self.lock();
        course.plan = DrainPlan {
            delay: Duration::ZERO,
            spread: Duration::ZERO,
            timeout,
        };
        course.accepts_until = Some(now);
        if let Some(closed) = &mut course.closed {
            closed.pace.window = Duration::ZERO;
            closed.deadline = closed.deadline.min(after(now, timeout));
        }
        drop(course);
        self.has_changed();
    }

    /// Ends everything now.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
        self.hasten(Duration::ZERO);
    }

    fn has_changed(&self) {
        self.begun.cancel();
        if let Some(acceptor) = self.acceptor.get() {
            // It can only fail for want of memory, and then accepts until the process ends.
            let _ = acceptor.wake();
        }
    }

    /// Whether it has begun: no new traffic should come here.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Waits until it has begun.
    pub(crate) fn begun(&self) -> WaitForCancellationFutureOwned {
        self.begun.clone().cancelled_owned()
    }

    /// For how long connections are still accepted.
    pub(crate) fn accepts_for(&self) -> Duration {
        if !self.has_begun() {
            return Duration::MAX;
        }
        let until = self.lock().accepts_until;
        until.map_or(Duration::MAX, |until| {
            until.saturating_duration_since(Instant::now())
        })
    }

    /// The listeners are closed; so many sessions are open.
    pub(crate) fn close(&self, sessions: usize) {
        let now = Instant::now();
        let mut course = self.lock();
        let DrainPlan {
            spread, timeout, ..
        } = course.plan;
        course.closed = Some(Closed {
            pace: Pace::new(sessions, spread, now),
            deadline: after(after(now, spread), timeout),
        });
        drop(course);
        self.closed.cancel();
    }

    /// Whether nothing is accepted any more.
    pub(crate) fn has_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Waits until nothing is accepted any more.
    pub(crate) async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Waits for the order to drop what is under way.
    pub(crate) async fn is_cut(&self) {
        self.cut.cancelled().await;
    }

    /// When what is left is cut; known once the listeners are closed.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.lock().closed.as_ref().map(|closed| closed.deadline)
    }

    /// Within how long the sessions end, and for how long what is left is waited for; known once it has
    /// begun.
    pub(crate) fn rest(&self) -> Option<(Duration, Duration)> {
        let (course, now) = (self.lock(), Instant::now());
        if let Some(closed) = &course.closed {
            let rest = closed.deadline.saturating_duration_since(now);
            return Some((closed.pace.window.min(rest), rest));
        }
        let accepts = course.accepts_until?.saturating_duration_since(now);
        let window = accepts.saturating_add(course.plan.spread);
        Some((window, window.saturating_add(course.plan.timeout)))
    }

    /// How long a goodbye may take.
    pub(crate) fn last_words(&self) -> Duration {
        self.lock().last_words()
    }

    /// Whether there is just time for a goodbye.
    pub(crate) fn is_nearly_late(&self) -> bool {
        let course = self.lock();
        let deadline = course.closed.as_ref().map(|closed| closed.deadline);
        deadline.is_some_and(|deadline| after(Instant::now(), course.last_words()) >= deadline)
    }

    /// Whether what is left now is cut.
    pub(crate) fn is_late(&self) -> bool {
        let deadline = self.deadline();
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }

    /// Whether what was under way has been dropped, or is about to be.
    pub(crate) fn has_cut(&self) -> bool {
        self.cut.is_cancelled() || self.is_late()
    }

    /// Lets `end` end as many sessions as are to be ended now and no worker has ended yet; it says
    /// how many it had. Whether the pace is through, so that whoever is left is to be ended too.
    pub(crate) fn share(&self, end: impl FnOnce(usize) -> usize) -> bool {
        let mut course = self.lock();
        let timeout = course.plan.timeout;
        let Some(Closed { pace, deadline }) = &mut course.closed else {
            return true; // it failed before it accepted anything
        };
        let now = Instant::now();
        let due = pace.due(now);
        if due > 0 {
            pace.ended += end(due);
        }
        // Where the machine cannot keep the pace, goodbyes need half of the time that is left.
        pace.is_through() || after(now, timeout / 2) >= *deadline
    }

    fn lock(&self) -> MutexGuard<'_, Course> {
        self.course.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Course {
    fn last_words(&self) -> Duration {
        (self.plan.timeout / 4).min(LAST_WORDS)
    }
}

/// `time` behind `now`, or so late that nobody will see it.
fn after(now: Instant, time: Duration) -> Instant {
    const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
    now + time.min(FAR)
}

/// Sessions ended one after the other, evenly over a window. After a pause it catches up slowly: a
/// lump is what must not be.
#[derive(Debug)]
struct Pace {
    sessions: usize,
    ended: usize,
    window: Duration,
    began: Instant,
    looked: Instant,
    /// How much of the window has been used.
    used: Duration,
}

impl Pace {
    const fn new(sessions: usize, window: Duration, now: Instant) -> Self {
        Self {
            sessions,
            ended: 0,
            window,
            began: now,
            looked: now,
            used: Duration::ZERO,
        }
    }

    /// How many are to be ended now. The first one waits for nothing.
    fn due(&mut self, now: Instant) -> usize {
        let step = now.saturating_duration_since(self.looked);
        self.looked = self.looked.max(now);
        let used = self.used + step.min(LONGEST_STEP) * CATCH_UP / 100;
        self.used = used.min(now.saturating_duration_since(self.began));
        let by_now = if self.is_through() {
            self.sessions
        } else {
            let (used, window) = (self.used.as_nanos(), self.window.as_nanos());
            let share = self.sessions as u128 * used / window;
            usize::try_from(share).map_or(self.sessions, |share| share + 1)
        };
        by_now.min(self.sessions).saturating_sub(self.ended)
    }

    fn is_through(&self) -> bool {
        self.used >= self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(4);
    const SESSIONS: usize = 1000;

    /// When each session is ended, with a look behind each of `steps` (in ms), over and over.
    fn times(sessions: usize, steps: &[u64]) -> Vec<Duration> {
        let begin = Instant::now();
        let mut pace = Pace::new(sessions, WINDOW, begin);
        let (mut at, mut ended) = (Duration::ZERO, Vec::new());
        for step in steps.iter().cycle() {
            let due = pace.due(begin + at);
            pace.ended += due;
            ended.extend(std::iter::repeat_n(at, due));
            if pace.is_through() {
                break;
            }
            at += Duration::from_millis(*step);
        }
        ended
    }

    /// The most that fall into a quarter of a second.
    fn densest(times: &[Duration]) -> usize {
        let quarter = Duration::from_millis(250);
        let within = |from: &Duration| {
            let later = times.iter().filter(|time| **time >= *from);
            later.filter(|time| **time < *from + quarter).count()
        };
        times.iter().map(within).max().unwrap()
    }

    #[test]
    fn the_pace_is_even_whatever_the_looks() {
        let even = SESSIONS / 16;
        for steps in [
            &[10][..],
            &[3, 7],
            &[20],
            &[1, 1, 1, 90],
            &[10, 10, 10, 700],
        ] {
            let times = times(SESSIONS, steps);
            assert_eq!(times.len(), SESSIONS, "{steps:?}");
            let densest = densest(&times);
            assert!(densest <= even * 6 / 5 + 1, "{densest} after {steps:?}");
        }
    }

    #[test]
    fn who_looks_often_enough_is_through_with_the_window() {
        for steps in [&[10][..], &[20], &[2, 20, 2]] {
            let times = times(SESSIONS, steps);
            let end = times[SESSIONS - 1];
            let is_near = end <= WINDOW + Duration::from_millis(40);
            assert!(is_near && end >= WINDOW * 9 / 10, "{end:?} after {steps:?}");
        }
    }

    #[test]
    fn the_first_one_goes_at_once() {
        assert_eq!(times(1, &[10]), [Duration::ZERO]);
        let two = times(2, &[10]);
        assert_eq!(two, [Duration::ZERO, WINDOW / 2]);
        assert!(times(0, &[10]).is_empty());
    }

    #[test]
    fn two_workers_have_one_pace() {
        let drain = Drain::new(DrainPlan {
            delay: Duration::ZERO,
            spread: Duration::from_secs(1000),
            timeout: Duration::from_secs(10),
        });
        drain.begin();
        drain.close(10);
        let mut given = Vec::new();
        for _worker in 0..2 {
            assert!(!drain.share(|due| {
                given.push(due);
                due
            }));
        }
        assert_eq!(given, [1], "the second finds nothing to do");
    }

    #[test]
    fn times_without_an_end_are_long_ones() {
        let endless = Duration::MAX;
        let drain = Drain::new(DrainPlan {
            delay: endless,
            spread: endless,
            timeout: endless,
        });
        drain.begin();
        assert!(drain.accepts_for() > Duration::from_secs(3600));
        drain.close(1000);
        assert!(!drain.share(|due| due) && !drain.is_late());
    }

    #[test]
    fn haste_overtakes_a_drain_under_way() {
        let drain = Drain::new(DrainPlan::default());
        assert_eq!(drain.accepts_for(), Duration::MAX);
        drain.begin();
        assert!(drain.has_begun() && !drain.has_closed());
        assert!(drain.accepts_for() > Duration::ZERO);
        drain.close(1000);
        let mut told = 0;
        assert!(!drain.share(|due| {
            told += due;
            due
        }));
        drain.hasten(Duration::from_secs(10));
        assert_eq!(drain.accepts_for(), Duration::ZERO);
        assert!(drain.share(|due| {
            told += due;
            due
        }));
        assert_eq!(told, 1000);
        assert!(!drain.is_late());
        drain.cut();
        assert!(drain.is_late());
    }
}
