//! Requests of Kafka's protocol, told apart by what they ask for.

/// Fetches records, by its number in the protocol.
pub const FETCH: i16 = 1;
/// Asks how far partitions reach.
pub const LIST_OFFSETS: i16 = 2;
/// Asks which topics and brokers there are.
pub const METADATA: i16 = 3;
/// The length of a request and the number of what it asks for.
const HEAD: usize = 6;

/// Lets through what a client sends but for requests of some kinds, which are lost.
#[derive(Debug, Default)]
pub(super) struct Sieve {
    head: Vec<u8>,
    /// Bytes of a request that are still to come.
    left: usize,
    is_lost: bool,
}

impl Sieve {
    /// What of these bytes goes on. What a request comes to is settled with its first bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8], lost: &[i16]) -> Vec<u8> {
        let mut passes = Vec::with_capacity(HEAD + bytes.len());
        while !bytes.is_empty() {
            if self.left == 0 {
                let missing = (HEAD - self.head.len()).min(bytes.len());
                let (head, rest) = bytes.split_at(missing);
                self.head.extend_from_slice(head);
                bytes = rest;
                let Ok([a, b, c, d, kind @ ..]) = <[u8; HEAD]>::try_from(&self.head[..]) else {
                    break;
                };
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                self.left = (length + 4).saturating_sub(HEAD);
                self.is_lost = lost.contains(&i16::from_be_bytes(kind));
                let head = std::mem::take(&mut self.head);
                if !self.is_lost {
                    passes.extend(head);
                }
            }
            let (its, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= its.len();
            bytes = rest;
            if !self.is_lost {
                passes.extend_from_slice(its);
            }
        }
        passes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: i16, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 2).unwrap();
        let parts = [&length.to_be_bytes()[..], &kind.to_be_bytes(), body];
        parts.concat()
    }

    #[test]
    fn requests_of_these_kinds_are_lost_however_they_come() {
        let (kept, lost) = (request(3, b"kept"), request(FETCH, b"lost"));
        let all = [&kept[..], &lost, &request(7, b""), &lost, &kept].concat();
        let rest = [&kept[..], &request(7, b""), &kept].concat();
        for size in 1..=all.len() {
            let mut sieve = Sieve::default();
            let passes = all.chunks(size).map(|some| sieve.pass(some, &[FETCH, 9]));
            assert_eq!(passes.collect::<Vec<_>>().concat(), rest, "{size}");
            let mut sieve = Sieve::default();
            let passes = all.chunks(size).map(|some| sieve.pass(some, &[]));
            assert_eq!(passes.collect::<Vec<_>>().concat(), all, "{size}");
        }
    }
}
