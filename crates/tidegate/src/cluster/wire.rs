//! What nodes say to each other: JSON, a message each.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bus::{Event, LegacyPush, Payload, PushClass, PushEvent, PushTarget};

/// A message, and who says it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) from: Box<str>,
    pub(super) say: Say,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Say {
    /// A node has joined: it is a member from now on.
    Joined,
    /// It has left.
    Left,
    /// The link is whole.
    Beat { number: u64 },
    /// A push, for whoever is on the node.
    Push(Push),
    /// What becomes of an event that is published next is to be told: for how many sessions it was left,
    /// and, where they have so many milliseconds to say so, how many clients have it.
    Expect {
        event: Box<str>,
        ask: u64,
        patience: Option<u64>,
    },
    /// Something was revoked.
    Revoked,
    /// Sessions are to be counted anew: there are too many, or as many as there may be, or fewer again.
    Counted,
    /// Users who have as many sessions as they may, and who have fewer; each of a route, or in all.
    Full {
        full: Vec<(Option<Box<str>>, Box<str>)>,
        roomy: Vec<(Option<Box<str>>, Box<str>)>,
    },
    /// Sessions that are too many: for newer ones, or because there are as many as there may be.
    Over {
        sessions: Vec<Box<str>>,
        for_newer: bool,
    },
    /// Something to do, and to answer how often that was done.
    Ask { ask: u64, order: Order },
    /// How often; there are two rounds where clients are asked.
    Answer { ask: u64, round: u8, count: u64 },
}

/// What one node asks of the others.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// End a session.
    EndSession {
        session: Box<str>,
        code: Option<u16>,
        reason: Option<Box<str>>,
    },
    /// End all sessions of a user, also those that wait for their clients.
    EndUser {
        user: Box<str>,
        code: Option<u16>,
        reason: Option<Box<str>>,
    },
    /// Take back the token of a session.
    RevokeSession { session: Box<str> },
    /// Take tokens back, and end what is open by them. Times are in microseconds since 1970.
    Revoke {
        what: Box<str>,
        until: Option<u64>,
        ends: Option<u64>,
    },
}

/// A push on its way to another node.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Push {
    id: Box<str>,
    /// In microseconds since 1970.
    time: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ordered_by: Option<Box<str>>,
    targets: Vec<Target>,
    event: Box<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    source: Box<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    from: Option<Box<str>>,
    data: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    live: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    ack: bool,
    /// `type`, `baseUrl` and `uri` of the old shape.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    legacy: Option<[Box<str>; 3]>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    User(Box<str>),
    Session(Box<str>),
    Room(Box<str>),
    All,
}

impl Message {
    /// As it is sent.
    pub(super) fn written(&self) -> Vec<u8> {
        // Texts and numbers: it can be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// What was sent; `None`: by who speaks otherwise, a newer node perhaps.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }
}

impl Push {
    /// A push as it is told to others; `None`: the event is none.
    pub(super) fn of(event: &Event) -> Option<Self> {
        let Payload::Push(push) = &event.payload else {
            return None;
        };
        let targets = push.targets.iter().map(|target| match target {
            PushTarget::User(name) => Target::User(name.clone()),
            PushTarget::Session(name) => Target::Session(name.clone()),
            PushTarget::Room(name) => Target::Room(name.clone()),
            PushTarget::All => Target::All,
        });
        let since = event.time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let legacy = push.legacy.as_deref();
        Some(Self {
            id: event.id.to_string().into(),
            time: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
            ordered_by: event.key.clone(),
            targets: targets.collect(),
            event: push.event.clone(),
            source: push.source.clone(),
            from: push.from.clone(),
            data: push.data.clone(),
            key: push.key.clone(),
            live: push.class == PushClass::Live,
            ack: push.ack,
            legacy: legacy.map(|one| [one.kind.clone(), one.base_url.clone(), one.uri.clone()]),
        })
    }

    /// The push as it was published, on `topic`.
    pub(super) fn event(self, topic: std::sync::Arc<str>) -> Option<Event> {
        let targets = self.targets.into_iter().map(|target| match target {
            Target::User(name) => PushTarget::User(name),
            Target::Session(name) => PushTarget::Session(name),
            Target::Room(name) => PushTarget::Room(name),
            Target::All => PushTarget::All,
        });
        let push = PushEvent {
            source: self.source,
            from: self.from,
            key: self.key,
            class: match self.live {
                true => PushClass::Live,
                false => PushClass::Resumable,
            },
            ack: self.ack,
            legacy: self.legacy.map(|[kind, base_url, uri]| {
                Box::new(LegacyPush {
                    kind,
                    base_url,
                    uri,
                })
            }),
            ..PushEvent::new(targets.collect::<Box<[_]>>(), self.event, self.data)
        };
        let time: SystemTime = UNIX_EPOCH.checked_add(Duration::from_micros(self.time))?;
        Some(Event {
            id: self.id.parse().ok()?,
            time,
            ..Event::now(topic, self.ordered_by, Payload::Push(Box::new(push)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_push_is_the_same_on_another_node() {
        let data = RawValue::from_string(r#"{"value": 1e2}"#.to_owned()).unwrap();
        let targets = [
            PushTarget::User("u\n\"".into()),
            PushTarget::Session("s_".into()),
            PushTarget::Room("r".into()),
            PushTarget::All,
        ];
        let push = PushEvent {
            source: "shop".into(),
            from: Some("bro".into()),
            key: Some("k".into()),
            class: PushClass::Live,
            ack: true,
            legacy: Some(Box::new(LegacyPush {
                kind: "GET".into(),
                base_url: "http://a".into(),
                uri: "/b".into(),
            })),
            ..PushEvent::new(targets, "cash", data)
        };
        let event = Event::now("t".into(), Some("u".into()), Payload::Push(Box::new(push)));
        let said = Message {
            from: "a/1".into(),
            say: Say::Push(Push::of(&event).unwrap()),
        };
        let heard = Message::parse(&said.written()).unwrap();
        let Say::Push(push) = heard.say else {
            panic!("{heard:?}");
        };
        let other = push.event("t".into()).unwrap();
        assert_eq!((other.id, &other.key), (event.id, &event.key));
        let (Payload::Push(one), Payload::Push(two)) = (&event.payload, &other.payload) else {
            panic!("{other:?}");
        };
        assert_eq!((&one.targets, &one.from), (&two.targets, &two.from));
        assert_eq!(
            (&one.event, &one.source, &one.key),
            (&two.event, &two.source, &two.key)
        );
        assert_eq!((one.class, one.ack), (two.class, two.ack));
        assert_eq!((&one.legacy, one.data.get()), (&two.legacy, two.data.get()));
    }

    #[test]
    fn what_is_none_is_not_heard() {
        for wrong in ["", "{}", r#"{"from":"a/1","say":{"sing":{}}}"#] {
            assert!(Message::parse(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }
}
