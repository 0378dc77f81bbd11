//! CRC32C (Castagnoli), as RFC 3720 appendix B.4 has it.

/// Reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;
const TABLE: [u32; 256] = table();

/// A checksum so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crc32c(u32);

impl Default for Crc32c {
    /// That of nothing.
    fn default() -> Self {
        Self(u32::MAX)
    }
}

impl Crc32c {
    /// With these bytes behind.
    pub(super) fn over(self, bytes: &[u8]) -> Self {
        let step = |crc: u32, byte: &u8| TABLE[usize::from(crc as u8 ^ byte)] ^ (crc >> 8);
        Self(bytes.iter().fold(self.0, step))
    }

    pub(super) const fn value(self) -> u32 {
        !self.0
    }
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 0 {
                crc >> 1
            } else {
                (crc >> 1) ^ POLYNOMIAL
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_3720() {
        let ascending: Vec<u8> = (0..32).collect();
        for (bytes, expected) in [
            (&[0; 32][..], 0x8a91_36aa),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (b"123456789", 0xe306_9283),
        ] {
            let (one, other) = bytes.split_at(bytes.len() / 3);
            assert_eq!(Crc32c::default().over(one).over(other).value(), expected);
        }
    }
}
