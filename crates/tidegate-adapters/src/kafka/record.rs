//! Events as records and back: values and keys in one of three formats, and what has no place in them as
//! headers.

use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use rdkafka::Message;
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tidegate::bus::{
    Event, EventId, LegacyPush, Payload, PushClass, PushEvent, PushTarget, Topics, UserConnected,
    UserDisconnected,
};
use tidegate::config::plan::CompatHash;

use super::avro::{Kind, Record};

/// The event's name.
pub(super) const ID: &str = "tidegate-id";
/// There where the push stands elsewhere as well, for all whom it is for; this one is its user's.
pub(super) const COPY: &str = "tidegate-copy";
const COPIES: &str = "tidegate-copies";
/// What a value has no place for.
pub(super) const PUSH: &str = "tidegate-push";
/// The kind of CloudEvents that ours are.
const TYPE_PREFIX: &str = "io.tidegate.";
/// What brokers call a value of structured CloudEvents.
const CLOUD_EVENT: &str = "application/cloudevents+json";

/// What of a push its value has no place for, as the header [`PUSH`] has it: JSON.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Extra {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sessions: Vec<Box<str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rooms: Vec<Box<str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    all: bool,
    /// There where the push has the shape of version 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Box<str>>,
    /// The `type` of the old shape, where it is not `GET`.
    #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
    kind: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<Box<str>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    live: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ack: bool,
}

impl Extra {
    fn of_targets(targets: &[PushTarget]) -> Self {
        let mut extra = Self::default();
        for target in targets {
            match target {
                PushTarget::User(name) => extra.users.push(name.clone()),
                PushTarget::Session(name) => extra.sessions.push(name.clone()),
                PushTarget::Room(name) => extra.rooms.push(name.clone()),
                PushTarget::All => extra.all = true,
            }
        }
        extra
    }

    fn into_targets(self) -> Vec<PushTarget> {
        let users = self.users.into_iter().map(PushTarget::User);
        let sessions = self.sessions.into_iter().map(PushTarget::Session);
        let rooms = self.rooms.into_iter().map(PushTarget::Room);
        let all = self.all.then_some(PushTarget::All);
        users.chain(sessions).chain(rooms).chain(all).collect()
    }

    fn has_targets(&self) -> bool {
        self.all || !(self.users.is_empty() && self.sessions.is_empty() && self.rooms.is_empty())
    }
}

/// What orders an event among others: its key, or the one whom a push is for.
pub(super) fn key(event: &Event) -> Option<&str> {
    if let Some(key) = &event.key {
        return Some(key);
    }
    match &event.payload {
        Payload::Push(push) => match &*push.targets {
            [PushTarget::User(name) | PushTarget::Session(name) | PushTarget::Room(name)] => {
                Some(name)
            }
            [PushTarget::All] => Some("*"),
            _ => None,
        },
        _ => None,
    }
}

/// The headers of an event, whatever its format.
pub(super) fn headers(event: &Event, extra: Option<&str>) -> OwnedHeaders {
    let id = event.id.to_string();
    let headers = OwnedHeaders::new();
    let headers = headers.insert(Header {
        key: ID,
        value: Some(&id),
    });
    match extra {
        Some(extra) => headers.insert(Header {
            key: PUSH,
            value: Some(extra),
        }),
        None => headers,
    }
}

/// The record of an event, and what has no place in it; `None` for sessions, which have none.
///
/// A push that is not for one user is for the user without a name, whom nobody is: whoever knows these
/// records alone passes it over.
pub(super) fn to_avro(
    payload: &Payload,
    compat: Option<CompatHash>,
) -> Option<(Record, Option<String>)> {
    Some(match payload {
        Payload::Push(push) => {
            let (user, mut extra) = match &*push.targets {
                [PushTarget::User(user)] => (user.to_string(), Extra::default()),
                targets => (String::new(), Extra::of_targets(targets)),
            };
            let (base_url, uri) = match push.legacy.as_deref() {
                Some(legacy) => {
                    extra.kind = (&*legacy.kind != "GET").then(|| legacy.kind.clone());
                    (legacy.base_url.to_string(), legacy.uri.to_string())
                }
                None => {
                    extra.event = Some(push.event.clone());
                    extra.source = (!push.source.is_empty()).then(|| push.source.clone());
                    let base_url = extra.source.as_ref().map(|name| format!("http://{name}"));
                    (base_url.unwrap_or_default(), push.event.to_string())
                }
            };
            extra.from = push.from.clone();
            extra.key = push.key.clone();
            extra.live = push.class == PushClass::Live;
            extra.ack = push.ack;
            let body = push.data.get().to_owned();
            let record = Record::Push {
                user,
                base_url,
                uri,
                body,
            };
            let extra = serde_json::to_string(&extra).ok();
            (record, extra.filter(|extra| extra != "{}"))
        }
        Payload::UserConnected(event) => {
            let roles = event.roles.iter().map(ToString::to_string).collect();
            let user = event.user.to_string();
            (Record::Connected { user, roles }, None)
        }
        Payload::UserDisconnected(event) => {
            // That by which the predecessor trusts a token is told where it is wanted, and not believed.
            let ours = event.token.as_ref().and_then(|token| token.first_chunk());
            let ours = ours.map(|bytes| i64::from_be_bytes(*bytes));
            let hash = match compat {
                Some(CompatHash::Murmur64) => event.hash.map(NonZeroI64::get),
                None => ours,
            };
            let record = Record::Disconnected {
                user: event.user.to_string(),
                hash: hash.unwrap_or_default(),
                is_timeout: event.is_timeout,
            };
            (record, None)
        }
        _ => return None,
    })
}

