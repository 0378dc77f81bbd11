//! What was said of tokens before: who bears them, or why they were refused. A token is found by the
//! SHA-256 of its exact text, so nobody finds another one's.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::time::Instant;

use super::claims::is_over;
use super::principal::Principal;
use super::token::TokenError;

const SHARDS: usize = 64;
/// Refused tokens have room of their own, an eighth of the others', so that they push out none of those.
const REFUSED_SHARE: usize = 8;
/// How long a refusal is remembered.
const REFUSED: Duration = Duration::from_secs(10);

/// How long tokens are remembered, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePlan {
    /// How many; 10,000.
    pub max_entries: usize,
    /// For how long at most, and never beyond the end of the token; 5 min.
    pub expire_after_write: Duration,
    /// Those that nobody shows for so long are forgotten; `None` (the default): none for that.
    pub expire_after_access: Option<Duration>,
}

impl Default for CachePlan {
    fn default() -> Self {
        Self {
            max_entries: 10_000,
            expire_after_write: Duration::from_secs(5 * 60),
            expire_after_access: None,
        }
    }
}

/// The text of a token, in short.
pub(crate) type Digest = [u8; 32];

pub(super) type Outcome = Result<Arc<Principal>, TokenError>;

/// The cache, shared by all workers.
#[derive(Debug)]
pub(super) struct TokenCache {
    good: Store,
    refused: Store,
    /// Held while a token is verified, so that the same one is verified once. Apart from the shards,
    /// whose locks are held for no longer than a look.
    flights: Vec<Mutex<()>>,
    hits: AtomicU64,
    misses: AtomicU64,
    next: AtomicUsize,
}

#[derive(Debug)]
struct Store {
    shards: Vec<Mutex<Shard>>,
    /// Of each shard.
    room: usize,
    after_write: Duration,
    after_access: Option<Duration>,
}

#[derive(Debug, Default)]
struct Shard {
    entries: HashMap<Digest, Entry>,
    /// The oldest first, each that is among the entries once.
    order: VecDeque<Digest>,
}

#[derive(Debug)]
struct Entry {
    outcome: Outcome,
    /// Of the keys that it was judged by.
    generation: u64,
    written: Instant,
    accessed: Instant,
}

/// A look at the clocks: the one on the wall judges tokens, the other one entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) wall: SystemTime,
    pub(super) steady: Instant,
}

impl Now {
    pub(super) fn look() -> Self {
        Self {
            wall: SystemTime::now(),
            steady: Instant::now(),
        }
    }
}

pub(super) fn digest_of(token: &str) -> Digest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
    bytes
}

impl TokenCache {
    pub(super) fn new(plan: &CachePlan) -> Self {
        Self {
            good: Store::new(
                plan.max_entries,
                plan.expire_after_write,
                plan.expire_after_access,
            ),
            refused: Store::new(plan.max_entries / REFUSED_SHARE, REFUSED, None),
            flights: (0..SHARDS).map(|_| Mutex::default()).collect(),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            next: AtomicUsize::new(0),
        }
    }

    /// What is remembered of a token, judged by the keys of `generation`.
    pub(super) fn get(&self, token: &Digest, generation: u64, now: Now) -> Option<Outcome> {
        let found = self.good.get(token, generation, now);
        let found = found.or_else(|| self.refused.get(token, generation, now));
        let counter = if found.is_some() {
            &self.hits
        } else {
            &self.misses
        };
        counter.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// What is remembered of a token, or else what `judge` says of it, which is then remembered. Whoever
    /// asks for the same token meanwhile waits for the one who judges.
    pub(super) fn get_or_judge(
        &self,
        token: &Digest,
        generation: u64,
        now: Now,
        judge: impl FnOnce() -> Outcome,
    ) -> Outcome {
        let _flight = lock(&self.flights[usize::from(token[1]) % SHARDS]);
        let known = self.good.get(token, generation, now);
        let known = known.or_else(|| self.refused.get(token, generation, now));
        if let Some(outcome) = known {
            return outcome;
        }
        let outcome = judge();
        match &outcome {
            Ok(_) => self.good.put(*token, &outcome, generation, now),
            Err(error) if !error.may_pass() => {
                self.refused.put(*token, &outcome, generation, now);
            }
            Err(_) => {}
        }
        outcome
    }

    /// How often a token was known, and how often it was not.
    pub(super) fn counts(&self) -> [u64; 2] {
        [&self.hits, &self.misses].map(|count| count.load(Ordering::Relaxed))
    }

    /// Forgets what is too old in one of the shards.
    pub(super) fn forget_some(&self, now: Now) {
        let place = self.next.fetch_add(1, Ordering::Relaxed) % SHARDS;
        self.good.forget(place, now);
        self.refused.forget(place, now);
    }
}

impl Store {
    fn new(entries: usize, after_write: Duration, after_access: Option<Duration>) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            room: entries.div_ceil(SHARDS).max(1),
            after_write,
            after_access,
        }
    }

    fn shard(&self, token: &Digest) -> MutexGuard<'_, Shard> {
        lock(&self.shards[usize::from(token[0]) % SHARDS])
    }

    fn holds(&self, entry: &Entry, now: Now) -> bool {
        let since = |then: Instant| now.steady.saturating_duration_since(then);
        let is_over = match &entry.outcome {
            Ok(principal) => is_over(principal.expires(), now.wall),
            Err(_) => false,
        };
        !is_over
            && since(entry.written) < self.after_write
            && self
                .after_access
                .is_none_or(|most| since(entry.accessed) < most)
    }

    fn get(&self, token: &Digest, generation: u64, now: Now) -> Option<Outcome> {
        let mut shard = self.shard(token);
        let entry = shard.entries.get_mut(token)?;
        if entry.generation != generation || !self.holds(entry, now) {
            return None;
        }
        entry.accessed = now.steady;
        Some(entry.outcome.clone())
    }

    fn put(&self, token: Digest, outcome: &Outcome, generation: u64, now: Now) {
        let mut shard = self.shard(&token);
        let entry = Entry {
            outcome: outcome.clone(),
            generation,
            written: now.steady,
            accessed: now.steady,
        };
        if shard.entries.insert(token, entry).is_some() {
            return;
        }
        shard.order.push_back(token);
        if shard.order.len() > self.room
            && let Some(oldest) = shard.order.pop_front()
        {
            shard.entries.remove(&oldest);
        }
    }

    fn forget(&self, place: usize, now: Now) {
        let mut shard = lock(&self.shards[place]);
        let Shard { entries, order } = &mut *shard;
        entries.retain(|_, entry| self.holds(entry, now));
        order.retain(|token| entries.contains_key(token));
    }
}

