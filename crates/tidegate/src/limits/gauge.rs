//! How much of one thing is in use, and how much may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The last share, one in so many, is for clients that have few.
const CONTESTED: usize = 16;

/// Counts what is in use, up to a bound.
#[derive(Debug)]
pub(crate) struct Gauge {
    used: AtomicUsize,
    most: usize,
}

/// One of what a gauge counts.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Gauge>);

impl Gauge {
    /// One where there is a bound.
    pub(crate) fn up_to(most: Option<usize>) -> Option<Arc<Self>> {
        most.map(|most| Arc::new(Self::new(most)))
    }

    pub(crate) const fn new(most: usize) -> Self {
        let used = AtomicUsize::new(0);
        Self { used, most }
    }

    /// Takes one, unless all are in use.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Taken> {
        let more = |used| (used < self.most).then_some(used + 1);
        let taken = self
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.ok().map(|_before| Taken(Arc::clone(self)))
    }

    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether no more than the last share is left. Of few there is no such share.
    pub(super) fn is_contested(&self) -> bool {
        let share = self.most / CONTESTED;
        share > 0 && self.most.saturating_sub(self.used()) <= share
    }

    pub(crate) const fn most(&self) -> usize {
        self.most
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_there_are_and_each_given_back_once() {
        let gauge = Gauge::up_to(Some(100)).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let held: Vec<_> = (0..40).filter_map(|_| gauge.take()).collect();
                        assert!(gauge.used() <= 100 && gauge.used() >= held.len());
                    }
                });
            }
        });
        assert_eq!(gauge.used(), 0);
        let held: Vec<_> = std::iter::from_fn(|| gauge.take()).collect();
        assert_eq!(held.len(), 100);
    }
}
