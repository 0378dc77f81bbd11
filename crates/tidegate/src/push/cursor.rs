//! Cursors: what a client is told with a push, and gives back to whichever node it comes to, so that it
//! gets what came behind. A cursor says where in the history of its topic the push stands; it is signed
//! and good for its user alone, so that nobody can ask for what is not theirs, or at a place that was
//! never told.

use std::sync::LazyLock;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::bus::{Position, position};
use crate::config::Secret;

/// What the signed bytes begin with.
const VERSION: &[u8] = b"tidegate-cursor-1\n";
const PREFIX: &str = "p_";
/// Bytes of the signature; half of what HMAC-SHA-256 gives (RFC 2104 section 5).
const SIGNATURE: usize = 16;
/// The most bytes of a cursor's text.
const LONGEST: usize = 256;

/// The key of a process that was given none.
static OWN: LazyLock<Option<[u8; 32]>> = LazyLock::new(|| {
    let mut key = [0; 32];
    SystemRandom::new().fill(&mut key).ok().map(|()| key)
});

/// Writes and reads the cursors of one topic.
#[derive(Debug)]
pub(crate) struct Cursors {
    key: Key,
    topic: Box<str>,
}

impl Cursors {
    /// Those that are signed with `key`; without one they are good in this process alone. `None`: there
    /// is nothing to make a key of.
    pub(crate) fn new(key: Option<&Secret>, topic: &str) -> Option<Self> {
        let own = match key {
            Some(_) => None,
            None => Some((*OWN)?),
        };
        let key = key.map(Secret::reveal).or(own.as_ref().map(|own| &own[..]));
        Some(Self {
            key: Key::new(HMAC_SHA256, key?),
            topic: topic.into(),
        })
    }

    /// The cursor of `user` at that place; `None`: it would be too long to come back.
    pub(crate) fn write(&self, user: &str, position: &Position) -> Option<String> {
        let mut cursor = Vec::new();
        self.append(user, position, &mut cursor)?;
        String::from_utf8(cursor).ok()
    }

    /// Writes the same behind what is there.
    pub(super) fn append(&self, user: &str, position: &Position, to: &mut Vec<u8>) -> Option<()> {
        // Of each push to each session: nothing is allocated for it.
        let mut bytes = [0; position::LONGEST + SIGNATURE];
        let place = position.as_bytes();
        let bytes = bytes.get_mut(..place.len() + SIGNATURE)?;
        let (first, last) = bytes.split_at_mut_checked(place.len())?;
        first.copy_from_slice(place);
        last.copy_from_slice(&self.sign(user, position));
        let mut letters = [0; LONGEST - PREFIX.len()];
        let written = BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, &mut letters);
        let letters = letters.get(..written.ok()?)?;
        to.extend_from_slice(PREFIX.as_bytes());
        to.extend_from_slice(letters);
        Some(())
    }

    /// The place of a cursor of this user; `None`: it is none that was written for it here, whatever else
    /// it may be.
    pub(crate) fn read(&self, user: &str, cursor: &str) -> Option<Position> {
        let letters = cursor.strip_prefix(PREFIX)?;
        let letters = Some(letters).filter(|_| cursor.len() <= LONGEST)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(letters).ok()?;
        let (place, signature) = bytes.split_last_chunk::<SIGNATURE>()?;
        let position = Position::from_bytes(place)?;
        let expected = self.sign(user, &position);
        verify_slices_are_equal(&expected, signature).ok()?;
        Some(position)
    }

    fn sign(&self, user: &str, position: &Position) -> [u8; SIGNATURE] {
        let mut context = Context::with_key(&self.key);
        context.update(VERSION);
        for text in [&*self.topic, user] {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        }
        context.update(position.as_bytes());
        let mut signature = [0; SIGNATURE];
        for (to, from) in signature.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        signature
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cursors(key: &str, topic: &str) -> Cursors {
        Cursors::new(Some(&Secret::new(key)), topic).unwrap()
    }

    #[test]
    fn a_cursor_is_good_for_its_user_its_topic_and_its_key() {
        let ours = cursors("k1", "t");
        let place = Position::new(b"history!", 7);
        let cursor = ours.write("u1", &place).unwrap();
        assert_eq!(ours.read("u1", &cursor), Some(place.clone()));
        assert_eq!(cursors("k1", "t").read("u1", &cursor), Some(place.clone()));
        assert_eq!(ours.read("u2", &cursor), None);
        assert_eq!(cursors("k1", "tu").read("1", &cursor), None);
        assert_eq!(cursors("k2", "t").read("u1", &cursor), None);
        let own = Cursors::new(None, "t").unwrap();
        assert_eq!(own.read("u1", &cursor), None);
        let cursor = own.write("u1", &place).unwrap();
        assert_eq!(own.read("u1", &cursor), Some(place));
    }

    #[test]
    fn a_place_that_could_not_come_back_has_no_cursor() {
        let ours = cursors("k", "t");
        assert_eq!(ours.write("u", &Position::new(&[0; 121], 1)), None);
        let longest = Position::new(&[0; 120], 1);
        let cursor = ours.write("u", &longest).unwrap();
        assert_eq!(ours.read("u", &cursor), Some(longest));
    }

    proptest! {
        #[test]
        fn nothing_else_is_read(
            number in any::<u64>(),
            place in 0..45_usize,
            letter in "[A-Za-z0-9_-]",
        ) {
            let ours = cursors("k1", "t");
            let position = Position::new(b"history!", number);
            let cursor = ours.write("u1", &position).unwrap();
            prop_assert_eq!(cursor.len(), PREFIX.len() + 43);
            let place = place.min(cursor.len() - 1);
            let mut other = cursor.clone();
            other.replace_range(place..=place, &letter);
            prop_assert_eq!(ours.read("u1", &other).is_some(), other == cursor);
            prop_assert_eq!(ours.read("u1", &cursor[..place]), None);
        }

        #[test]
        fn any_text_is_taken(text in ".{0,300}") {
            prop_assert_eq!(cursors("k1", "t").read("u1", &text), None);
        }
    }
}