/// Nothing that a panic leaves behind here is worse than an entry that is missing.
fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::auth::principal::{Claims, Expiry, Identity};

    fn plan(most: usize, access: Option<u64>) -> CachePlan {
        CachePlan {
            max_entries: most,
            expire_after_write: Duration::from_secs(300),
            expire_after_access: access.map(Duration::from_secs),
        }
    }

    fn until(expires: Option<SystemTime>) -> Outcome {
        Ok(Arc::new(Principal {
            identity: Arc::new(Identity {
                expires: expires.map(|time| {
                    let since = time.duration_since(SystemTime::UNIX_EPOCH);
                    Expiry::at(since.unwrap().as_secs())
                }),
                ..Identity::without_token("u")
            }),
            roles: Arc::default(),
            scopes: Box::default(),
            claims: Claims::default(),
        }))
    }

    /// So many seconds later, by both clocks.
    fn later(now: Now, seconds: u64) -> Now {
        let time = Duration::from_secs(seconds);
        Now {
            wall: now.wall + time,
            steady: now.steady + time,
        }
    }

    fn known(cache: &TokenCache, token: &str, now: Now) -> bool {
        cache.get(&digest_of(token), 0, now).is_some()
    }

    fn put(cache: &TokenCache, token: &str, now: Now, outcome: &Outcome) {
        let _ = cache.get_or_judge(&digest_of(token), 0, now, || outcome.clone());
    }

    #[test]
    fn entries_end_by_write_by_access_and_with_their_token() {
        let now = Now::look();
        let cache = TokenCache::new(&plan(100, Some(60)));
        put(&cache, "a", now, &until(None));
        put(
            &cache,
            "b",
            now,
            &until(Some(now.wall + Duration::from_secs(30))),
        );
        assert!(known(&cache, "b", later(now, 29)));
        assert!(!known(&cache, "b", later(now, 30)), "its token is over");
        for seconds in [59, 118, 177, 236, 295] {
            assert!(known(&cache, "a", later(now, seconds)), "{seconds}");
        }
        assert!(!known(&cache, "a", later(now, 300)), "written long ago");
        put(&cache, "c", now, &until(None));
        assert!(!known(&cache, "c", later(now, 60)), "nobody asked for it");
        for _ in 0..SHARDS {
            cache.forget_some(later(now, 400));
        }
        let left = |shard: &Mutex<Shard>| {
            let shard = lock(shard);
            shard.order.len() + shard.entries.len()
        };
        assert_eq!(cache.good.shards.iter().map(left).sum::<usize>(), 0);
    }

    #[test]
    fn there_is_an_end_to_it_and_refusals_push_nobody_out() {
        let now = Now::look();
        let cache = TokenCache::new(&plan(640, None));
        put(&cache, "good", now, &until(None));
        for number in 0..10_000 {
            put(
                &cache,
                &number.to_string(),
                now,
                &Err(TokenError::Signature),
            );
        }
        assert!(known(&cache, "good", now));
        let held = |store: &Store| store.shards.iter().map(|one| lock(one).entries.len()).sum();
        let refused: usize = held(&cache.refused);
        assert!(refused <= 128, "{refused}");
        for number in 0..10_000 {
            put(&cache, &format!("g{number}"), now, &until(None));
        }
        let good: usize = held(&cache.good);
        assert!((320..=640).contains(&good), "{good}");
        assert!(known(&cache, "g9999", now), "the newest stays");
    }

    #[test]
    fn what_may_become_right_is_not_remembered() {
        let now = Now::look();
        let cache = TokenCache::new(&plan(100, None));
        put(&cache, "a", now, &Err(TokenError::NotYet));
        put(&cache, "b", now, &Err(TokenError::UnknownKey));
        put(&cache, "c", now, &Err(TokenError::Audience));
        assert!(!known(&cache, "a", now) && !known(&cache, "b", now));
        assert!(known(&cache, "c", later(now, 9)) && !known(&cache, "c", later(now, 10)));
        // Of other keys, it is judged anew.
        assert!(cache.get(&digest_of("c"), 1, now).is_none());
    }

    #[test]
    fn the_same_token_is_judged_once() {
        let cache = TokenCache::new(&plan(100, None));
        let (judged, now) = (AtomicU64::new(0), Now::look());
        let ask = || {
            let outcome = cache.get_or_judge(&digest_of("a"), 0, now, || {
                judged.fetch_add(1, Ordering::SeqCst);
                // The others have every chance to come meanwhile.
                (0..100).for_each(|_| thread::yield_now());
                until(None)
            });
            assert!(outcome.is_ok());
        };
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(ask);
            }
        });
        assert_eq!(judged.load(Ordering::SeqCst), 1);
    }
}
