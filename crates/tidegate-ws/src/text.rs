//! Whether the payload of a text message is UTF-8 (RFC 6455 section 8.1), told while it passes.

use crate::frame::{Violation, apply_mask};

/// Masked payload is looked at in pieces of so many bytes, unmasked on the stack.
const PIECE: usize = 1024;

/// Where the check of one message stands. It keeps the beginning of a character, never a frame.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TextCheck {
    /// Bytes of a character that has begun.
    begun: [u8; 3],
    length: u8,
    /// The mask of the frame under way, turned to its next payload byte.
    mask: [u8; 4],
}

impl TextCheck {
    /// A frame of the message begins.
    pub(crate) fn begin_frame(&mut self, mask: Option<[u8; 4]>) {
        self.mask = mask.unwrap_or_default();
    }

    /// Looks at payload bytes as they stand on the wire; fails at the first that cannot be UTF-8,
    /// whatever follows.
    pub(crate) fn check(&mut self, wire: &[u8]) -> Result<(), Violation> {
        if self.mask == [0; 4] {
            return self.push(wire);
        }
        let mut piece = [0; PIECE];
        for masked in wire.chunks(PIECE) {
            let plain = &mut piece[..masked.len()];
            plain.copy_from_slice(masked);
            apply_mask(plain, self.mask, 0);
            self.mask.rotate_left(masked.len() & 3);
            self.push(plain)?;
        }
        Ok(())
    }

    /// The message is over: no character may be unfinished.
    pub(crate) const fn finish(&self) -> Result<(), Violation> {
        if self.length == 0 {
            Ok(())
        } else {
            Err(Violation::Text)
        }
    }

    /// Likewise, of payload bytes that are unmasked already.
    pub(crate) fn push(&mut self, mut plain: &[u8]) -> Result<(), Violation> {
        while self.length > 0 {
            let Some((&next, rest)) = plain.split_first() else {
                return Ok(());
            };
            plain = rest;
            self.complete(next)?;
        }
        let Err(error) = std::str::from_utf8(plain) else {
            return Ok(());
        };
        if error.error_len().is_some() {
            return Err(Violation::Text);
        }
        for &byte in plain.get(error.valid_up_to()..).unwrap_or_default() {
            self.begin(byte);
        }
        Ok(())
    }

    /// Adds a byte to the character that has begun.
    fn complete(&mut self, next: u8) -> Result<(), Violation> {
        let length = usize::from(self.length);
        let mut character = [0; 4];
        character[..length].copy_from_slice(&self.begun[..length]);
        character[length] = next;
        match std::str::from_utf8(&character[..=length]) {
            Ok(_) => self.length = 0,
            Err(error) if error.error_len().is_some() => return Err(Violation::Text),
            Err(_unfinished) => self.begin(next),
        }
        Ok(())
    }

    /// Keeps a byte of an unfinished character, which has at most three.
    fn begin(&mut self, byte: u8) {
        if let Some(place) = self.begun.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The verdict on `message` in frames that end at `cuts`, each in pieces of `step` bytes.
    fn judge(message: &[u8], cuts: &[usize], step: usize, mask: Option<[u8; 4]>) -> bool {
        let mut text = TextCheck::default();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (message.len() + 1)).collect();
        ends.push(message.len());
        ends.sort_unstable();
        let mut start = 0;
        for end in ends {
            let mut wire = message[start..end].to_vec();
            if let Some(mask) = mask {
                apply_mask(&mut wire, mask, 0);
            }
            text.begin_frame(mask);
            if wire.chunks(step).any(|piece| text.check(piece).is_err()) {
                return false;
            }
            start = end;
        }
        text.finish().is_ok()
    }

    #[test]
    fn the_first_wrong_byte_is_enough() {
        for (good, bad) in [
            (&b""[..], 0x80),
            (b"", 0xc0),
            (b"a", 0xff),
            (b"\xe0", 0x9f),
            (b"\xed", 0xa0), // a surrogate
            (b"\xf0", 0x8f),
            (b"\xf4", 0x90), // above U+10FFFF
            (b"\xf0\x9f\x98", b'x'),
            (b"\xc3", b'x'),
        ] {
            let mut text = TextCheck::default();
            assert_eq!(text.check(good), Ok(()), "{good:x?}");
            assert_eq!(
                text.check(&[bad]),
                Err(Violation::Text),
                "{good:x?} {bad:x}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_judged_as_std_judges_the_whole(
            message in prop::collection::vec(any::<u8>(), 0..40),
            cuts in prop::collection::vec(any::<usize>(), 0..5),
            step in 1..10_usize,
            mask in any::<Option<[u8; 4]>>(),
        ) {
            let expected = std::str::from_utf8(&message).is_ok();
            prop_assert_eq!(judge(&message, &cuts, step, mask), expected);
        }

        #[test]
        fn texts_with_one_byte_changed_too(
            message in "\\PC{0,800}",
            place in any::<usize>(),
            byte in any::<u8>(),
            cuts in prop::collection::vec(any::<usize>(), 0..5),
            step in 1..3000_usize,
            mask in any::<Option<[u8; 4]>>(),
        ) {
            let mut message = message.into_bytes();
            prop_assert!(judge(&message, &cuts, step, mask));
            if !message.is_empty() {
                let place = place % message.len();
                message[place] = byte;
            }
            let expected = std::str::from_utf8(&message).is_ok();
            prop_assert_eq!(judge(&message, &cuts, step, mask), expected);
        }
    }
}