/// The event as JSON, and what has no place in it: a push as `POST /v1/push` takes it, all else as
/// `GET /v1/events` tells it.
pub(super) fn to_json(event: &Event) -> (String, Option<String>) {
    let Payload::Push(push) = &event.payload else {
        return (event.to_json().to_string(), None);
    };
    let mut extra = Extra {
        from: push.from.clone(),
        ..Extra::default()
    };
    let written = push.to_json().unwrap_or_else(|| {
        let targets = Extra::of_targets(&push.targets);
        extra = Extra {
            from: extra.from.take(),
            ..targets
        };
        let mut to_all = PushEvent::clone(push);
        to_all.targets = [PushTarget::All].into();
        to_all.to_json().unwrap_or_default()
    });
    let extra = serde_json::to_string(&extra).ok();
    (written, extra.filter(|extra| extra != "{}"))
}

/// A structured CloudEvent around JSON of ours.
pub(super) fn to_cloud_event(event: &Event, node: &str, written: &str) -> String {
    let data = RawValue::from_string(written.to_owned()).ok();
    let mut around = event.to_json();
    // Of these the attributes need the time alone.
    let time = around["time"].take();
    let mut attributes = json!({
        "specversion": "1.0",
        "id": event.id.to_string(),
        "source": format!("/tidegate/{node}"),
        "type": format!("{TYPE_PREFIX}{}", event.payload.kind()),
        "time": time,
        "datacontenttype": "application/json",
    })
    .to_string();
    if let Some(data) = data {
        attributes.pop();
        attributes.push_str(",\"data\":");
        attributes.push_str(data.get());
        attributes.push('}');
    }
    attributes
}

/// The header that says so.
pub(super) fn as_cloud_event(headers: OwnedHeaders) -> OwnedHeaders {
    headers.insert(Header {
        key: "content-type",
        value: Some(CLOUD_EVENT),
    })
}

/// The header that makes it a copy.
pub(super) fn as_copy(headers: OwnedHeaders) -> OwnedHeaders {
    headers.insert(Header {
        key: COPY,
        value: Some("1"),
    })
}

/// The header that says where its copies are.
pub(super) fn as_copied(headers: OwnedHeaders, places: &[(i32, i64)]) -> OwnedHeaders {
    if places.is_empty() {
        return headers;
    }
    let places = places.iter();
    let places = places.map(|(partition, offset)| format!("{partition}/{offset}"));
    headers.insert(Header {
        key: COPIES,
        value: Some(&places.collect::<Vec<_>>().join(" ")),
    })
}

/// The most bytes that it takes to say where so many copies are: eighteen digits for each.
pub(super) const fn size_of_places(count: usize) -> usize {
    const ONE: usize = 20;
    64 + count * ONE
}

/// What a record's value is of; what is told of sessions is JSON in every format.
pub(super) fn kind_of(topic: &str, topics: &Topics) -> Kind {
    if *topics.user_connect == *topic {
        return Kind::Connected;
    }
    if *topics.user_disconnect == *topic {
        return Kind::Disconnected;
    }
    if *topics.sessions == *topic {
        return Kind::Text;
    }
    Kind::Push
}

fn header<'a>(message: &'a impl Message, name: &str) -> Option<&'a str> {
    let headers = message.headers()?;
    let found = headers.iter().find(|header| header.key == name)?;
    str::from_utf8(found.value?).ok()
}

/// Whether a record is a copy, for one user.
pub(super) fn is_copy(message: &impl Message, push: &PushEvent) -> bool {
    matches!(&*push.targets, [PushTarget::User(_)]) && header(message, COPY).is_some()
}

/// Where the copies of a record are, in the order of its users; `None`: it has none.
pub(super) fn copies(message: &impl Message) -> Option<Vec<(i32, i64)>> {
    let places = header(message, COPIES)?.split(' ');
    let places = places.map(|place| {
        let (partition, offset) = place.split_once('/')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    });
    places.collect()
}

/// The text of a key: a framed Avro text, or a text.
pub(super) fn key_text(key: &[u8]) -> Option<&str> {
    if let Some((_id, datum)) = super::framing::split(key) {
        // A length as Avro writes it: seven bits at a time, twice the number.
        let end = datum.iter().position(|byte| byte & 0x80 == 0)?;
        let (length, text) = datum.split_at(end + 1);
        let length = length
            .iter()
            .rev()
            .fold(0_u64, |length, byte| length << 7 | u64::from(byte & 0x7f));
        return (length == 2 * text.len() as u64)
            .then(|| str::from_utf8(text).ok())
            .flatten();
    }
    str::from_utf8(key).ok()
}

