//! What was asked for under an idempotency key, so that whoever asks again gets the same answer and
//! nothing is pushed twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::Instant;

/// How long an answer is kept: as long as events are known that were asked for under a name made of it.
const KEPT: Duration = super::seen::LONGEST;
/// The most keys, and the most bytes of their answers; beyond it the oldest are forgotten.
const MOST_KEYS: usize = 16_384;
const MOST_BYTES: usize = 16 * 1024 * 1024;

type Digest = [u8; 32];

/// The keys that were used lately.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    entries: HashMap<Digest, Entry>,
    /// The oldest first. One may have been used again since, and stands there twice.
    order: VecDeque<(Digest, Instant)>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    asked: Digest,
    since: Instant,
    /// It is under way.
    is_held: bool,
    /// Whether that was all.
    is_whole: bool,
    /// What came of it so far.
    answer: Option<Arc<str>>,
}

/// What a key stands for.
#[derive(Debug)]
pub(crate) enum Use<'k> {
    /// Nothing yet, or not all of it.
    First(Claim<'k>),
    /// This was the answer.
    Again(Arc<str>),
    /// The same, which has no answer yet.
    UnderWay,
    /// Something else.
    Other,
}

/// A key that is being used. Dropped without an answer, it is as if it never was.
#[derive(Debug)]
pub(crate) struct Claim<'k> {
    keys: &'k Keys,
    key: Digest,
    since: Instant,
    /// What came of it before, which was not all.
    before: Option<Arc<str>>,
}

impl Keys {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Uses `key` of `path`, with which `body` is asked for.
    pub(crate) fn claim(&self, path: &str, key: &str, body: &[u8]) -> Use<'_> {
        self.claim_at(&format!("{path}\n{key}"), body, Instant::now())
    }

    fn claim_at(&self, key: &str, body: &[u8], now: Instant) -> Use<'_> {
        let (key, asked) = (hash(key.as_bytes()), hash(body));
        let mut known = self.lock();
        known.forget_old(now);
        if let Some(entry) = known.entries.get_mut(&key) {
            if entry.asked != asked {
                return Use::Other;
            }
            if entry.is_held {
                return Use::UnderWay;
            }
            let before = entry.answer.clone();
            if entry.is_whole
                && let Some(answer) = before
            {
                return Use::Again(answer);
            }
            entry.is_held = true;
            return Use::First(Claim {
                keys: self,
                key,
                since: entry.since,
                before,
            });
        }
        let entry = Entry {
            asked,
            since: now,
            is_held: true,
            is_whole: false,
            answer: None,
        };
        known.entries.insert(key, entry);
        known.order.push_back((key, now));
        drop(known);
        Use::First(Claim {
            keys: self,
            key,
            since: now,
            before: None,
        })
    }
}

impl Known {
    fn forget_old(&mut self, now: Instant) {
        while let Some(&(key, since)) = self.order.front() {
            let is_old = now.saturating_duration_since(since) >= KEPT;
            if !is_old && self.order.len() < MOST_KEYS && self.bytes <= MOST_BYTES {
                return;
            }
            self.order.pop_front();
            self.forget(&key, since);
        }
    }

    fn forget(&mut self, key: &Digest, since: Instant) {
        if self.entries.get(key).is_some_and(|one| one.since == since) {
            let answer = self.entries.remove(key).and_then(|one| one.answer);
            self.bytes = self.bytes.saturating_sub(answer.map_or(0, |one| one.len()));
        }
    }
}

