//! What is told: the event around each fact, and the facts.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::num::NonZeroI64;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::{Position, PushEvent};
use crate::session::{Cause, Initiator};

/// A fact on its way.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its name. An event that is published again keeps it.
    pub id: EventId,
    /// Where it is published.
    pub topic: Arc<str>,
    /// Events of one key keep their order; a user's events have its name.
    pub key: Option<Box<str>>,
    /// When it happened.
    pub time: SystemTime,
    /// What happened.
    pub payload: Payload,
    /// Where it stands in the history of its key; given by the bus, where that keeps it
    /// ([`EventBus::replay`](super::EventBus::replay)).
    pub position: Option<Position>,
    /// Whether users are told of it by copies of their own.
    pub standing: Standing,
}

/// How an event stands to copies of itself. A bus that keeps each user's history in a place of its own may
/// carry a push to several users as the event, and for each of them a copy with the same id: the copy is
/// what a user is told, so that it stands in that user's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// There are none.
    #[default]
    Alone,
    /// The users whom it is for are told by copies, before it or later, but for these: theirs do not come
    /// here, because they were published before the bus began to listen.
    Copied(Arc<[Box<str>]>),
    /// It is one, for one user. Only [who asks for them](super::Subscription::with_copies) gets copies.
    Copy,
}

/// What happened.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Payload {
    /// Something is to be told to those who are online.
    Push(Box<PushEvent>),
    /// The first session of a user has opened.
    UserConnected(UserConnected),
    /// The last session of a user has closed.
    UserDisconnected(UserDisconnected),
    /// A session has opened.
    SessionOpened(SessionOpened),
    /// A session has closed.
    SessionClosed(SessionClosed),
}

/// A user is online from now on (row B-031).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserConnected {
    /// The user.
    pub user: Arc<str>,
    /// The roles that the token of its first session gives it.
    pub roles: Arc<[Box<str>]>,
}

/// A user is offline from now on (row B-032).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserDisconnected {
    /// The user.
    pub user: Arc<str>,
    /// The SHA-256 of the token of its last session, where it had one.
    pub token: Option<[u8; 32]>,
    /// The hash by which the predecessor knows that token (row B-050), where it is wanted and is not 0.
    pub hash: Option<NonZeroI64>,
    /// Whether the last session ended because nothing passed in it.
    pub is_timeout: bool,
}

/// A session has opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionOpened {
    /// The session's id.
    pub session: Box<str>,
    /// Who opened it, where that is known.
    pub user: Option<Arc<str>>,
    /// The user's roles.
    pub roles: Arc<[Box<str>]>,
    /// The node that it is on.
    pub node: Arc<str>,
    /// The route that it came by.
    pub route: Arc<str>,
    /// The client's address.
    pub client: IpAddr,
}

/// A session has closed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionClosed {
    /// The session's id.
    pub session: Box<str>,
    /// Who opened it, where that is known.
    pub user: Option<Arc<str>>,
    /// The user's roles when it opened.
    pub roles: Arc<[Box<str>]>,
    /// The node that it was on.
    pub node: Arc<str>,
    /// The route that it came by.
    pub route: Arc<str>,
    /// Why it ended.
    pub cause: Cause,
    /// Whose doing that was.
    pub initiator: Initiator,
    /// The close code, as in the access log.
    pub code: u16,
    /// How long it was open.
    pub duration: Duration,
}

impl UserConnected {
    /// That `user` is online, with these roles.
    #[must_use]
    pub fn new(user: impl Into<Arc<str>>, roles: impl Into<Arc<[Box<str>]>>) -> Self {
        let (user, roles) = (user.into(), roles.into());
        Self { user, roles }
    }
}

impl UserDisconnected {
    /// That `user` is offline; of its last token nothing is known.
    #[must_use]
    pub fn new(user: impl Into<Arc<str>>, is_timeout: bool) -> Self {
        Self {
            user: user.into(),
            token: None,
            hash: None,
            is_timeout,
        }
    }
}

