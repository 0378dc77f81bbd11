//! What is sent: bytes that both ends can make of a number, so that they need not be kept.

use fastrand::Rng;

/// The smallest and the largest message.
const SIZES: (f64, f64) = (16.0, 65_536.0);

/// A size between 16 B and 64 KiB: as many between 16 and 32 B as between 32 and 64 KiB.
pub(crate) fn size() -> usize {
    let (smallest, largest) = SIZES;
    let size = smallest * (largest / smallest).powf(fastrand::f64());
    size as usize
}

/// `size` bytes of any value.
pub(crate) fn bytes(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    Rng::with_seed(seed).fill(&mut bytes);
    bytes
}

/// `size` letters.
pub(crate) fn letters(seed: u64, size: usize) -> Vec<u8> {
    let mut bytes = bytes(seed, size);
    for byte in &mut bytes {
        *byte = b'a' + *byte % 26;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_number_makes_the_same_bytes() {
        assert_eq!(bytes(7, 4_000), bytes(7, 4_000));
        assert_ne!(bytes(7, 4_000), bytes(8, 4_000));
        assert!(letters(9, 1_000).iter().all(u8::is_ascii_lowercase));
    }

    #[test]
    fn sizes_stay_within_their_bounds() {
        for _ in 0..10_000 {
            assert!((16..=65_536).contains(&size()));
        }
    }
}
