//! An event on its way into mailboxes: encoded once for each of the two shapes, whoever gets it.

use std::io::Write as _;
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use tidegate_ws::Message;
use tokio::time::Instant;

use super::cursor::Cursors;
use super::outcome::Acks;
use super::rooms::Epoch;
use crate::bus::{Event, EventId, Position, PushClass, PushEvent, PushTarget};

/// What a mailbox is charged for beside the texts of an event.
const OVERHEAD: usize = 128;
/// Room for what stands before what all who get it share.
const HEAD: usize = 128;

/// An event, once it is known whom it is for.
#[derive(Debug)]
pub(crate) struct Parcel {
    /// The event's: what is published again keeps it.
    pub(super) id: EventId,
    push: PushEvent,
    /// When its event happened, in milliseconds since 1970.
    time: u128,
    /// The same by the clock that is never set.
    pub(super) begun: Instant,
    /// When it came here.
    pub(super) made: Instant,
    /// Where it is told to a room.
    place: Option<Place>,
    /// Where it is told to users by their names, and they can ask for it again.
    position: Option<Position>,
    /// What stands behind `seq`.
    version_1: OnceLock<Box<[u8]>>,
    /// What stands behind `username`.
    legacy: OnceLock<Box<[u8]>>,
    /// Who counts the clients that have it.
    pub(super) acks: Option<Arc<Acks>>,
}

/// The room that a push is told to, and where it stands among the pushes of that room.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) room: Arc<str>,
    /// The room's epoch and the push's number in it, where who has missed it can ask for it.
    pub(super) at: Option<(Epoch, u64)>,
}

impl Parcel {
    /// What `push` is, of the event `event`.
    pub(super) fn new(event: &Event, push: PushEvent, acks: Option<Arc<Acks>>) -> Self {
        let since = event.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let age = event.time.elapsed().unwrap_or_default();
        let now = Instant::now();
        Self {
            id: event.id,
            push,
            time: since.as_millis(),
            begun: now.checked_sub(age).unwrap_or(now),
            made: now,
            place: None,
            position: None,
            version_1: OnceLock::new(),
            legacy: OnceLock::new(),
            acks,
        }
    }

    /// The same for users by their names.
    pub(super) fn for_users(event: &Event, push: PushEvent, acks: Option<Arc<Acks>>) -> Self {
        let is_kept = push.class == PushClass::Resumable;
        Self {
            position: event.position.clone().filter(|_| is_kept),
            ..Self::new(event, push, acks)
        }
    }

    /// The same for a user who has missed it.
    pub(crate) fn again(event: &Event, push: &PushEvent, user: &str) -> Self {
        let push = PushEvent {
            targets: [PushTarget::User(user.into())].into(),
            ..with_no_target(push)
        };
        Self::for_users(event, push, None)
    }

    /// The same for the members of one room.
    pub(super) fn in_room(
        event: &Event,
        push: &PushEvent,
        acks: Option<Arc<Acks>>,
        place: Place,
    ) -> Self {
        Self {
            place: Some(place),
            ..Self::new(event, with_no_target(push), acks)
        }
    }

    /// What it is charged for, whichever shape it takes.
    pub(super) fn size(&self) -> usize {
        let push = &self.push;
        let room = self.place.as_ref().map_or(0, |place| place.room.len());
        push.data.get().len() + push.event.len() + push.source.len() + room + OVERHEAD
    }

    /// Whether a client that has `other` can do without this one: the same event of the same room has the
    /// same key.
    pub(super) fn is_replaced_by(&self, other: &Self) -> bool {
        let room = |parcel: &Self| parcel.place.as_ref().map(|place| Arc::clone(&place.room));
        let (one, two) = (&self.push, &other.push);
        one.key.is_some()
            && (&one.key, &one.event) == (&two.key, &two.event)
            && room(self) == room(other)
    }

