//! Values that nobody may read in a log.

use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

/// A secret. It cannot be printed, and is compared in a time that does not tell how much of it was
/// right.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Keeps `text` secret.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().into())
    }

    /// Keeps `bytes` secret.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Whether `given` is it. How long it takes depends on the length of `given` alone.
    #[must_use]
    pub fn is(&self, given: &[u8]) -> bool {
        let mut difference = self.0.len() ^ given.len();
        // An empty secret is nobody's.
        let secret = self.0.iter().cycle();
        for (secret, given) in secret.zip(given) {
            difference |= usize::from(black_box(secret ^ given));
        }
        difference == 0 && !self.0.is_empty()
    }

    /// The secret itself, for whoever must tell it to somebody.
    #[must_use]
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }

    /// How many bytes it has.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_is_the_secret() {
        let secret = Secret::new("hunter22");
        assert!(secret.is(b"hunter22"));
        for wrong in [
            "",
            "hunter2",
            "hunter222",
            "hunter23",
            "Hunter22",
            "hunter22hunter22",
        ] {
            assert!(!secret.is(wrong.as_bytes()), "{wrong}");
        }
        assert!(!Secret::new("").is(b""));
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
