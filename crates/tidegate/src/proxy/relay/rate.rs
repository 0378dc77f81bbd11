//! How many control frames a side may send: a bucket of tokens.

use crate::limits::bucket;

/// One second of the clock that is used here, which counts microseconds.
const SECOND: u64 = 1_000_000;

/// A bucket that holds as many tokens as it gains in a second.
#[derive(Debug)]
pub(super) struct Bucket {
    /// When it is full.
    full: u64,
}

impl Bucket {
    /// A full one.
    pub(super) const fn new() -> Self {
        Self { full: 0 }
    }

    /// Takes a token at `now`, of a bucket that gains `rate` in a second; `false`: there is none.
    pub(super) fn take(&mut self, rate: u32, now: u64) -> bool {
        let token = SECOND / u64::from(rate.max(1));
        match bucket::take(self.full, now, token, SECOND) {
            Ok(full) => {
                self.full = full;
                true
            }
            Err(_missing) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_a_second_and_gains_as_much() {
        for rate in [1, 3, 100, 1_000_000] {
            let mut bucket = Bucket::new();
            let begin = 12_345;
            assert!((0..rate).all(|_| bucket.take(rate, begin)), "{rate}");
            assert!(!bucket.take(rate, begin), "{rate}");
            let half = begin + SECOND / 2;
            let again = (0..rate).take_while(|_| bucket.take(rate, half)).count();
            assert_eq!(again, rate as usize / 2, "{rate}");
            let long = begin + 100 * SECOND;
            assert!((0..rate).all(|_| bucket.take(rate, long)), "{rate}");
            assert!(!bucket.take(rate, long), "{rate}");
        }
    }
}
