//! How often each client may do something: a bucket of tokens per client, forgotten when it is full
//! again.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::addresses::{Client, SHARDS, client_of};
use super::{Overload, bucket};
use crate::config::plan::Rate;

/// Clients that each shard remembers. Behind that, one that is remembered makes room for a new one:
/// who has so many addresses has as many fresh buckets anyway.
const REMEMBERED: usize = 4096;

/// The buckets of all clients.
#[derive(Debug)]
pub(crate) struct Rates {
    /// Nanoseconds that one token takes, and those that a whole bucket takes.
    every: u64,
    full: u64,
    /// When each bucket is full again, in nanoseconds from `start` on.
    shards: [Mutex<HashMap<Client, u64>>; SHARDS],
    hasher: RandomState,
    start: Instant,
    /// Which shard is tidied next.
    next: AtomicUsize,
}

impl Rates {
    pub(crate) fn new(rate: Rate) -> Self {
        let every = u64::try_from(rate.every.as_nanos()).unwrap_or(u64::MAX);
        Self {
            every,
            full: every.saturating_mul(u64::from(rate.burst)),
            shards: Default::default(),
            hasher: RandomState::new(),
            start: Instant::now(),
            next: AtomicUsize::new(0),
        }
    }

    fn lock(&self, shard: usize) -> MutexGuard<'_, HashMap<Client, u64>> {
        self.shards[shard % SHARDS]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn nanos(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.start);
        u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes a token from the client's bucket.
    pub(crate) fn take(&self, address: IpAddr, now: Instant) -> Result<(), Overload> {
        let client = client_of(address);
        let now = self.nanos(now);
        let mut buckets = self.lock(self.hasher.hash_one(client) as usize);
        let full = buckets.get(&client).copied().unwrap_or(0);
        let taken = bucket::take(full, now, self.every, self.full);
        let full_again = taken.map_err(|missing| {
            let seconds = missing.div_ceil(1_000_000_000);
            let retry_after = u32::try_from(seconds).unwrap_or(u32::MAX);
            Overload::TooManyHandshakes { retry_after }
        })?;
        if buckets.len() >= REMEMBERED
            && !buckets.contains_key(&client)
            && let Some(other) = buckets.keys().next().copied()
        {
            buckets.remove(&other);
        }
        buckets.insert(client, full_again);
        Ok(())
    }

    /// When the client's bucket has a token again, in whole seconds, where it has none.
    pub(crate) fn look(&self, address: IpAddr, now: Instant) -> Result<(), u32> {
        let client = client_of(address);
        let now = self.nanos(now);
        let buckets = self.lock(self.hasher.hash_one(client) as usize);
        let full = buckets.get(&client).copied().unwrap_or(0);
        match bucket::take(full, now, self.every, self.full) {
            Ok(_) => Ok(()),
            Err(missing) => Err(u32::try_from(missing.div_ceil(1_000_000_000)).unwrap_or(u32::MAX)),
        }
    }

    /// Forgets those of one shard whose bucket is full.
    pub(crate) fn forget_some(&self, now: Instant) {
        let now = self.nanos(now);
        let mut buckets = self.lock(self.next.fetch_add(1, Ordering::Relaxed));
        if !buckets.is_empty() {
            buckets.retain(|_, full_again| *full_again > now);
            let room = buckets.len() * 2;
            buckets.shrink_to(room.max(64));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const CLIENT: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    fn rates(every: Duration, burst: u32) -> Rates {
        Rates::new(Rate { every, burst })
    }

    fn retry(seconds: u32) -> Result<(), Overload> {
        Err(Overload::TooManyHandshakes {
            retry_after: seconds,
        })
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rates = rates(Duration::from_millis(100), 3);
        let at = |millis| rates.start + Duration::from_millis(millis);
        for _ in 0..3 {
            assert_eq!(rates.take(CLIENT, at(0)), Ok(()));
        }
        for millis in [0, 50, 99] {
            assert_eq!(rates.take(CLIENT, at(millis)), retry(1), "{millis}");
        }
        assert_eq!(rates.take("192.0.2.2".parse().unwrap(), at(0)), Ok(()));
        assert_eq!(rates.take(CLIENT, at(100)), Ok(()));
        assert_eq!(rates.take(CLIENT, at(101)), retry(1));
        assert_eq!(rates.take(CLIENT, at(10_000)), Ok(()));
    }

    #[test]
    fn the_wait_is_told_and_true() {
        let rates = rates(Duration::from_secs(20), 1);
        let at = |seconds| rates.start + Duration::from_secs(seconds);
        assert_eq!(rates.take(CLIENT, at(1)), Ok(()));
        assert_eq!(rates.take(CLIENT, at(2)), retry(19));
        assert_eq!(rates.take(CLIENT, at(20)), retry(1));
        assert_eq!(rates.take(CLIENT, at(21)), Ok(()));
    }

    #[test]
    fn an_attack_from_many_addresses_is_forgotten() {
        let rates = rates(Duration::from_secs(1), 1);
        let now = rates.start;
        for number in 0..500_000_u32 {
            rates.take(IpAddr::from(number.to_be_bytes()), now).unwrap();
        }
        let known = || -> usize {
            rates
                .shards
                .iter()
                .map(|one| one.lock().unwrap().len())
                .sum()
        };
        assert!(known() <= SHARDS * REMEMBERED, "{}", known());
        for _ in 0..SHARDS {
            rates.forget_some(now + Duration::from_secs(2));
        }
        assert_eq!(known(), 0);
        for shard in &rates.shards {
            assert!(shard.lock().unwrap().capacity() < 512);
        }
    }
}
