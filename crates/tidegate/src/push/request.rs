//! What a publisher writes: pushes in the shape of version 1 or in the old one, and whom they are for.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::auth::is_room;
use crate::bus::{LegacyPush, PushClass, PushEvent, PushTarget};
use crate::session::id::SessionId;

/// The most bytes of a name: an event's, a service's, a user's, a room's, a key.
const LONGEST_NAME: usize = 256;
/// The most bytes of an address of the old shape.
const LONGEST_ADDRESS: usize = 2048;
/// The most bytes of what is told.
const LONGEST_DATA: usize = 1024 * 1024;
/// The most targets of one push, and the most pushes of one batch.
const MOST_TARGETS: usize = 10_000;
const MOST_PUSHES: usize = 1_000;

/// What is wrong with it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// That.
    Malformed(Cow<'static, str>),
    /// What is told is too long.
    TooBig,
}

/// What was asked for.
#[derive(Debug)]
pub(crate) enum Asked {
    One(PushEvent),
    Batch(Vec<PushEvent>),
}

/// A push as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    user: Option<Names>,
    #[serde(alias = "name")]
    username: Option<String>,
    session: Option<Names>,
    room: Option<Names>,
    #[serde(default)]
    all: bool,
    event: Option<Box<str>>,
    source: Option<Box<str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    key: Option<Box<str>>,
    #[serde(default)]
    class: Class,
    #[serde(default)]
    ack: bool,
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    #[serde(rename = "baseUrl")]
    base_url: Option<Box<str>>,
    uri: Option<Box<str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "snake_case")]
enum Class {
    Live,
    #[default]
    Resumable,
}

/// Reads a push that says itself whom it is for, or a list of such.
pub(crate) fn parse(body: &[u8]) -> Result<Asked, Wrong> {
    if !body.trim_ascii_start().starts_with(b"[") {
        return Ok(Asked::One(read(body)?.push()?));
    }
    let items: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| no_json(&error))?;
    if items.is_empty() || items.len() > MOST_PUSHES {
        return Err(Wrong::Malformed("a batch has 1 to 1000 pushes".into()));
    }
    let pushes = items.into_iter().enumerate().map(|(place, item)| {
        let push = read(item.get().as_bytes()).and_then(Written::push);
        push.map_err(|wrong| match wrong {
            Wrong::Malformed(what) => Wrong::Malformed(format!("push {place}: {what}").into()),
            Wrong::TooBig => Wrong::TooBig,
        })
    });
    Ok(Asked::Batch(pushes.collect::<Result<_, _>>()?))
}

/// Reads a push for this user.
pub(crate) fn parse_for(user: &str, body: &[u8]) -> Result<PushEvent, Wrong> {
    let written = read(body)?;
    if written.names_target() && written.username.as_deref() != Some(user) {
        let what = "the path says whom it is for: the body names nobody";
        return Err(Wrong::Malformed(what.into()));
    }
    let targets = names(Names::One(user.to_owned()), PushTarget::User)?;
    written.message(targets)
}

/// An event as the predecessor's publishers write it. Whatever else they say is passed over.
#[derive(Deserialize)]
struct KafkaEvent<'a> {
    topic: String,
    #[serde(borrow)]
    body: KafkaBody<'a>,
}

#[derive(Deserialize)]
struct KafkaBody<'a> {
    #[serde(alias = "name")]
    username: String,
    #[serde(rename = "type")]
    kind: Option<Box<str>>,
    #[serde(rename = "baseUrl")]
    base_url: Option<Box<str>>,
    uri: Option<Box<str>>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
}

/// Reads `{"topic": .., "body": {..}}` (row B-037): the topic, and the push. With `parse_strings` a body
/// that is a text of JSON is what that says.
pub(crate) fn parse_kafka(body: &[u8], parse_strings: bool) -> Result<(String, PushEvent), Wrong> {
    let event: KafkaEvent<'_> = serde_json::from_slice(body).map_err(|error| no_json(&error))?;
    let KafkaEvent { topic, body } = event;
    let targets = names(Names::One(body.username), PushTarget::User)?;
    let inner = body.body.filter(|_| parse_strings).and_then(|body| {
        let text: String = serde_json::from_str(body.get()).ok()?;
        serde_json::from_str::<Box<RawValue>>(&text).ok()
    });
    let written = Written {
        kind: body.kind,
        base_url: Some(body.base_url.unwrap_or_default()),
        uri: Some(body.uri.unwrap_or_default()),
        body: inner.as_deref().or(body.body),
        ..Written::default()
    };
    Ok((topic, written.message(targets)?))
}

