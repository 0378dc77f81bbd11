//! The hash by which the predecessor knows tokens (row B-050): `MurmurHash2` of 64 bits in the variant A, as
//! Apache's Commons Codec has it. Two texts of one hash are easily made: nobody is trusted by it here.

const SEED: u64 = 0xe17a_1465;
const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
const SHIFT: u32 = 47;

/// The hash of a text.
pub(super) fn murmur64(text: &str) -> i64 {
    let bytes = text.as_bytes();
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(MULTIPLIER);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = number(word).wrapping_mul(MULTIPLIER);
        let word = (word ^ word >> SHIFT).wrapping_mul(MULTIPLIER);
        hash = (hash ^ word).wrapping_mul(MULTIPLIER);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash = (hash ^ number(rest)).wrapping_mul(MULTIPLIER);
    }
    hash = (hash ^ hash >> SHIFT).wrapping_mul(MULTIPLIER);
    (hash ^ hash >> SHIFT).cast_signed()
}

/// Up to eight bytes, the lowest first.
fn number(bytes: &[u8]) -> u64 {
    let bytes = bytes.iter().rev();
    bytes.fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first two are those of Commons Codec's own tests; all were computed by another implementation.
    #[test]
    fn it_is_the_predecessors() {
        for (text, hash) in [
            ("", -7_207_201_254_813_729_732),
            ("'J-f", 5_768_382_861_705_900_380),
            ("a", 584_566_915_021_039_271),
            ("1234567", 3_312_645_255_980_952_401),
            ("12345678", 1_123_327_355_903_392_148),
            ("123456789", -2_019_225_991_244_942_874),
            (
                "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1NDIifQ.c2lnbmF0dXJl",
                -2_940_126_665_845_920_314,
            ),
            ("héllo wörld €", -2_251_275_558_161_597_385),
        ] {
            assert_eq!(murmur64(text), hash, "{text}");
        }
    }
}
