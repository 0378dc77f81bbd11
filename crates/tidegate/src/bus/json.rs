//! Events as JSON: what `GET /v1/events` tells, and what other processes may be told.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Event, Payload, SessionClosed, SessionOpened, UserConnected, UserDisconnected};
use crate::push::request::Wrong;
use crate::session::{Cause, Initiator};
use crate::time;

/// What was read is no event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotAnEvent(Cow<'static, str>);

impl NotAnEvent {
    pub(super) fn new(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Malformed(what) => Self(what),
            Wrong::TooBig => Self("what is told is longer than 1 MiB".into()),
        }
    }
}

const SESSION_OPENED: &str = "session.opened";
const SESSION_CLOSED: &str = "session.closed";
const USER_ONLINE: &str = "user.online";
const USER_OFFLINE: &str = "user.offline";

impl Event {
    /// An object with its `id`, its `type`, its `time` and what it says. Of a push it says nothing: that is
    /// between a service and its users.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut told = self.payload.described();
        told["id"] = self.id.to_string().into();
        told["type"] = self.payload.kind().into();
        told["time"] = time::rfc3339(self.time).into();
        told
    }
}

impl Payload {
    /// The word for it: `push`, `session.opened`, `session.closed`, `user.online` or `user.offline`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Push(_) => "push",
            Self::UserConnected(_) => USER_ONLINE,
            Self::UserDisconnected(_) => USER_OFFLINE,
            Self::SessionOpened(_) => SESSION_OPENED,
            Self::SessionClosed(_) => SESSION_CLOSED,
        }
    }

    fn described(&self) -> Value {
        match self {
            Self::SessionOpened(opened) => json!({
                "session": opened.session,
                "user": opened.user.as_deref(),
                "roles": &*opened.roles,
                "node": &*opened.node,
                "route": &*opened.route,
                "client": opened.client.to_string(),
            }),
            Self::SessionClosed(closed) => json!({
                "session": closed.session,
                "user": closed.user.as_deref(),
                "roles": &*closed.roles,
                "node": &*closed.node,
                "route": &*closed.route,
                "cause": closed.cause.label(),
                "initiator": closed.initiator.label(),
                "code": closed.code,
                "duration_seconds": closed.duration.as_secs_f64(),
            }),
            Self::UserConnected(user) => json!({ "user": &*user.user, "roles": &*user.roles }),
            Self::UserDisconnected(user) => {
                json!({ "user": &*user.user, "timeout": user.is_timeout })
            }
            Self::Push(_) => json!({}),
        }
    }

    /// What [`Event::to_json`] wrote of a session or a user, by the word for it. Whatever else stands there
    /// is passed over.
    ///
    /// # Errors
    /// When a member is missing or is not what it should be, or the word is none of ours.
    pub fn from_json(kind: &str, told: &Value) -> Result<Self, NotAnEvent> {
        let told = Told(told);
        Ok(match kind {
            USER_ONLINE => Self::UserConnected(UserConnected {
                user: told.text("user")?.into(),
                roles: told.roles()?.into(),
            }),
            USER_OFFLINE => {
                let is_timeout = told.0["timeout"].as_bool().unwrap_or_default();
                Self::UserDisconnected(UserDisconnected::new(told.text("user")?, is_timeout))
            }
            SESSION_OPENED => Self::SessionOpened(SessionOpened {
                session: told.text("session")?.into(),
                user: told.0["user"].as_str().map(Into::into),
                roles: told.roles()?.into(),
                node: told.text("node")?.into(),
                route: told.text("route")?.into(),
                client: told.known("client", |text| text.parse().ok())?,
            }),
            SESSION_CLOSED => Self::SessionClosed(SessionClosed {
                session: told.text("session")?.into(),
                user: told.0["user"].as_str().map(Into::into),
                roles: told.roles()?.into(),
                node: told.text("node")?.into(),
                route: told.text("route")?.into(),
                cause: told.known("cause", Cause::from_label)?,
                initiator: told.known("initiator", Initiator::from_label)?,
                code: told.code()?,
                duration: told.duration()?,
            }),
            _ => return Err(NotAnEvent("its `type` is none of ours".into())),
        })
    }
}

/// The members of what is read.
struct Told<'a>(&'a Value);

impl<'a> Told<'a> {
    fn wrong(name: &str) -> NotAnEvent {
        NotAnEvent(format!("`{name}` is missing, or not what it should be").into())
    }

    fn text(&self, name: &str) -> Result<&'a str, NotAnEvent> {
        self.0[name].as_str().ok_or_else(|| Self::wrong(name))
    }

    fn known<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<T, NotAnEvent> {
        read(self.text(name)?).ok_or_else(|| Self::wrong(name))
    }

    fn roles(&self) -> Result<Vec<Box<str>>, NotAnEvent> {
        let roles = self.0["roles"].as_array();
        let roles = roles.and_then(|roles| {
            let texts = roles.iter().map(|role| role.as_str().map(Box::from));
            texts.collect()
        });
        roles.ok_or_else(|| Self::wrong("roles"))
    }

    fn code(&self) -> Result<u16, NotAnEvent> {
        let code = self.0["code"].as_u64();
        let code = code.and_then(|code| code.try_into().ok());
        code.ok_or_else(|| Self::wrong("code"))
    }

    fn duration(&self) -> Result<Duration, NotAnEvent> {
        let seconds = self.0["duration_seconds"].as_f64();
        let duration = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        duration.ok_or_else(|| Self::wrong("duration_seconds"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payloads() -> Vec<Payload> {
        let roles: std::sync::Arc<[Box<str>]> = ["a".into(), "b".into()].into();
        vec![
            Payload::UserConnected(UserConnected::new("u", std::sync::Arc::clone(&roles))),
            Payload::UserDisconnected(UserDisconnected::new("u", true)),
            Payload::SessionOpened(SessionOpened {
                session: "s_1".into(),
                user: None,
                roles: std::sync::Arc::clone(&roles),
                node: "n".into(),
                route: "r".into(),
                client: [127, 0, 0, 1].into(),
            }),
            Payload::SessionClosed(SessionClosed {
                session: "s_1".into(),
                user: Some("u".into()),
                roles,
                node: "n".into(),
                route: "r".into(),
                cause: Cause::SlowConsumer,
                initiator: Initiator::Gateway,
                code: 1013,
                duration: Duration::from_millis(1250),
            }),
        ]
    }

    #[test]
    fn what_is_told_of_sessions_and_users_is_read_as_it_was_written() {
        for payload in payloads() {
            let event = Event::now("t".into(), None, payload.clone());
            let written = event.to_json();
            let read = Payload::from_json(payload.kind(), &written).unwrap();
            assert_eq!(format!("{read:?}"), format!("{payload:?}"));
            assert_eq!(written["id"], event.id.to_string());
        }
    }

    #[test]
    fn what_lacks_something_is_no_event() {
        for payload in payloads() {
            let event = Event::now("t".into(), None, payload.clone());
            let mut written = event.to_json();
            let members = written.as_object_mut().unwrap();
            members.remove(if members.contains_key("roles") {
                "roles"
            } else {
                "user"
            });
            let read = Payload::from_json(payload.kind(), &written);
            assert!(read.is_err(), "{written}");
        }
        assert!(Payload::from_json("push", &json!({})).is_err());
    }
}