/// A record of the predecessor's (row B-030). A body that is a text of JSON is what that says, any other is
/// told as the text that it is.
pub(crate) fn of_record(user: &str, legacy: LegacyPush, body: &str) -> Result<PushEvent, Wrong> {
    let body = match serde_json::from_str::<Box<RawValue>>(body) {
        Ok(body) => body,
        Err(_no_json) => serde_json::value::to_raw_value(body).map_err(|error| no_json(&error))?,
    };
    let targets = names(Names::One(user.to_owned()), PushTarget::User)?;
    let written = Written {
        kind: Some(legacy.kind),
        base_url: Some(legacy.base_url),
        uri: Some(legacy.uri),
        body: Some(&body),
        ..Written::default()
    };
    written.message(targets)
}

/// Reads one push that says itself whom it is for.
pub(crate) fn parse_one(body: &[u8]) -> Result<PushEvent, Wrong> {
    read(body)?.push()
}

/// The same, written.
pub(crate) fn written(push: &PushEvent) -> Option<String> {
    #[derive(Serialize)]
    struct Out<'a> {
        #[serde(skip_serializing_if = "Vec::is_empty")]
        user: Vec<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        session: Vec<&'a str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        room: Vec<&'a str>,
        #[serde(skip_serializing_if = "is_false")]
        all: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        event: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none", rename = "type")]
        kind: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none", rename = "baseUrl")]
        base_url: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        uri: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        class: &'static str,
        #[serde(skip_serializing_if = "is_false")]
        ack: bool,
        data: &'a RawValue,
    }
    let legacy = push.legacy.as_deref();
    let mut out = Out {
        user: Vec::new(),
        session: Vec::new(),
        room: Vec::new(),
        all: false,
        event: legacy.is_none().then_some(&*push.event),
        source: (legacy.is_none() && !push.source.is_empty()).then_some(&*push.source),
        kind: legacy.map(|legacy| &*legacy.kind),
        base_url: legacy.map(|legacy| &*legacy.base_url),
        uri: legacy.map(|legacy| &*legacy.uri),
        key: push.key.as_deref(),
        class: match push.class {
            PushClass::Live => "live",
            PushClass::Resumable => "resumable",
        },
        ack: push.ack,
        data: &push.data,
    };
    for target in &push.targets {
        match target {
            PushTarget::User(name) => out.user.push(name),
            PushTarget::Session(name) => out.session.push(name),
            PushTarget::Room(name) => out.room.push(name),
            PushTarget::All => out.all = true,
        }
    }
    let kinds = [out.user.len(), out.session.len(), out.room.len()];
    let kinds = kinds.iter().filter(|count| **count > 0).count() + usize::from(out.all);
    (kinds == 1).then(|| serde_json::to_string(&out).ok())?
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn read(body: &[u8]) -> Result<Written<'_>, Wrong> {
    serde_json::from_slice(body).map_err(|error| match wrong_member(body) {
        Some(what) => Wrong::Malformed(what.into()),
        None => no_json(&error),
    })
}

/// Which member is of another kind than it should be, where that is what is wrong.
fn wrong_member(body: &[u8]) -> Option<String> {
    let members: HashMap<String, &RawValue> = serde_json::from_slice(body).ok()?;
    let is_wrong = |name: &str, fits: fn(&str) -> bool| {
        let value = members.get(name);
        value.is_some_and(|value| value.get() != "null" && !fits(value.get()))
    };
    for (names, kind, fits) in KINDS {
        if let Some(name) = names.iter().find(|name| is_wrong(name, *fits)) {
            return Some(format!("`{name}` is {kind}"));
        }
    }
    None
}

/// Members, what each of them is, and whether some JSON is that.
type Kind = (&'static [&'static str], &'static str, fn(&str) -> bool);

const KINDS: &[Kind] = &[
    (
        &["user", "session", "room"],
        "a name, or a list of names",
        is::<Names>,
    ),
    (
        &[
            "username", "name", "event", "source", "key", "type", "baseUrl", "uri",
        ],
        "a text",
        is::<String>,
    ),
    (&["all", "ack"], "true or false", is::<bool>),
    (&["class"], "`live` or `resumable`", is::<Class>),
];

fn is<T: serde::de::DeserializeOwned>(json: &str) -> bool {
    serde_json::from_str::<T>(json).is_ok()
}

fn no_json(error: &serde_json::Error) -> Wrong {
    Wrong::Malformed(format!("the body is no push: {error}").into())
}