/// The event around what a record says.
pub(super) fn event(message: &impl Message, topic: Arc<str>, payload: Payload) -> Event {
    let time = message.timestamp().to_millis();
    let time = time.and_then(|time| u64::try_from(time).ok());
    let time = time.map_or_else(SystemTime::now, |time| {
        UNIX_EPOCH + Duration::from_millis(time)
    });
    let user = match &payload {
        Payload::Push(push) => match &*push.targets {
            [PushTarget::User(user)] => Some(user.clone()),
            _ => None,
        },
        _ => None,
    };
    let key = user.or_else(|| message.key().and_then(key_text).map(Box::from));
    let mut event = Event::now(topic, key, payload);
    event.id = id(message);
    event.time = time;
    event
}

/// The name that its publisher gave it, else one that is the same wherever it is read.
fn id(message: &impl Message) -> EventId {
    let named = header(message, ID);
    if let Some(id) = named.and_then(|name| name.parse().ok()) {
        return id;
    }
    let place = match named {
        Some(name) => format!("{ID}\0{name}"),
        None => format!(
            "{}\0{}\0{}\0{:?}",
            message.topic(),
            message.partition(),
            message.offset(),
            message.timestamp()
        ),
    };
    let hash = digest(&SHA256, place.as_bytes());
    EventId::of_bytes(*hash.as_ref().first_chunk().unwrap_or(&[0; 16]))
}

/// What a record of Avro says.
pub(super) fn from_avro(message: &impl Message, record: Record) -> Result<Payload, String> {
    Ok(match record {
        Record::Push {
            user,
            base_url,
            uri,
            body,
        } => {
            let mut extra = extra(message)?.unwrap_or_default();
            let legacy = LegacyPush {
                kind: extra.kind.take().unwrap_or_else(|| "GET".into()),
                base_url: base_url.into(),
                uri: uri.into(),
            };
            // Whom it is for is told by the header, where it is for nobody.
            let name = if extra.has_targets() { "*" } else { &user };
            let push = PushEvent::of_record(name, legacy, &body);
            let mut push = push.map_err(|error| error.to_string())?;
            if let Some(event) = extra.event.take() {
                push.event = event;
                push.source = extra.source.take().unwrap_or_default();
                push.legacy = None;
            }
            push.key = extra.key.take();
            if extra.live {
                push.class = PushClass::Live;
            }
            push.ack = extra.ack;
            add(extra, &mut push);
            Payload::Push(Box::new(push))
        }
        Record::Connected { user, roles } => {
            let roles: Vec<Box<str>> = roles.into_iter().map(Into::into).collect();
            Payload::UserConnected(UserConnected::new(user, roles))
        }
        Record::Disconnected {
            user, is_timeout, ..
        } => Payload::UserDisconnected(UserDisconnected::new(user, is_timeout)),
        Record::Text(_) => return Err("it is a text".to_owned()),
    })
}

/// What a record of JSON says: of a CloudEvent, its data.
pub(super) fn from_json(
    message: &impl Message,
    kind: Kind,
    value: &[u8],
) -> Result<Payload, String> {
    #[derive(Deserialize)]
    struct Around<'a> {
        specversion: Option<&'a RawValue>,
        #[serde(borrow, rename = "type")]
        kind: Option<&'a RawValue>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let around = serde_json::from_slice::<Around<'_>>(value);
    let around = around.map_err(|error| format!("it is no JSON: {error}"))?;
    let (told, is_cloud_event) = match (around.specversion, around.data) {
        (Some(_), Some(data)) => (data.get().as_bytes(), true),
        (Some(_), None) => return Err("it is a CloudEvent without `data`".to_owned()),
        (None, _) => (value, false),
    };
    let word = around
        .kind
        .and_then(|kind| serde_json::from_str::<String>(kind.get()).ok());
    let word = word.unwrap_or_default();
    let word = word
        .strip_prefix(TYPE_PREFIX)
        .filter(|_| is_cloud_event)
        .unwrap_or(&word);
    if kind != Kind::Push {
        let told: Value = serde_json::from_slice(told).map_err(|error| error.to_string())?;
        return Payload::from_json(word, &told).map_err(|error| error.to_string());
    }
    let push = PushEvent::from_json(told);
    let mut push = push.map_err(|error| error.to_string())?;
    if let Some(extra) = extra(message)? {
        add(extra, &mut push);
    }
    Ok(Payload::Push(Box::new(push)))
}

fn extra(message: &impl Message) -> Result<Option<Extra>, String> {
    let extra = header(message, PUSH).map(serde_json::from_str);
    extra
        .transpose()
        .map_err(|error| format!("its header `{PUSH}` is of no use: {error}"))
}

fn add(mut extra: Extra, push: &mut PushEvent) {
    push.from = extra.from.take();
    if extra.has_targets() {
        push.targets = extra.into_targets().into();
    }
}
