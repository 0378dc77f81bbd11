//! Up to where this node has left events for whom they are. A session that opens is told as its cursor
//! what has been left before, and not what the bus has accepted: of that some may still be on its way to
//! the session, and would be missing for who comes back by that cursor before having it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::bus::{Backlog, Position};

/// The number that was left last, by history.
#[derive(Debug, Default)]
pub(crate) struct Routed {
    numbers: Mutex<HashMap<Box<[u8]>, u64>>,
    /// What the bus leaves here.
    backlog: OnceLock<Backlog>,
    /// How much of that was left for whom it is.
    done: AtomicU64,
}

impl Routed {
    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, u64>> {
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on events come from there.
    pub(super) fn begin(&self, backlog: Backlog) {
        // There is one router.
        let _again = self.backlog.set(backlog);
    }

    /// An event was left for all it is for.
    pub(super) fn note(&self, position: Option<&Position>) {
        if let Some(position) = position {
            put(&mut self.lock(), position);
        }
        self.done.fetch_add(1, Ordering::Release);
    }

    /// Whether nothing is on its way of what the bus has left here until now.
    fn is_idle(&self) -> bool {
        let left = self.backlog.get().map(Backlog::left);
        left.is_some_and(|left| self.done.load(Ordering::Acquire) >= left)
    }

    /// How far a session that is there now has been told, of a history that ended there a moment ago.
    /// `None`: some of it is on its way, and it is not known from where on.
    pub(crate) fn up_to(&self, end: Position) -> Option<Position> {
        // What was left is surer than that nothing is on its way: a bus may know of more than it leaves here.
        let known = self.lock().get(end.history()).copied();
        if let Some(number) = known {
            return Some(Position::new(end.history(), number.min(end.number())));
        }
        if !self.is_idle() {
            return None;
        }
        put(&mut self.lock(), &end);
        Some(end)
    }
}

fn put(numbers: &mut HashMap<Box<[u8]>, u64>, position: &Position) {
    match numbers.get_mut(position.history()) {
        Some(number) => *number = position.number().max(*number),
        None => {
            numbers.insert(position.history().into(), position.number());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;
    use crate::bus::{
        Event, EventBus as _, MemoryBus, Payload, PushEvent, PushTarget, Subscription,
    };

    /// A bus that keeps histories, what is routed of it, and what is not yet.
    fn routing() -> (MemoryBus, Routed, Subscription) {
        let (bus, routed) = (MemoryBus::default(), Routed::default());
        let subscription = bus.subscribe("push");
        routed.begin(subscription.backlog());
        (bus, routed, subscription)
    }

    fn publish(bus: &MemoryBus) -> Position {
        let data = RawValue::from_string("1".to_owned()).unwrap();
        let push = PushEvent::new([PushTarget::User("bro".into())], "told", data);
        let payload = Payload::Push(Box::new(push));
        let event = Event::now("push".into(), Some("bro".into()), payload);
        bus.offer(event).unwrap();
        bus.end("push", "bro").unwrap()
    }

    #[test]
    fn nobody_is_told_more_than_was_left() {
        let (bus, routed, mut subscription) = routing();
        let none = bus.end("push", "bro").unwrap();
        // What is behind the very first event may be on its way, though nothing was routed before.
        let one = publish(&bus);
        assert_eq!(routed.up_to(one.clone()), None);
        let _taken = subscription.try_receive();
        assert_eq!(routed.up_to(one.clone()), None, "it is taken, and not left");
        routed.note(Some(&one));
        assert_eq!(routed.up_to(one.clone()), Some(one.clone()));
        let two = publish(&bus);
        assert_eq!(routed.up_to(two.clone()), Some(one));
        assert_eq!(routed.up_to(none.clone()), Some(none));
        routed.note(Some(&two));
        assert_eq!(routed.up_to(two.clone()), Some(two));
    }

    #[test]
    fn what_ended_while_nothing_came_is_known_after() {
        let (bus, routed, _subscription) = routing();
        let none = bus.end("push", "bro").unwrap();
        assert_eq!(routed.up_to(none.clone()), Some(none.clone()));
        let one = publish(&bus);
        assert_eq!(routed.up_to(one), Some(none));
        // A partition, perhaps, of which nothing was asked.
        assert_eq!(routed.up_to(Position::new(b"other", 9)), None);
        routed.note(None);
        let other = Position::new(b"other", 9);
        assert_eq!(routed.up_to(other.clone()), Some(other));
    }

    #[test]
    fn where_nothing_is_routed_nothing_is_known() {
        let end = Position::new(b"h", 5);
        assert_eq!(Routed::default().up_to(end), None);
    }
}
