//! The bus: facts that one part of the gateway tells the others, and those who look on.
//!
//! [`EventBus`] is the seam. [`MemoryBus`] carries events within this process; another, a broker's
//! perhaps, is given to the gateway with [`GatewayBuilder::bus`](crate::GatewayBuilder::bus). Whoever
//! wants to see them subscribes at [`Gateway::bus`](crate::Gateway::bus).
//!
//! There are four topics, and each carries one kind of event ([`Topics`]): pushes; users who come
//! online; users who go offline; sessions that open and close.

mod event;
mod history;
mod json;
mod memory;
pub(crate) mod position;
mod push;
mod subscription;

use std::fmt::Debug;
use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use self::event::{
    Event, EventId, NotAnEventId, Payload, SessionClosed, SessionOpened, Standing, UserConnected,
    UserDisconnected,
};
pub use self::json::NotAnEvent;
pub use self::memory::MemoryBus;
pub use self::position::{Bounds, Position, Replay};
pub use self::push::{LegacyPush, PushClass, PushEvent, PushTarget};
pub(crate) use self::subscription::Backlog;
pub use self::subscription::{Received, Subscriber, Subscription};

/// What carries events, within a process or between processes.
pub trait EventBus: Send + Sync + Debug + 'static {
    /// Hands an event over. Accepted, it will be seen by every subscriber: by those of memory at once,
    /// by a broker's once that has acknowledged it. Events of one key that are published one after the
    /// other are seen in that order.
    ///
    /// Dropped before it is ready, the event may have been published or not.
    ///
    /// # Errors
    /// When it is not accepted; the same event may be published again.
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>>;

    /// The events of these topics from now on, in the order in which they were accepted.
    fn subscribe_to(&self, topics: &[&str]) -> Subscription;

    /// The events of a topic from now on.
    fn subscribe(&self, topic: &str) -> Subscription {
        self.subscribe_to(&[topic])
    }

    /// What was published to `topic` for `key` behind `after`.
    ///
    /// A bus that keeps histories gives each push of the class `resumable` that is for users by their
    /// names a [position](Event::position), keeps it for a while in the history of each of these users
    /// ([`PushEvent::kept_for`]; the user is the key), and leaves whatever else it carries without one.
    /// What comes again has at least all that any subscriber had been given when this was called.
    ///
    /// It is incomplete where the history does not reach back to `after` any more, where `after` is of
    /// another history, where there is more than `most`, and on a bus that keeps none, which is what this
    /// does unless it is written anew. It is never said to be complete where something may be missing.
    ///
    /// Dropped before it is ready, nothing has happened.
    ///
    /// # Errors
    /// When what carries events cannot be asked.
    fn replay(
        &self,
        topic: &str,
        key: &str,
        after: &Position,
        most: Bounds,
    ) -> BoxFuture<'_, Result<Replay, BusError>> {
        let _ = (topic, key, after, most);
        Box::pin(ready(Ok(Replay::incomplete())))
    }

    /// Where the history of `key` ends now, in a topic that somebody here subscribes to: who has seen this has
    /// missed nothing. It may lie before the end, and never behind it. `None`: none is kept, or it is not
    /// known yet.
    fn end(&self, topic: &str, key: &str) -> Option<Position> {
        let _ = (topic, key);
        None
    }

    /// Whether an event of this topic would be seen by anybody. What nobody would see is not even made.
    fn is_watched(&self, topic: &str) -> bool {
        let _ = topic;
        true
    }

    /// How it is, for those who operate the gateway. Asked often: it must not wait.
    fn state(&self) -> BusState {
        BusState::default()
    }
}

/// How a bus is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusState {
    /// Whether what is published from now on reaches this process. Until then the gateway is not ready;
    /// once `true` it stays so, for a bus that fails later is no reason to turn clients away.
    pub is_ready: bool,
    /// By topic, where that is known: what is published and has not arrived here.
    pub lag: Vec<(Arc<str>, u64)>,
    /// By topic: what arrived, and was no event.
    pub undecodable: Vec<(Arc<str>, u64)>,
    /// Whether what carries events can be reached; `None` where that is this process itself.
    pub is_connected: Option<bool>,
    /// What is not as it should be now, in words, the worst first.
    pub troubles: Vec<String>,
    /// By result (`written`, `lost`): what arrived, was no event, and was to be kept elsewhere.
    pub dead_letters: Vec<(&'static str, u64)>,
}

impl Default for BusState {
    fn default() -> Self {
        Self {
            is_ready: true,
            lag: Vec::new(),
            undecodable: Vec::new(),
            is_connected: None,
            troubles: Vec::new(),
            dead_letters: Vec::new(),
        }
    }
}

/// Why an event was not accepted. For a caller over HTTP each is a 503 with `Retry-After`, but for one
/// that is too big.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BusError {
    /// A queue on its way has no room.
    #[error("the bus has no room for more events")]
    Full,
    /// What carries events cannot be reached.
    #[error("the bus cannot be reached")]
    Unreachable,
    /// There is no topic of this name; there may be one later.
    #[error("the bus has no such topic")]
    NoTopic,
    /// This gateway may not publish to the topic; it may be allowed later.
    #[error("the bus does not let this gateway publish to the topic")]
    Forbidden,
    /// It carries no event of this size; the same event is refused again.
    #[error("the bus carries no event of this size")]
    TooBig,
}

/// The names of the topics. The first three are those of the predecessor (row B-033).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Topics {
    /// [`Payload::Push`]; `websocket-transport`.
    pub push: Arc<str>,
    /// [`Payload::UserConnected`]; `user-connect-event`.
    pub user_connect: Arc<str>,
    /// [`Payload::UserDisconnected`]; `user-disconnect-event`.
    pub user_disconnect: Arc<str>,
    /// [`Payload::SessionOpened`] and [`Payload::SessionClosed`]; `session-events`.
    pub sessions: Arc<str>,
}

impl Topics {
    /// All of them, in the order of the fields.
    #[must_use]
    pub fn all(&self) -> [&Arc<str>; 4] {
        [
            &self.push,
            &self.user_connect,
            &self.user_disconnect,
            &self.sessions,
        ]
    }
}

impl Default for Topics {
    fn default() -> Self {
        Self {
            push: "websocket-transport".into(),
            user_connect: "user-connect-event".into(),
            user_disconnect: "user-disconnect-event".into(),
            sessions: "session-events".into(),
        }
    }
}
