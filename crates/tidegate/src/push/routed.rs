//! Up to where this node has left events for whom they are. A session that opens is told as its cursor
//! what has been left before, and not what the bus has accepted: of that some may still be on its way to
//! the session, and would be missing for who comes back by that cursor before having it.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::bus::Position;

/// The number that was left last, by history.
#[derive(Debug, Default)]
pub(crate) struct Routed(Mutex<HashMap<Box<[u8]>, u64>>);

impl Routed {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An event was left for all it is for.
    pub(super) fn note(&self, position: Option<&Position>) {
        let Some(position) = position else { return };
        let mut routed = self.lock();
        match routed.get_mut(position.history()) {
            Some(number) => *number = position.number().max(*number),
            None => {
                routed.insert(position.history().into(), position.number());
            }
        }
    }

    /// How far a session that is there now has been told, of a history that ends there.
    pub(crate) fn up_to(&self, end: Position) -> Position {
        let routed = self.lock().get(end.history()).copied();
        match routed.filter(|number| *number < end.number()) {
            Some(number) => Position::new(end.history(), number),
            None => end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_more_than_was_left() {
        let routed = Routed::default();
        let at = |number| Position::new(b"h", number);
        assert_eq!(routed.up_to(at(5)), at(5));
        routed.note(Some(&at(3)));
        routed.note(None);
        assert_eq!(routed.up_to(at(5)), at(3));
        assert_eq!(routed.up_to(at(2)), at(2));
        let other = Position::new(b"i", 9);
        assert_eq!(routed.up_to(other.clone()), other);
    }
}
