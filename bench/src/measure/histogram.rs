//! Times, counted in classes that are at most one part in 64 wide.

use std::time::Duration;

/// Classes for each doubling, as a power of two.
const FINE: u32 = 6;
const WITHIN: usize = 1 << FINE;

/// Times up to 2^40 ns, some 18 minutes; longer ones count as that.
#[derive(Debug)]
pub(super) struct Histogram {
    classes: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Histogram {
    pub(super) fn new() -> Self {
        Self {
            classes: vec![0; class(1 << 40) + 1],
            count: 0,
            longest: Duration::ZERO,
        }
    }

    pub(super) fn record(&mut self, time: Duration) {
        let time_ns = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let class = class(time_ns).min(self.classes.len() - 1);
        self.classes[class] += 1;
        self.count += 1;
        self.longest = self.longest.max(time);
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }

    pub(super) const fn longest(&self) -> Duration {
        self.longest
    }

    /// The time that `part` of all times (0 to 1) do not exceed, rounded up to its class.
    pub(super) fn quantile(&self, part: f64) -> Duration {
        let due = (part * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (class, count) in self.classes.iter().enumerate() {
            seen += count;
            if seen >= due {
                return Duration::from_nanos(end_of(class)).min(self.longest);
            }
        }
        self.longest
    }
}

/// The class of a number: itself where it is small, then its first bits and how many follow.
const fn class(number: u64) -> usize {
    if number < WITHIN as u64 {
        return number as usize;
    }
    let shift = number.ilog2() - FINE;
    (shift as usize + 1) * WITHIN + ((number >> shift) as usize - WITHIN)
}

/// The last number of a class.
const fn end_of(class: usize) -> u64 {
    if class < WITHIN {
        return class as u64;
    }
    let shift = class / WITHIN - 1;
    let first = (class % WITHIN + WITHIN) as u64;
    ((first + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(times: impl Iterator<Item = u64>) -> Histogram {
        let mut histogram = Histogram::new();
        times.for_each(|time| histogram.record(Duration::from_nanos(time)));
        histogram
    }

    #[test]
    fn classes_follow_each_other_without_a_gap() {
        let mut begin = 0;
        for number in 0..300_u64 {
            let end = end_of(number as usize);
            assert_eq!(
                (class(begin), class(end)),
                (number as usize, number as usize)
            );
            assert!(end - begin <= begin / WITHIN as u64, "{begin} to {end}");
            begin = end + 1;
        }
    }

    #[test]
    fn quantiles_are_those_of_the_times_to_one_part_in_64() {
        let histogram = of((1..=100_000).map(|number| number * 1_000));
        for (part, exact) in [(0.5, 50e6), (0.99, 99e6), (0.999, 99.9e6), (1.0, 100e6)] {
            let told = histogram.quantile(part).as_nanos() as f64;
            assert!(
                told >= exact && told <= exact * 65.0 / 64.0,
                "{part}: {told}"
            );
        }
        assert_eq!(histogram.count(), 100_000);
    }

    #[test]
    fn one_long_time_is_the_longest_and_no_median() {
        let histogram = of((0..999).map(|_| 50_000).chain([u64::MAX]));
        assert!(histogram.quantile(0.5) < Duration::from_micros(51));
        assert!(histogram.quantile(0.999) < Duration::from_micros(51));
        assert_eq!(histogram.longest(), Duration::from_nanos(u64::MAX));
        assert!(histogram.quantile(1.0) >= Duration::from_nanos(1 << 40));
        assert_eq!(of(std::iter::empty()).quantile(0.5), Duration::ZERO);
    }
}