impl Written<'_> {
    const fn names_target(&self) -> bool {
        self.all
            || self.user.is_some()
            || self.username.is_some()
            || self.session.is_some()
            || self.room.is_some()
    }

    fn push(mut self) -> Result<PushEvent, Wrong> {
        let user = self.user.take();
        let user = user.or_else(|| self.username.take().map(Names::One));
        let targets = match (user, self.session.take(), self.room.take(), self.all) {
            (Some(users), None, None, false) => names(users, PushTarget::User)?,
            (None, Some(sessions), None, false) => names(sessions, PushTarget::Session)?,
            (None, None, Some(rooms), false) => names(rooms, PushTarget::Room)?,
            (None, None, None, true) => vec![PushTarget::All],
            _ => {
                let what = "say whom it is for: one of `user`, `session`, `room` and `all: true`";
                return Err(Wrong::Malformed(what.into()));
            }
        };
        if self.username.is_some() {
            let what = "`username` stands beside `user`: write one of them";
            return Err(Wrong::Malformed(what.into()));
        }
        self.message(targets)
    }

    fn message(self, targets: Vec<PushTarget>) -> Result<PushEvent, Wrong> {
        let is_legacy = self.uri.is_some() || self.base_url.is_some();
        let has_both = is_legacy && (self.event.is_some() || self.source.is_some())
            || self.data.is_some() && self.body.is_some();
        if has_both {
            let what = "it is of two shapes: write `event`, `source` and `data`, or `baseUrl`, `uri` \
                        and `body`";
            return Err(Wrong::Malformed(what.into()));
        }
        let data = self.data.or(self.body).unwrap_or(RawValue::NULL);
        if data.get().len() > LONGEST_DATA {
            return Err(Wrong::TooBig);
        }
        let (event, source, legacy) = if is_legacy {
            let legacy = LegacyPush {
                kind: self.kind.unwrap_or_else(|| "GET".into()),
                base_url: self.base_url.unwrap_or_default(),
                uri: self.uri.unwrap_or_default(),
            };
            bounded("type", &legacy.kind, LONGEST_NAME)?;
            bounded("baseUrl", &legacy.base_url, LONGEST_ADDRESS)?;
            bounded("uri", &legacy.uri, LONGEST_ADDRESS)?;
            let source = service_of(&legacy.base_url).into();
            (legacy.uri.clone(), source, Some(Box::new(legacy)))
        } else {
            let event = self.event.filter(|event| !event.is_empty());
            let event = event.ok_or(Wrong::Malformed("there is no `event`: its name".into()))?;
            bounded("event", &event, LONGEST_NAME)?;
            (event, self.source.unwrap_or_default(), None)
        };
        bounded("source", &source, LONGEST_NAME)?;
        bounded("key", self.key.as_deref().unwrap_or_default(), LONGEST_NAME)?;
        Ok(PushEvent {
            targets: targets.into(),
            event,
            source,
            from: None,
            data: data.to_owned(),
            key: self.key,
            class: match self.class {
                Class::Live => PushClass::Live,
                Class::Resumable => PushClass::Resumable,
            },
            ack: self.ack,
            legacy,
        })
    }
}

/// Targets of one kind, each of them once.
fn names(names: Names, target: fn(Box<str>) -> PushTarget) -> Result<Vec<PushTarget>, Wrong> {
    let names = match names {
        Names::One(name) => vec![name],
        Names::Many(names) => names,
    };
    if names.is_empty() || names.len() > MOST_TARGETS {
        return Err(Wrong::Malformed("a push is for 1 to 10000 targets".into()));
    }
    let mut seen = HashSet::with_capacity(names.len());
    let once = names.iter().filter(|name| seen.insert(name.as_str()));
    once.map(|name| there_can_be(target(name.as_str().into())))
        .collect()
}

/// The same target, unless nobody can ever be meant by it.
fn there_can_be(target: PushTarget) -> Result<PushTarget, Wrong> {
    let wrong = match &target {
        PushTarget::Room(name) if !is_room(name) => {
            "`room` is a name of 1 to 128 bytes, without control characters"
        }
        PushTarget::Session(id) if id.parse::<SessionId>().is_err() => {
            "`session` is an id, as `GET /v1/sessions` has them: `s_` and 16 characters"
        }
        PushTarget::User(name) if !(1..=LONGEST_NAME).contains(&name.len()) => {
            "`user` is a name of 1 to 256 bytes"
        }
        _ => return Ok(target),
    };
    Err(Wrong::Malformed(wrong.into()))
}

fn bounded(name: &'static str, text: &str, most: usize) -> Result<(), Wrong> {
    if text.len() <= most {
        return Ok(());
    }
    Err(Wrong::Malformed(
        format!("`{name}` is longer than {most} bytes").into(),
    ))
}

/// The service that a `baseUrl` names: its host.
fn service_of(base_url: &str) -> &str {
    let rest = base_url
        .split_once("://")
        .map_or(base_url, |(_, rest)| rest);
    rest.split(['/', ':', '?']).next().unwrap_or_default()
}
