//! The cells that are counted in. All additions are relaxed: a page shows what was counted a moment
//! ago, and nothing else depends on it.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// A number that only grows, and begins again at 0 behind its largest.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(super) struct Level(AtomicI64);

impl Level {
    pub(super) fn add(&self, change: i64) {
        self.0.fetch_add(change, Ordering::Relaxed);
    }

    pub(super) fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Counters by a key, for labels of which few of many values occur. What occurs first is found
/// first; a block is made when the one before it is full.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    slots: [Slot; 8],
    next: OnceLock<Box<Self>>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The key and one; 0 while the slot is free.
    key: AtomicU32,
    count: Counter,
}

impl Slot {
    /// Whether it is the slot of `wanted`, which takes it when it is free.
    fn is_of(&self, wanted: u32) -> bool {
        match self.key.load(Ordering::Relaxed) {
            0 => {
                let (before, after) = (Ordering::Relaxed, Ordering::Relaxed);
                match self.key.compare_exchange(0, wanted, before, after) {
                    Ok(_free) => true,
                    Err(taken) => taken == wanted,
                }
            }
            key => key == wanted,
        }
    }
}

impl Sparse {
    /// Counts one more for `key`, which is not `u32::MAX`.
    pub(super) fn add(&self, key: u32) {
        let wanted = key.wrapping_add(1);
        let mut block = self;
        loop {
            for slot in &block.slots {
                if slot.is_of(wanted) {
                    return slot.count.add(1);
                }
            }
            block = block.next.get_or_init(Box::default);
        }
    }

    /// Adds what was counted to `sums`.
    pub(super) fn sum_into(&self, sums: &mut BTreeMap<u32, u64>) {
        let mut block = Some(self);
        while let Some(Self { slots, next }) = block {
            for slot in slots {
                if let Some(key) = slot.key.load(Ordering::Relaxed).checked_sub(1) {
                    let sum = sums.entry(key).or_default();
                    *sum = sum.wrapping_add(slot.count.value());
                }
            }
            block = next.get().map(|next| &**next);
        }
    }
}