/// The name of an event: no two events of any nodes have one, but for the same event told twice.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId {
    /// Of the process.
    epoch: u64,
    /// Of the event in it.
    number: u64,
}

/// A text that is no event's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no event's id")]
pub struct NotAnEventId;

const PREFIX: &str = "e_";
/// Sixteen bytes.
const LETTERS: usize = 22;

impl EventId {
    /// A new one.
    #[must_use]
    pub fn next() -> Self {
        static EPOCH: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(0));
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        Self {
            epoch: *EPOCH,
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The name that these bytes are: for what another process names, or makes of something that stays
    /// the same wherever it is told.
    #[must_use]
    pub const fn of_bytes(bytes: [u8; 16]) -> Self {
        let number = u128::from_be_bytes(bytes);
        #[expect(clippy::cast_possible_truncation, reason = "its two halves")]
        Self {
            epoch: (number >> 64) as u64,
            number: number as u64,
        }
    }

    /// The one name of something that more than one may tell: what happened, in which incarnation of a
    /// node, and to whom.
    pub(crate) fn derived(kind: &str, incarnation: u64, whom: &str) -> Self {
        let text = format!("{kind}\n{incarnation:x}\n{whom}");
        let digest = digest(&SHA256, text.as_bytes());
        let half = digest.as_ref().first_chunk();
        Self::of_bytes(half.copied().unwrap_or_default())
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = u128::from(self.epoch) << 64 | u128::from(self.number);
        let mut letters = [0; LETTERS];
        let written = BASE64_URL_SAFE_NO_PAD.encode_slice(bytes.to_be_bytes(), &mut letters);
        let letters = &letters[..written.unwrap_or(0)];
        f.write_str(PREFIX)?;
        f.write_str(str::from_utf8(letters).unwrap_or_default())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for EventId {
    type Err = NotAnEventId;

    fn from_str(text: &str) -> Result<Self, NotAnEventId> {
        let letters = text.strip_prefix(PREFIX).ok_or(NotAnEventId)?;
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(letters);
        let bytes = bytes.map_err(|_no_letters| NotAnEventId)?;
        let bytes = bytes.try_into().map_err(|_other_length| NotAnEventId)?;
        Ok(Self::of_bytes(bytes))
    }
}

impl Event {
    /// An event that happens now.
    #[must_use]
    pub fn now(topic: Arc<str>, key: Option<Box<str>>, payload: Payload) -> Self {
        Self {
            id: EventId::next(),
            topic,
            key,
            time: SystemTime::now(),
            payload,
            position: None,
            standing: Standing::Alone,
        }
    }

    /// About how many bytes it takes, for queues that are bounded by them.
    #[must_use]
    pub fn size(&self) -> usize {
        let held = match &self.payload {
            Payload::Push(push) => push.size(),
            Payload::UserConnected(_)
            | Payload::UserDisconnected(_)
            | Payload::SessionOpened(_)
            | Payload::SessionClosed(_) => 64,
        };
        size_of::<Self>() + held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_tell_has_one_name() {
        let of = EventId::derived;
        assert_eq!(of("closed", 1, "s"), of("closed", 1, "s"));
        let others = [
            of("offline", 1, "s"),
            of("closed", 2, "s"),
            of("closed", 1, "t"),
        ];
        for other in others {
            assert_ne!(other, of("closed", 1, "s"));
        }
    }

    #[test]
    fn an_id_is_read_as_it_was_written_and_none_comes_twice() {
        let (one, two) = (EventId::next(), EventId::next());
        assert!(one < two);
        let text = one.to_string();
        assert_eq!(text.len(), PREFIX.len() + LETTERS);
        assert_eq!(text.parse(), Ok(one));
        for wrong in ["", "e_", "e_AAAA", &text[2..], &format!("{text}A")] {
            assert_eq!(wrong.parse::<EventId>(), Err(NotAnEventId), "{wrong}");
        }
    }
}
