//! What publishers did and what receivers saw, each by its own records alone, and what is wrong with
//! that: a push that is lost in silence, comes twice, out of order or from nowhere, or was answered and
//! never was; and a client that is told of a loss without a reason.
//!
//! Nothing here waits, asks or knows of a gateway: whoever has such records may judge them.

mod deliveries;
mod order;
pub mod presence;
mod recovery;
mod show;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

pub use deliveries::faults;
pub use show::{around, whole};

/// A moment of a history: what is noted later has a larger one.
pub type Moment = u64;

/// Gives moments to all who note something.
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// A new moment, later than all before.
    pub fn tick(&self) -> Moment {
        self.0.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The last moment.
    pub fn now(&self) -> Moment {
        self.0.load(Ordering::SeqCst)
    }
}

/// What is promised of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// At most once.
    Live,
    /// At least once, in the order of each user.
    Resumable,
}

/// A push, as its publisher knows it.
#[derive(Debug, Clone)]
pub struct Publish {
    /// Its number, which no other push has.
    pub number: u64,
    /// What it says besides.
    pub word: u64,
    /// Whom it is for.
    pub users: Vec<usize>,
    /// What is promised of it.
    pub class: Class,
    /// The request that it was published by, and its place there.
    pub request: (u64, usize),
    /// Before it was sent first.
    pub begun: Moment,
    /// After it was answered that it is published.
    pub acked: Option<Moment>,
    /// Whether it was sent once and is in its users' order: what was sent again after nobody knew what
    /// had become of it may come at any time.
    pub is_ordered: bool,
    /// Whether it is left where its user's history is not.
    pub is_astray: bool,
}

impl Publish {
    /// Whether whoever gets both gets this one first.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        let has_order = |push: &Self| push.is_ordered && push.class == Class::Resumable;
        if !(has_order(self) && has_order(other)) {
            return false;
        }
        let ((request, place), (of_other, behind)) = (self.request, other.request);
        let was_before = self.acked.is_some_and(|acked| acked < other.begun);
        was_before || (request == of_other && place < behind)
    }
}

/// How a socket of a client begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// As a session that goes on with no other.
    Fresh,
    /// It was said that nothing is lost.
    Recovered,
    /// It was said that something may be lost.
    Lost,
}

/// A push, as a client got it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Got {
    /// After it came.
    pub at: Moment,
    /// What it says.
    pub number: u64,
    /// What it says besides.
    pub word: u64,
    /// Whether a place to come back to came with it.
    pub has_cursor: bool,
}

/// A socket of a client.
#[derive(Debug, Clone)]
pub struct Socket {
    /// Where it led to.
    pub node: usize,
    /// The session's name.
    pub session: String,
    /// How it began.
    pub begin: Begin,
    /// After it was told so.
    pub since: Moment,
    /// The same, in milliseconds since 1970.
    pub time: i64,
    /// Whether its client came back with a place that it had been told.
    pub had_cursor: bool,
    /// What came, in its order.
    pub got: Vec<Got>,
    /// Before its client let go of it, or after it found that it had ended.
    pub until: Option<Moment>,
}

/// A client, through all of its sockets.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// Whose it is.
    pub user: usize,
    /// One behind the other.
    pub sockets: Vec<Socket>,
}

impl Life {
    /// Its sockets up to where it was said that something may be lost, and from there on.
    pub fn chains(&self) -> impl Iterator<Item = &[Socket]> {
        self.sockets
            .chunk_by(|_, next| next.begin == Begin::Recovered)
    }

    /// The socket that is open at the end.
    #[must_use]
    pub fn open(&self) -> Option<&Socket> {
        self.sockets.last().filter(|socket| socket.until.is_none())
    }
}

/// All that was noted.
#[derive(Debug, Default, Clone)]
pub struct History {
    /// Pushes by their numbers.
    pub published: HashMap<u64, Publish>,
    /// Clients.
    pub lives: Vec<Life>,
    /// When the topic got more partitions: from then on a user's pushes stand in two of them, and no order
    /// is promised across them.
    pub grown: Option<Moment>,
    /// When nodes could not say what a client had missed.
    pub excuses: Vec<Excuse>,
    /// When nodes began anew.
    pub starts: Vec<Start>,
}

/// A node that began to read topics at their ends at some moment between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    /// Which node.
    pub node: usize,
    /// Before it was started.
    pub from: Moment,
    /// When it was found to be ready; `None`: not yet.
    pub to: Option<Moment>,
}

/// A time in which a node cannot ask brokers, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Excuse {
    /// Which node; `None`: all.
    pub node: Option<usize>,
    /// The first moment.
    pub from: i64,
    /// The last one.
    pub to: i64,
}

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A push came to somebody, and not to one whom it was due to.
    Loss,
    /// A push was answered, and came to nobody whom it was due to.
    EarlyAck,
    /// A push came twice.
    Double,
    /// A push came before one that it was published after.
    Order,
    /// What came was published never, otherwise, or for somebody else.
    Phantom,
    /// It was said that something may be lost, and nothing was the reason; or what can come again had no
    /// place to come back to.
    Denied,
}

/// Something that is wrong.
#[derive(Debug, Clone)]
pub struct Fault {
    /// What.
    pub kind: Kind,
    /// With which client.
    pub life: usize,
    /// When it was seen, or should have been.
    pub at: Moment,
    /// In words.
    pub words: String,
}