/// An upper bound of a bucket, and how it is written: microseconds, written in seconds, or bytes.
pub(super) type Bound = (u64, &'static str);

/// For requests, handshakes and calls.
pub(super) const REQUEST_BOUNDS: &[Bound] = &[
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (2_500_000, "2.5"),
    (5_000_000, "5"),
    (10_000_000, "10"),
    (30_000_000, "30"),
    (60_000_000, "60"),
];

/// For what a leg has not taken, in bytes; a read of 128 KiB and what was read with a handshake are
/// the most that wait.
pub(super) const QUEUE_BOUNDS: &[Bound] = &[
    (256, "256"),
    (1 << 10, "1024"),
    (4 << 10, "4096"),
    (16 << 10, "16384"),
    (32 << 10, "32768"),
    (64 << 10, "65536"),
    (128 << 10, "131072"),
    (256 << 10, "262144"),
];

/// For sessions: 1 s to 24 h.
pub(super) const SESSION_BOUNDS: &[Bound] = &[
    (1_000_000, "1"),
    (5_000_000, "5"),
    (15_000_000, "15"),
    (30_000_000, "30"),
    (60_000_000, "60"),
    (300_000_000, "300"),
    (900_000_000, "900"),
    (1_800_000_000, "1800"),
    (3_600_000_000, "3600"),
    (7_200_000_000, "7200"),
    (14_400_000_000, "14400"),
    (28_800_000_000, "28800"),
    (43_200_000_000, "43200"),
    (86_400_000_000, "86400"),
];

/// How long things took, or how large they were, by bucket. Its cells are made when something is observed first.
#[derive(Debug, Default)]
pub(super) struct Histogram(OnceLock<Box<Buckets>>);

#[derive(Debug)]
struct Buckets {
    /// One for each bound, and one for what took longer than all.
    counts: Box<[Counter]>,
    /// In microseconds or bytes: sessions of a day fit in 200 million times.
    sum: Counter,
}

/// What histograms of several workers have seen together.
#[derive(Debug)]
pub(super) struct Distribution {
    /// In each bucket by itself, the one without a bound last.
    pub(super) counts: Vec<u64>,
    /// In microseconds or bytes.
    pub(super) sum: u64,
}

impl Histogram {
    /// Counts one that took so long. The bounds are always the same for one histogram.
    pub(super) fn observe(&self, took: Duration, bounds: &'static [Bound]) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.observe_one(micros, bounds);
    }

    /// Counts one of this size, in the unit of the bounds.
    pub(super) fn observe_one(&self, size: u64, bounds: &'static [Bound]) {
        let buckets = self.0.get_or_init(|| {
            Box::new(Buckets {
                counts: (0..=bounds.len()).map(|_| Counter::default()).collect(),
                sum: Counter::default(),
            })
        });
        let place = bounds.partition_point(|(bound, _)| *bound < size);
        if let Some(count) = buckets.counts.get(place) {
            count.add(1);
        }
        buckets.sum.add(size);
    }

    /// The sum of several; `None` where nothing was observed.
    pub(super) fn sum<'a>(all: impl Iterator<Item = &'a Self>) -> Option<Distribution> {
        let mut sum: Option<Distribution> = None;
        for buckets in all.filter_map(|histogram| histogram.0.get()) {
            let sum = sum.get_or_insert_with(|| Distribution {
                counts: vec![0; buckets.counts.len()],
                sum: 0,
            });
            for (sum, count) in sum.counts.iter_mut().zip(&buckets.counts) {
                *sum = sum.wrapping_add(count.value());
            }
            sum.sum = sum.sum.wrapping_add(buckets.sum.value());
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparse_counters_keep_every_key() {
        let sparse = Sparse::default();
        for round in 0..3 {
            for key in 0..100 {
                for _ in 0..=round {
                    sparse.add(key);
                }
            }
        }
        let mut sums = BTreeMap::from([(7, 1)]);
        sparse.sum_into(&mut sums);
        assert_eq!(sums.len(), 100);
        assert!(
            sums.iter()
                .all(|(key, sum)| *sum == if *key == 7 { 7 } else { 6 })
        );
    }

    #[test]
    fn sparse_counters_take_threads_at_once() {
        let sparse = Sparse::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|number| sparse.add(number % 20)));
            }
        });
        let mut sums = BTreeMap::new();
        sparse.sum_into(&mut sums);
        assert_eq!(sums.len(), 20);
        assert!(sums.values().all(|sum| *sum == 200), "{sums:?}");
    }

    #[test]
    fn a_bound_is_part_of_its_bucket() {
        let histogram = Histogram::default();
        assert!(Histogram::sum([&histogram].into_iter()).is_none());
        for millis in [1000, 1001, 86_400_000, 86_400_001] {
            histogram.observe(Duration::from_millis(millis), SESSION_BOUNDS);
        }
        let sum = Histogram::sum([&histogram, &histogram].into_iter()).unwrap();
        assert_eq!(sum.counts[..2], [2, 2]);
        assert_eq!(sum.counts[SESSION_BOUNDS.len() - 1..], [2, 2]);
        assert_eq!(sum.sum, 2 * 172_802_002_000);
    }

    #[test]
    fn bounds_are_written_as_they_are() {
        for bounds in [REQUEST_BOUNDS, SESSION_BOUNDS] {
            assert!(bounds.is_sorted());
            for (micros, text) in bounds {
                let seconds: f64 = text.parse().unwrap();
                assert!((seconds * 1e6 - *micros as f64).abs() < 0.5, "{text}");
            }
        }
        assert!(QUEUE_BOUNDS.is_sorted());
        for (bytes, text) in QUEUE_BOUNDS {
            assert_eq!(bytes.to_string(), *text);
        }
    }
}