    /// Where it stands in the history of its users.
    pub(super) const fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Whether it is kept until its client has it, and sent again where that may be.
    pub(super) fn is_kept(&self) -> bool {
        self.push.class == PushClass::Resumable
    }

    /// Whether it is held until its client has it: it is kept, or somebody waits for word of that.
    pub(super) fn is_held(&self) -> bool {
        self.is_kept() || self.acks.is_some()
    }

    /// Whether it is for sessions by their names, and for nobody else.
    pub(super) fn is_for_sessions(&self) -> bool {
        let mut targets = self.push.targets.iter();
        targets.all(|target| matches!(target, PushTarget::Session(_)))
    }

    /// As version 1 has it (`docs/bridge.md`), for who can read such a cursor.
    pub(super) fn version_1(&self, seq: u64, reader: Option<(&Cursors, &str)>) -> Message {
        let tail = self.version_1.get_or_init(|| self.version_1_tail());
        let mut head = Vec::with_capacity(HEAD);
        // Nothing that is written to memory fails.
        let _ = write!(head, "{{\"op\":\"push\",\"seq\":{seq},");
        if let Some((place, (cursors, user))) = self.position.as_ref().zip(reader) {
            let begun = head.len();
            head.extend_from_slice(b"\"cursor\":\"");
            match cursors.append(user, place, &mut head) {
                Some(()) => head.extend_from_slice(b"\","),
                None => head.truncate(begun),
            }
        }
        joined(&head, tail)
    }

    /// As the old protocol has it, for `user`: rows B-030 and B-036.
    pub(super) fn legacy(&self, user: Option<&str>) -> Message {
        let tail = self.legacy.get_or_init(|| self.legacy_tail());
        let mut head = b"{".to_vec();
        if let Some(user) = user {
            member("username", user, &mut head);
        }
        joined(&head, tail)
    }

    fn version_1_tail(&self) -> Box<[u8]> {
        let push = &self.push;
        let mut tail = Vec::with_capacity(self.size());
        if let Some(place) = &self.place {
            member("room", &place.room, &mut tail);
            if let Some((epoch, seq)) = &place.at {
                let at = format!("\"at\":{{\"epoch\":\"{epoch}\",\"seq\":{seq}}},");
                tail.extend_from_slice(at.as_bytes());
            }
        }
        member("event", &push.event, &mut tail);
        if let Some(user) = &push.from {
            member("from", user, &mut tail);
        }
        if !push.source.is_empty() {
            member("source", &push.source, &mut tail);
        }
        tail.extend_from_slice(b"\"ts\":");
        tail.extend_from_slice(self.time.to_string().as_bytes());
        tail.extend_from_slice(b",\"data\":");
        tail.extend_from_slice(push.data.get().as_bytes());
        let wants_ack = push.ack || self.acks.is_some();
        tail.extend_from_slice(if wants_ack { b",\"ack\":true}" } else { b"}" });
        tail.into()
    }

    fn legacy_tail(&self) -> Box<[u8]> {
        let push = &self.push;
        let mut tail = Vec::with_capacity(self.size());
        match &push.legacy {
            Some(legacy) => {
                member("type", &legacy.kind, &mut tail);
                member("baseUrl", &legacy.base_url, &mut tail);
                member("uri", &legacy.uri, &mut tail);
            }
            None => {
                member("type", "GET", &mut tail);
                match &*push.source {
                    "" => member("baseUrl", "", &mut tail),
                    source => member("baseUrl", &format!("http://{source}"), &mut tail),
                }
                member("uri", &push.event, &mut tail);
            }
        }
        tail.extend_from_slice(b"\"body\":");
        tail.extend_from_slice(push.data.get().as_bytes());
        tail.push(b'}');
        tail.into()
    }
}

