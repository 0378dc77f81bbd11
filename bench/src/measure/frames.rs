//! Frame headers, read where they lie: nothing is copied or unmasked.

use std::ops::Range;

/// A whole frame within some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) opcode: u8,
    /// Where the payload lies, masked if it came so.
    pub(crate) payload: Range<usize>,
    pub(crate) key: Option<[u8; 4]>,
}

/// The frame at the beginning of `bytes`, once it is whole.
pub(crate) fn find(bytes: &[u8]) -> Option<Found> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    let (length, mut at) = match second & 0x7f {
        126 => (usize::from(u16::from_be_bytes(piece(bytes, 2)?)), 4),
        127 => (u64::from_be_bytes(piece(bytes, 2)?) as usize, 10),
        length => (usize::from(length), 2),
    };
    let mut key = None;
    if second & 0x80 != 0 {
        key = Some(piece(bytes, at)?);
        at += 4;
    }
    let payload = at..at.checked_add(length)?;
    (payload.end <= bytes.len()).then_some(Found {
        opcode: first & 0x0f,
        payload,
        key,
    })
}

fn piece<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// Writes an unmasked frame that ends its message.
pub(crate) fn write(opcode: u8, payload: &[u8], to: &mut Vec<u8>) {
    to.push(0x80 | opcode);
    match payload.len() {
        length @ 0..126 => to.push(length as u8),
        length @ 126..=0xffff => {
            to.push(126);
            to.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            to.push(127);
            to.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    to.extend_from_slice(payload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_tests::frame::{BINARY, Frame};

    #[test]
    fn a_frame_is_found_when_it_is_whole_and_not_before() {
        for size in [0, 125, 126, 0xffff, 0x10000] {
            let payload = vec![7; size];
            let bytes = Frame::new(BINARY, &payload).masked([1, 2, 3, 4]).bytes();
            assert_eq!(find(&bytes[..bytes.len() - 1]), None);
            let found = find(&bytes).unwrap();
            assert_eq!((found.opcode, found.key), (BINARY, Some([1, 2, 3, 4])));
            assert_eq!(found.payload, bytes.len() - size..bytes.len());
        }
    }

    #[test]
    fn what_is_written_is_what_the_tests_write() {
        for size in [0, 125, 126, 0xffff, 0x10000] {
            let payload = vec![9; size];
            let mut bytes = Vec::new();
            write(BINARY, &payload, &mut bytes);
            assert_eq!(bytes, Frame::new(BINARY, &payload).bytes());
        }
    }
}
