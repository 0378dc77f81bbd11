//! Where masks, ping payloads and session ids come from.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};

thread_local! {
    static SOURCE: (RandomState, Cell<u64>) = (RandomState::new(), Cell::new(0));
}

/// Numbers that a peer cannot foresee (RFC 6455 section 10.3): a keyed hash of a counter, the key
/// being the system's randomness.
pub(crate) struct Randomness;

impl Randomness {
    pub(crate) fn next() -> u64 {
        SOURCE.with(|(key, count)| {
            count.set(count.get().wrapping_add(1));
            key.hash_one(count.get())
        })
    }

    pub(crate) fn mask() -> [u8; 4] {
        let [a, b, c, d, ..] = Self::next().to_ne_bytes();
        [a, b, c, d]
    }
}
