//! The little of DER that certificates need: a reader that never reads beyond its input.

/// Tags that are looked for.
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BITS: u8 = 0x03;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// Reads one element behind the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reader<'a>(&'a [u8]);

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) value: &'a [u8],
    /// With its tag and length.
    pub(crate) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The next element; `None` at the end, and where it is not well formed.
    pub(crate) fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, rest) = self.0.split_first()?;
        // Tags of more than one byte stand in no certificate.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
                (length, rest)
            }
            _ => return None,
        };
        let (value, rest) = rest.split_at_checked(length)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some(Element { tag, value, whole })
    }

    /// The next element, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }

    /// The next element where it has this tag; else nothing is read.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        (self.0.first() == Some(&tag))
            .then(|| self.next())
            .flatten()
    }
}

impl<'a> Element<'a> {
    /// What stands within.
    pub(crate) const fn inside(&self) -> Reader<'a> {
        Reader::new(self.value)
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        Reader::next(self)
    }
}

/// An object identifier in dots; `None` where it is none.
pub(crate) fn dotted(oid: &[u8]) -> Option<String> {
    let mut arcs: Vec<u64> = Vec::new();
    let mut arc: u64 = 0;
    for byte in oid {
        arc = arc.checked_mul(128)? + u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            arcs.push(arc);
            arc = 0;
        }
    }
    let first = *arcs.first()?;
    if oid.last()? & 0x80 != 0 {
        return None;
    }
    let root = (first / 40).min(2);
    let rest = arcs.iter().skip(1).map(u64::to_string);
    let text: Vec<_> = [root.to_string(), (first - 40 * root).to_string()]
        .into_iter()
        .chain(rest)
        .collect();
    Some(text.join("."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_one_behind_the_other() {
        let bytes = [0x30, 3, 0x02, 1, 7, 0x04, 0x81, 1, 9];
        let mut reader = Reader::new(&bytes);
        let sequence = reader.expect(SEQUENCE).unwrap();
        assert_eq!(sequence.whole, &bytes[..5]);
        assert_eq!(sequence.inside().expect(INTEGER).unwrap().value, [7]);
        assert!(reader.optional(INTEGER).is_none());
        assert_eq!(reader.expect(OCTETS).unwrap().value, [9]);
        assert!(reader.next().is_none());
    }

    #[test]
    fn identifiers() {
        assert_eq!(dotted(&[0x55, 4, 3]).unwrap(), "2.5.4.3");
        let mail = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
        assert_eq!(dotted(&mail).unwrap(), "1.2.840.113549.1.9.1");
        assert_eq!(dotted(&[]), None);
        assert_eq!(dotted(&[0x55, 0x84]), None);
        assert_eq!(dotted(&[0xff; 20]), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_none_beyond(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let whole: usize = Reader::new(&bytes).map(|element| element.whole.len()).sum();
            prop_assert!(whole <= bytes.len());
            let _ = dotted(&bytes);
        }
    }
}
