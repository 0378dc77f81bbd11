//! What has arrived somewhere, and when.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use memchr::memmem;

use super::now;

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of a push's data, quotes included.
const SIZE: usize = 200;
/// What stands before its number, and the number's digits.
const MARK: &[u8] = b"\"#";
const DIGITS: usize = 10;

/// The data of the push of that number: JSON.
pub(super) fn data(number: u64) -> String {
    let rest = "x".repeat(SIZE - MARK.len() - DIGITS - 1);
    format!("\"#{number:010}{rest}\"")
}

/// The number of the first data in `bytes`, and what is behind it.
pub(super) fn numbered(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let behind = &bytes[memmem::find(bytes, MARK)? + MARK.len()..];
    let (digits, rest) = behind.split_at_checked(DIGITS)?;
    let number = str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

/// Numbers that have come to one place; each must come once.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    state: Mutex<State>,
    more: Condvar,
}

#[derive(Debug, Default)]
struct State {
    at: HashMap<u64, Instant>,
    failed: Option<String>,
}

impl Arrivals {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has come just now.
    pub(super) fn note(&self, number: u64) {
        let at = now();
        let mut state = self.state();
        if state.at.insert(number, at).is_some() {
            state.failed = Some(format!("push {number} came twice"));
        }
        drop(state);
        self.more.notify_all();
    }

    /// Nothing comes any more.
    pub(super) fn fail(&self, why: String) {
        self.state().failed.get_or_insert(why);
        self.more.notify_all();
    }

    /// Waits until all of these have come: when each did, in their order.
    pub(super) fn all(&self, numbers: Range<u64>) -> Result<Vec<Instant>, String> {
        let begun = now();
        let mut state = self.state();
        loop {
            if let Some(why) = &state.failed {
                return Err(why.clone());
            }
            let found: Option<Vec<_>> = numbers
                .clone()
                .map(|number| state.at.get(&number).copied())
                .collect();
            if let Some(found) = found {
                return Ok(found);
            }
            let left = PATIENCE.saturating_sub(begun.elapsed());
            if left.is_zero() {
                let came = numbers.filter(|number| state.at.contains_key(number));
                return Err(format!("only {} pushes came", came.count()));
            }
            let waited = self.more.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_in_whatever_is_around_it() {
        let text = data(42);
        assert_eq!(text.len(), SIZE);
        let both = format!("{{\"op\":\"push\",\"data\":{text}}}\r\n{}", data(43));
        let (first, rest) = numbered(both.as_bytes()).unwrap();
        let (second, rest) = numbered(rest).unwrap();
        assert_eq!((first, second), (42, 43));
        assert_eq!(numbered(rest), None);
        assert_eq!(numbered(b"\"#12"), None);
    }

    #[test]
    fn all_have_come_once_or_there_is_no_figure() {
        let arrivals = Arrivals::default();
        for number in [3, 1, 2] {
            arrivals.note(number);
        }
        let at = arrivals.all(1..4).unwrap();
        assert!(at[2] <= at[0] && at[0] <= at[1]);
        arrivals.note(2);
        let again = arrivals.all(1..4);
        assert_eq!(again, Err("push 2 came twice".to_owned()));
    }
}