/// The same for whoever it is: there may be many targets.
fn with_no_target(push: &PushEvent) -> PushEvent {
    PushEvent {
        source: push.source.clone(),
        from: push.from.clone(),
        key: push.key.clone(),
        class: push.class,
        ack: push.ack,
        legacy: push.legacy.clone(),
        ..PushEvent::new([], push.event.clone(), push.data.clone())
    }
}

/// A text member, with a comma behind it: another follows.
fn member(name: &str, value: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend_from_slice(name.as_bytes());
    into.extend_from_slice(b"\":");
    // Nothing that is written to memory fails.
    let _ = serde_json::to_writer(&mut *into, value);
    into.push(b',');
}

/// One text of two pieces, in a buffer that is not a byte too large: it would be copied again.
fn joined(head: &[u8], tail: &[u8]) -> Message {
    let mut text = Vec::with_capacity(head.len() + tail.len());
    text.extend_from_slice(head);
    text.extend_from_slice(tail);
    // All of it came from strings.
    Message::text(String::from_utf8(text).unwrap_or_default())
}

#[cfg(test)]
pub(super) mod testing {
    use serde_json::value::RawValue;

    use super::*;
    use crate::bus::{Payload, PushTarget};

    /// A push of so many bytes of data.
    pub(in super::super) fn push(event: &str, data: &str) -> PushEvent {
        let data = RawValue::from_string(data.to_owned()).unwrap();
        PushEvent::new([PushTarget::All], event, data)
    }

    pub(in super::super) fn parcel(push: &PushEvent, acks: Option<Arc<Acks>>) -> Arc<Parcel> {
        let event = Event::now("t".into(), None, Payload::Push(Box::new(push.clone())));
        Arc::new(Parcel::new(&event, push.clone(), acks))
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{parcel, push};
    use super::*;
    use crate::bus::{LegacyPush, Payload};

    fn text(message: &Message) -> &str {
        message.as_text().unwrap()
    }

    #[test]
    fn what_is_told_is_told_as_it_came_in_either_shape() {
        let mut one = push("a\"b", "{\"n\": 1.50,\"s\":\"\\u0041\"}");
        one.source = "src".into();
        one.ack = true;
        let parcel = parcel(&one, None);
        let time = parcel.time;
        let expected = format!(
            "{{\"op\":\"push\",\"seq\":7,\"event\":\"a\\\"b\",\"source\":\"src\",\"ts\":{time},\
             \"data\":{{\"n\": 1.50,\"s\":\"\\u0041\"}},\"ack\":true}}"
        );
        assert_eq!(text(&parcel.version_1(7, None)), expected);
        assert_eq!(
            text(&parcel.legacy(Some("u\"4"))),
            "{\"username\":\"u\\\"4\",\"type\":\"GET\",\"baseUrl\":\"http://src\",\
             \"uri\":\"a\\\"b\",\"body\":{\"n\": 1.50,\"s\":\"\\u0041\"}}"
        );
    }

    #[test]
    fn what_came_in_the_old_shape_keeps_it() {
        let mut one = push("x?y", "null");
        one.legacy = Some(Box::new(LegacyPush {
            kind: "PUT".into(),
            base_url: "lb://s/b".into(),
            uri: "x?y".into(),
        }));
        let parcel = parcel(&one, None);
        assert_eq!(
            text(&parcel.legacy(None)),
            "{\"type\":\"PUT\",\"baseUrl\":\"lb://s/b\",\"uri\":\"x?y\",\"body\":null}"
        );
        let event = Event::now("t".into(), None, Payload::Push(Box::new(one.clone())));
        let place = Place {
            room: "r".into(),
            at: None,
        };
        let version_1 = Parcel::in_room(&event, &one, None, place).version_1(u64::MAX, None);
        let said: serde_json::Value = serde_json::from_str(text(&version_1)).unwrap();
        assert_eq!(
            (&said["room"], &said["event"]),
            (&"r".into(), &"x?y".into())
        );
        assert_eq!(said["seq"], u64::MAX);
    }
}
