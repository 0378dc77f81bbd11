//! How many connections and sessions each client has. An address without any is not kept.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maps that are locked apart from each other.
pub(super) const SHARDS: usize = 16;

/// Counts by client.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    shards: [Mutex<HashMap<Client, u32>>; SHARDS],
    hasher: RandomState,
}

/// One of what a client has.
#[derive(Debug)]
pub(crate) struct Counted {
    addresses: Arc<Addresses>,
    client: Client,
}

/// What stands for a client: its IPv4 address, or the /64 of its IPv6 address, all of which one host
/// may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    V4([u8; 4]),
    V6([u8; 8]),
}

pub(crate) fn client_of(address: IpAddr) -> Client {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, e, f, g, h, ..] = address.octets();
            Client::V6([a, b, c, d, e, f, g, h])
        }
        IpAddr::V4(address) => Client::V4(address.octets()),
    }
}

impl Addresses {
    fn lock(&self, client: Client) -> MutexGuard<'_, HashMap<Client, u32>> {
        let shard = self.hasher.hash_one(client) as usize % SHARDS;
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more for a client if `may` allows it, which hears how many it has.
    pub(crate) fn count(
        self: &Arc<Self>,
        address: IpAddr,
        may: impl FnOnce(usize) -> bool,
    ) -> Option<Counted> {
        let client = client_of(address);
        let mut shard = self.lock(client);
        let has = shard.get(&client).copied().unwrap_or(0);
        if !may(has as usize) {
            return None;
        }
        shard.insert(client, has.saturating_add(1));
        let addresses = Arc::clone(self);
        Some(Counted { addresses, client })
    }

    /// How many a client has.
    pub(super) fn has(&self, address: IpAddr) -> usize {
        let client = client_of(address);
        self.lock(client).get(&client).copied().unwrap_or(0) as usize
    }

    /// How many clients have something.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.lock().unwrap().len()).sum()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut shard = self.addresses.lock(self.client);
        if let Some(has) = shard.get_mut(&self.client) {
            *has = has.saturating_sub(1);
            if *has == 0 {
                shard.remove(&self.client);
                // What an attack from many addresses took is given back with it.
                if shard.len() * 4 < shard.capacity() {
                    let room = shard.len() * 2;
                    shard.shrink_to(room.max(64));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_with_many_addresses_are_one_client() {
        let client = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(client("192.0.2.1"), client("::ffff:192.0.2.1"));
        assert_ne!(client("192.0.2.1"), client("192.0.2.2"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:0:0:2"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
    }

    #[test]
    fn nothing_is_kept_of_clients_that_are_gone() {
        let addresses = Arc::new(Addresses::default());
        let held: Vec<_> = (0..50_000_u32)
            .map(|number| addresses.count(IpAddr::from(number.to_be_bytes()), |_| true))
            .collect();
        assert_eq!(addresses.len(), 50_000);
        drop(held);
        assert_eq!(addresses.len(), 0);
        for shard in &addresses.shards {
            assert!(shard.lock().unwrap().capacity() < 512);
        }
        let one: Vec<_> = (0..5)
            .map_while(|_| addresses.count("::1".parse().unwrap(), |has| has < 3))
            .collect();
        assert_eq!(one.len(), 3);
    }
}
