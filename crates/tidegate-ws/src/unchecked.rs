//! What the compiler cannot check, and pays: the only `unsafe` of this crate. What it saves, of an echo of
//! 16 KiB over a pipe in memory (`bench/ws`, 1.4 µs): AVX2 0.1 µs; a second look at the text each time that it is
//! looked at, 0.1 µs where it is ASCII and 0.8 µs where it is not.

use crate::message::Text;

impl Text {
    /// The text.
    #[must_use]
    #[expect(
        unsafe_code,
        reason = "it was found to be UTF-8 when it was received or made"
    )]
    pub fn as_str(&self) -> &str {
        // SAFETY: every constructor has seen that the bytes are UTF-8, and `Bytes` do not change.
        unsafe { std::str::from_utf8_unchecked(self.bytes()) }
    }
}

/// From so many bytes on it pays to ask what the processor has.
#[cfg(target_arch = "x86_64")]
const WIDE: usize = 256;

/// Masks or unmasks `payload`, whose first byte is byte `offset` of its frame's payload (RFC 6455
/// section 5.3).
#[cfg_attr(
    target_arch = "x86_64",
    expect(unsafe_code, reason = "AVX2, where the processor has it")
)]
pub fn apply_mask(payload: &mut [u8], mut mask: [u8; 4], offset: usize) {
    mask.rotate_left(offset & 3);
    #[cfg(target_arch = "x86_64")]
    if payload.len() >= WIDE && std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: this processor has AVX2.
        return unsafe { apply_wide(payload, mask) };
    }
    apply(payload, mask);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn apply_wide(payload: &mut [u8], mask: [u8; 4]) {
    apply(payload, mask);
}

/// The compiler makes of it what its caller's processor has.
#[inline(always)]
fn apply(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let word = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut();
    for eight in words {
        *eight = (u64::from_ne_bytes(*eight) ^ word).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_is_applied_byte_by_byte_from_any_offset() {
        let mask = [0x11, 0x22, 0x33, 0x44];
        for length in (0..40).chain(240..300).chain([1000, 4096, 5001]) {
            for offset in 0..9 {
                let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
                let mut payload = plain.clone();
                apply_mask(&mut payload, mask, offset);
                let expected: Vec<u8> = (0..length)
                    .map(|at| plain[at] ^ mask[(offset + at) % 4])
                    .collect();
                assert!(payload == expected, "{length} bytes, offset {offset}");
            }
        }
    }
}
