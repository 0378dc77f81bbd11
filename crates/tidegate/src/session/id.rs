//! The names of sessions and connections: `s_` and 16 characters, `c_` and 11, that cannot be guessed.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

const PREFIX: &str = "s_";
const LETTERS: usize = 16;

/// A session's id, the same in every answer as long as the session lives. Among its bytes is its
/// place in the registry, so that it is found without a search.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SessionId {
    secret: [u8; 8],
    slot: [u8; 4],
}

/// A connection's id. A session's begins with the bytes of its connection's, so that nothing more has
/// to be kept for it; a connection becomes one session at most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnectionId([u8; 8]);

/// A text that is no session's id.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotAnId;

impl SessionId {
    /// The id of the session at `slot` that the connection has become.
    pub(super) fn new(connection: ConnectionId, slot: usize) -> Self {
        Self {
            secret: connection.0,
            slot: u32::try_from(slot).unwrap_or(u32::MAX).to_be_bytes(),
        }
    }

    /// The connection that it was.
    pub(crate) const fn connection(self) -> ConnectionId {
        ConnectionId(self.secret)
    }

    /// The place in its worker's registry.
    pub(crate) const fn slot(self) -> usize {
        u32::from_be_bytes(self.slot) as usize
    }

    fn bytes(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&self.secret);
        bytes[8..].copy_from_slice(&self.slot);
        bytes
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Twelve bytes are sixteen letters, exactly.
        write_id(f, PREFIX, &self.bytes(), &mut [0; LETTERS])
    }
}

impl ConnectionId {
    /// The id of the `count`th connection of those that share `keys`. A keyed hash of a number cannot
    /// be guessed without the keys, which the system chose.
    pub(super) fn new(keys: &RandomState, count: u64) -> Self {
        Self(keys.hash_one(count).to_be_bytes())
    }

    /// One for tests and fuzz targets, which look at no id.
    #[cfg(any(test, fuzzing))]
    pub(crate) const fn sample() -> Self {
        Self([0; 8])
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_id(f, "c_", &self.0, &mut [0; 11])
    }
}

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes `bytes` as `letters`, which have room for them.
fn write_id(
    f: &mut fmt::Formatter<'_>,
    prefix: &str,
    bytes: &[u8],
    letters: &mut [u8],
) -> fmt::Result {
    let written = BASE64_URL_SAFE_NO_PAD.encode_slice(bytes, letters);
    let letters = &letters[..written.unwrap_or(0)];
    f.write_str(prefix)?;
    f.write_str(str::from_utf8(letters).unwrap_or_default())
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SessionId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let letters = text.strip_prefix(PREFIX).ok_or(NotAnId)?;
        if letters.len() != LETTERS {
            return Err(NotAnId);
        }
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(letters);
        let bytes = bytes.map_err(|_no_letters| NotAnId)?;
        let (secret, slot) = bytes.split_first_chunk().ok_or(NotAnId)?;
        Ok(Self {
            secret: *secret,
            slot: slot.try_into().map_err(|_other_length| NotAnId)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_id_is_read_as_it_was_written() {
        let keys = RandomState::new();
        for slot in [0, 1, 63, 64, 99_999, u32::MAX as usize] {
            let id = SessionId::new(ConnectionId::new(&keys, 7), slot);
            let text = id.to_string();
            assert_eq!(text.len(), 18, "{text}");
            assert_eq!(text.parse(), Ok(id), "{text}");
            assert_eq!(id.slot(), slot);
        }
        for wrong in [
            "",
            "s_",
            "s_AAAAAAAAAAAAAAA",
            "s_AAAAAAAAAAAAAAAAA",
            "c_AAAAAAAAAAAAAAAA",
        ] {
            assert_eq!(wrong.parse::<SessionId>(), Err(NotAnId), "{wrong}");
        }
        assert!("s_AAAAAAAAAAAAAAA=".parse::<SessionId>().is_err());
        assert!("s_AAAAAAAAAAAAAAé".parse::<SessionId>().is_err());
    }

    #[test]
    fn a_place_that_is_taken_again_has_another_id() {
        let keys = RandomState::new();
        let ids: HashSet<_> = (0..1000)
            .map(|count| SessionId::new(ConnectionId::new(&keys, count), 5).to_string())
            .collect();
        assert_eq!(ids.len(), 1000);
        let connection = ConnectionId([1, 2, 3, 4, 5, 6, 7, 255]);
        assert_eq!(connection.to_string(), "c_AQIDBAUGB_8");
        let session = SessionId::new(connection, 1).to_string();
        assert_eq!(session, "s_AQIDBAUGB_8AAAAB");
    }
}