impl Claim<'_> {
    /// What came of it before, where that was not all.
    pub(crate) fn before(&self) -> Option<&str> {
        self.before.as_deref()
    }

    /// This is the answer.
    pub(crate) fn answered(&self, answer: &Arc<str>) {
        self.keep(answer, true);
    }

    /// This is the answer, but not all was done: whoever asks again asks for the rest.
    pub(crate) fn answered_in_part(&self, answer: &Arc<str>) {
        self.keep(answer, false);
    }

    fn keep(&self, answer: &Arc<str>, is_whole: bool) {
        let mut known = self.keys.lock();
        let entry = known.entries.get_mut(&self.key);
        let Some(entry) = entry.filter(|entry| entry.since == self.since) else {
            return;
        };
        entry.is_whole = is_whole;
        let before = entry.answer.replace(Arc::clone(answer));
        let before = before.map_or(0, |one| one.len());
        known.bytes = known.bytes.saturating_sub(before) + answer.len();
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut known = self.keys.lock();
        let entry = known.entries.get_mut(&self.key);
        let Some(entry) = entry.filter(|entry| entry.since == self.since) else {
            return;
        };
        entry.is_held = false;
        if entry.answer.is_none() {
            known.entries.remove(&self.key);
        }
    }
}

fn hash(bytes: &[u8]) -> Digest {
    let hashed = digest(&SHA256, bytes);
    // It has as many bytes as that.
    hashed.as_ref().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said to who uses a key, and gets this answer the first time.
    fn told(keys: &Keys, key: &str, body: &str, now: Instant) -> String {
        match keys.claim_at(key, body.as_bytes(), now) {
            Use::First(claim) => {
                claim.answered(&format!("answer to {body}").into());
                "first".to_owned()
            }
            Use::Again(answer) => answer.to_string(),
            Use::UnderWay => "under way".to_owned(),
            Use::Other => "other".to_owned(),
        }
    }

    #[test]
    fn one_key_has_one_answer() {
        let (keys, now) = (Keys::default(), Instant::now());
        assert_eq!(told(&keys, "k", "a", now), "first");
        assert_eq!(told(&keys, "k", "a", now), "answer to a");
        assert_eq!(told(&keys, "k", "b", now), "other");
        assert_eq!(told(&keys, "l", "b", now), "first");
        let Use::First(claim) = keys.claim_at("m", b"c", now) else {
            unreachable!("nobody has used it")
        };
        assert_eq!(told(&keys, "m", "c", now), "under way");
        drop(claim);
        assert_eq!(told(&keys, "m", "c", now), "first");
        assert_eq!(told(&keys, "k", "b", now + KEPT), "first");
    }

    #[test]
    fn the_rest_of_what_was_asked_for_can_be_asked_for() {
        let (keys, now) = (Keys::default(), Instant::now());
        let claim = || match keys.claim_at("k", b"a", now) {
            Use::First(claim) => claim,
            other => unreachable!("{other:?}"),
        };
        let first = claim();
        assert_eq!(first.before(), None);
        first.answered_in_part(&"half".into());
        assert_eq!(told(&keys, "k", "a", now), "under way");
        drop(first);
        assert_eq!(told(&keys, "k", "b", now), "other");
        let second = claim();
        assert_eq!(second.before(), Some("half"));
        drop(second);
        let third = claim();
        assert_eq!(third.before(), Some("half"));
        third.answered(&"all".into());
        drop(third);
        assert_eq!(told(&keys, "k", "a", now), "all");
        assert_eq!(keys.lock().bytes, 3);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let (keys, now) = (Keys::default(), Instant::now());
        for number in 0..MOST_KEYS + 10 {
            assert_eq!(told(&keys, &number.to_string(), "", now), "first");
        }
        assert_eq!(keys.lock().entries.len(), MOST_KEYS);
        assert_eq!(told(&keys, "0", "", now), "first");
        let long = "x".repeat(1 << 20);
        for number in 0..40 {
            assert_eq!(told(&keys, &format!("l{number}"), &long, now), "first");
        }
        let known = keys.lock();
        let held = known.entries.values().filter_map(|one| one.answer.as_ref());
        assert_eq!(held.map(|one| one.len()).sum::<usize>(), known.bytes);
        assert!(
            known.bytes <= MOST_BYTES + 2 * long.len(),
            "{}",
            known.bytes
        );
    }
}
