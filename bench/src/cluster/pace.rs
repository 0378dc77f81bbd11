//! A rate that is kept whatever becomes of what was sent, and what came of it.

use std::thread;
use std::time::{Duration, Instant};

use super::{now, words};

/// 200 a second.
const PERIOD: Duration = Duration::from_millis(5);
/// Time for the threads to be there.
const LEAD: Duration = Duration::from_millis(50);

/// Sends numbers from 0 on, each when it is due, and tells when that was. Within its period each is due at a
/// random moment, so that nothing with a period of its own is met at the same moment of it each time.
///
/// Where one takes longer than it should, others of `senders` send meanwhile, and what is late counts from when
/// it was due.
pub(super) fn paced(
    count: usize,
    senders: usize,
    send: impl Fn(usize) -> Result<(), String> + Sync,
) -> Result<Vec<Instant>, String> {
    let begun = now() + LEAD;
    let due = (0..count).map(|number| begun + PERIOD.mul_f64(number as f64 + fastrand::f64()));
    let due: Vec<Instant> = due.collect();
    let (moments, send) = (&due, &send);
    let sends = |first: usize| {
        for (number, due) in moments.iter().enumerate().skip(first).step_by(senders) {
            thread::sleep(due.saturating_duration_since(now()));
            send(number)?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..senders)
            .map(|first| scope.spawn(move || sends(first)))
            .collect();
        let ends = threads.into_iter().map(thread::ScopedJoinHandle::join);
        let mut ends = ends.map(|end| end.unwrap_or_else(|_panic| Err(words("a panic"))));
        ends.try_for_each(|end| end)
    })?;
    Ok(due)
}

/// What half of them, and all but one in a hundred, did not exceed.
pub(super) fn quantiles(due: &[Instant], came: &[Instant]) -> [Duration; 2] {
    let times = due.iter().zip(came);
    let mut times: Vec<Duration> = times
        .map(|(due, came)| came.saturating_duration_since(*due))
        .collect();
    times.sort_unstable();
    [0.5, 0.99].map(|part| {
        let place = (times.len() as f64 * part).ceil() as usize;
        times
            .get(place.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn each_is_sent_when_it_is_due_and_no_earlier() {
        let sent = Mutex::new(Vec::new());
        let note = |number| {
            sent.lock().unwrap().push((number, now()));
            Ok(())
        };
        let due = paced(20, 3, note).unwrap();
        let mut sent = sent.into_inner().unwrap();
        sent.sort_unstable();
        assert!(due.is_sorted());
        assert_eq!(sent.len(), due.len());
        for (expected, (number, at)) in sent.iter().enumerate() {
            assert_eq!(*number, expected);
            assert!(*at >= due[expected], "number {number} came early");
        }
        assert_eq!(paced(3, 1, |_| Err(words("no"))), Err(words("no")));
    }

    #[test]
    fn what_waited_counts_from_when_it_was_due() {
        let begun = now();
        let due: Vec<_> = (0..100).map(|_| begun).collect();
        let came = (1..=100).map(|number| begun + Duration::from_millis(number));
        let told = quantiles(&due, &came.collect::<Vec<_>>());
        assert_eq!(told, [50, 99].map(Duration::from_millis));
    }
}
