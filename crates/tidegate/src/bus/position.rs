//! Where events stand in what is kept of them, and what comes again of that.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::Event;

/// The bytes of a number.
const NUMBER: usize = size_of::<u64>();
/// The most bytes of one that clients can be told.
pub(crate) const LONGEST: usize = 128;

/// Where an event stands in a history: which history that is, and the event's number in it. Only the bus
/// that has given it knows what history is meant: that of a process, perhaps, or a partition of a
/// broker's topic in one of its epochs. It must be another whenever numbers begin anew.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Position(Box<[u8]>);

impl Position {
    /// The event of that number in `history`, whose name has 120 bytes at most, and should be short: clients
    /// are told it.
    ///
    /// Numbers of the events of one key grow in the order in which they are seen.
    #[must_use]
    pub fn new(history: &[u8], number: u64) -> Self {
        Self([history, &number.to_be_bytes()].concat().into())
    }

    /// One that was written by [`Position::as_bytes`]; `None`: these bytes cannot be one.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (NUMBER..=LONGEST)
            .contains(&bytes.len())
            .then(|| Self(bytes.into()))
    }

    /// Its bytes: of the history's name, then eight of the number.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The name of its history.
    #[must_use]
    pub fn history(&self) -> &[u8] {
        self.parts().0
    }

    /// The event's number.
    #[must_use]
    pub fn number(&self) -> u64 {
        u64::from_be_bytes(self.parts().1)
    }

    fn parts(&self) -> (&[u8], [u8; NUMBER]) {
        let parts = self.0.split_last_chunk();
        parts.map_or((&[], [0; NUMBER]), |(history, number)| (history, *number))
    }
}

/// Positions of different histories do not compare.
impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        let is_one = self.history() == other.history();
        is_one.then(|| self.number().cmp(&other.number()))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Position(")?;
        for byte in self.history() {
            write!(f, "{byte:02x}")?;
        }
        write!(f, ":{})", self.number())
    }
}

/// How much may come again at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Events.
    pub events: usize,
    /// Bytes of them, as [`Event::size`] counts.
    pub bytes: usize,
}

/// What comes again.
#[derive(Debug, Clone, Default)]
pub struct Replay {
    /// Oldest first, each of them once, with their positions.
    pub events: Vec<Arc<Event>>,
    /// Whether that is all there was. Where it is not, nothing is sure about `events`.
    pub is_complete: bool,
}

impl Replay {
    /// It cannot be said what there was.
    #[must_use]
    pub fn incomplete() -> Self {
        Self::default()
    }

    /// Nothing is missing between these.
    #[must_use]
    pub const fn complete(events: Vec<Arc<Event>>) -> Self {
        Self {
            events,
            is_complete: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written_and_compares_within_its_history() {
        let one = Position::new(b"h", 255);
        assert_eq!(Position::from_bytes(one.as_bytes()), Some(one.clone()));
        assert_eq!((one.history(), one.number()), (&b"h"[..], 255));
        assert!(one < Position::new(b"h", 256));
        assert_eq!(one.partial_cmp(&Position::new(b"i", 256)), None);
        assert_eq!(Position::new(b"", 7).number(), 7);
        for wrong in [&b""[..], b"1234567", &[0; LONGEST + 1]] {
            assert_eq!(Position::from_bytes(wrong), None);
        }
    }
}
