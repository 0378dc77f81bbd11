//! What is pushed to users.

use std::fmt;

use serde_json::value::RawValue;

use super::NotAnEvent;

/// Something that those who are online are told.
///
/// ```
/// # use tidegate::Gateway;
/// # use tidegate::bus::{BusError, Event, Payload, PushEvent, PushTarget};
/// # async fn tell(gateway: &Gateway) -> Result<(), BusError> {
/// let data = serde_json::value::RawValue::from_string(r#"{"value":-100}"#.to_owned());
/// let push = PushEvent::new([PushTarget::User("u42".into())], "cash-out", data.unwrap());
/// let (topic, key) = (gateway.topics().push.clone(), Some("u42".into()));
/// let event = Event::now(topic, key, Payload::Push(Box::new(push)));
/// gateway.bus().publish(event).await
/// # }
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct PushEvent {
    /// Who is told; a session that is meant twice is told twice.
    pub targets: Box<[PushTarget]>,
    /// Its name.
    pub event: Box<str>,
    /// Which service it is from; empty where that is not said.
    pub source: Box<str>,
    /// The user who has published it through a session; `None` where a service has.
    pub from: Option<Box<str>>,
    /// What is told, as it came.
    pub data: Box<RawValue>,
    /// Of two of one event, and of one room or none, with one key a slow client may get the later one alone.
    pub key: Option<Box<str>>,
    /// What is promised of it.
    pub class: PushClass,
    /// Whether its client says at once that it has it.
    pub ack: bool,
    /// What else it said where it came in the old shape.
    pub legacy: Option<Box<LegacyPush>>,
}

/// Who is told. Whatever carries pushes must have a place for each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PushTarget {
    /// All sessions of a user.
    User(Box<str>),
    /// One session.
    Session(Box<str>),
    /// All members of a room.
    Room(Box<str>),
    /// All sessions.
    All,
}

/// What is promised of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PushClass {
    /// Once at most.
    Live,
    /// Once at least, in order, while it is kept.
    #[default]
    Resumable,
}

/// What a push of the old shape says besides (row B-030).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegacyPush {
    /// Its `type`, as an envelope's.
    pub kind: Box<str>,
    /// Its `baseUrl`.
    pub base_url: Box<str>,
    /// Its `uri`.
    pub uri: Box<str>,
}

impl PushTarget {
    fn size(&self) -> usize {
        let name = match self {
            Self::User(name) | Self::Session(name) | Self::Room(name) => name.len(),
            Self::All => 0,
        };
        size_of::<Self>() + name
    }
}

impl PushEvent {
    /// What `targets` are told: resumable, from no service, without a key.
    #[must_use]
    pub fn new(
        targets: impl Into<Box<[PushTarget]>>,
        event: impl Into<Box<str>>,
        data: Box<RawValue>,
    ) -> Self {
        Self {
            targets: targets.into(),
            event: event.into(),
            source: "".into(),
            from: None,
            data,
            key: None,
            class: PushClass::default(),
            ack: false,
            legacy: None,
        }
    }

    /// What stands in a record of the predecessor's, for this user: `body` is a text of JSON, or a text.
    ///
    /// # Errors
    /// When a name in it is empty or too long, or the body is longer than 1 MiB.
    pub fn of_record(user: &str, legacy: LegacyPush, body: &str) -> Result<Self, NotAnEvent> {
        crate::push::request::of_record(user, legacy, body).map_err(NotAnEvent::new)
    }

    /// What `POST /v1/push` takes: one push.
    ///
    /// # Errors
    /// When it is not such.
    pub fn from_json(text: &[u8]) -> Result<Self, NotAnEvent> {
        crate::push::request::parse_one(text).map_err(NotAnEvent::new)
    }

    /// As `POST /v1/push` takes it; `None` where it has targets of several kinds, which have no place
    /// there. Nor has the user whom it is from.
    #[must_use]
    pub fn to_json(&self) -> Option<String> {
        crate::push::request::written(self)
    }

    /// The users in whose histories it stands: those it is for by name, where it is resumable.
    pub fn kept_for(&self) -> impl Iterator<Item = &str> {
        let is_kept = self.class == PushClass::Resumable;
        let targets = self.targets.iter().filter(move |_| is_kept);
        targets.filter_map(|target| match target {
            PushTarget::User(user) => Some(&**user),
            PushTarget::Session(_) | PushTarget::Room(_) | PushTarget::All => None,
        })
    }

    /// About how many bytes it holds.
    #[must_use]
    pub fn size(&self) -> usize {
        let legacy = self.legacy.as_ref().map_or(0, |legacy| {
            let texts = [&legacy.kind, &legacy.base_url, &legacy.uri];
            size_of::<LegacyPush>() + texts.iter().map(|text| text.len()).sum::<usize>()
        });
        let key = self.key.as_ref().map_or(0, |key| key.len());
        let key = key + self.from.as_ref().map_or(0, |user| user.len());
        let texts = self.event.len() + self.source.len() + key + self.data.get().len();
        let targets = self.targets.iter().map(PushTarget::size);
        size_of::<Self>() + texts + legacy + targets.sum::<usize>()
    }
}

/// What is pushed is between a service and its users.
impl fmt::Debug for PushEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PushEvent")
            .field("targets", &self.targets)
            .field("event", &self.event)
            .field("source", &self.source)
            .field("class", &self.class)
            .finish_non_exhaustive()
    }
}
