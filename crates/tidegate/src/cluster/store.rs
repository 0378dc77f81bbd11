//! The seam: what the nodes of a cluster know together.

use std::fmt::{self, Debug};
use std::hash::{BuildHasher as _, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;

/// Messages that may wait for the node that they are for.
const WAITING: usize = 4096;

/// What the nodes of a cluster share. No request and no session waits for any of this.
///
/// Times are the store's own: nodes whose clocks differ have one opinion of a lease. Each verb but
/// [`open`](Self::open) is one step: all of it happens or nothing; a future that is dropped may have done
/// either, and every verb may be repeated.
pub trait StateStore: Send + Sync + Debug + 'static {
    /// Connects, in place of what was before. From now on whatever is sent to `node` and to all nodes
    /// arrives in the result, which ends when the link is cut: what was sent in between is lost.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn open(&self, node: &NodeId) -> BoxFuture<'_, Result<Inbox, StoreError>>;

    /// Renews the lease of a node, and with `join` makes it a member; tells who else is one, and whose
    /// lease has lapsed. Where nobody has renewed for two thirds of a lease the store was away, and all
    /// leases begin anew.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn renew(
        &self,
        node: &NodeId,
        lease: Duration,
        join: bool,
    ) -> BoxFuture<'_, Result<Standing, StoreError>>;

    /// Gives the lease up. What the node still has in the store is left for the others, as if the lease had
    /// lapsed.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn leave(&self, node: &NodeId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The nodes: the members, and those who are gone and of whom something is left.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn members(&self) -> BoxFuture<'_, Result<Vec<Member>, StoreError>>;

    /// Sessions of a node that came and went, in that order; a verdict for each.
    ///
    /// # Errors
    /// [`StoreError::Fenced`] where the node's lease has lapsed and others tell the end of its sessions.
    fn record(
        &self,
        node: &NodeId,
        changes: Vec<Change>,
    ) -> BoxFuture<'_, Result<Vec<Verdict>, StoreError>>;

    /// The open sessions that the store has of a node.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn held(&self, node: &NodeId) -> BoxFuture<'_, Result<Vec<Entry>, StoreError>>;

    /// Counts out sessions of a node whose lease has lapsed, about `most` of them: they are in no count and no
    /// list any more, their users are offline where they have no others, and they are kept until they are
    /// dropped. From now on nothing is taken from the node. `false`: none is open any more.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn count_out(&self, dead: &NodeId, most: usize) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Claims what a node whose lease has lapsed has left, for as long as `lease`: who has the claim tells of
    /// it. Whoever has it already renews it by that. `false`: another has it, or the node is forgotten.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn claim(
        &self,
        by: &NodeId,
        dead: &NodeId,
        lease: Duration,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Up to `most` sessions of a node that were counted out and are kept, in the order of their places,
    /// behind the place `after` (at first ""). Of one user they come in the order in which they were counted
    /// out. Empty: that was all.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn orphans<'s>(
        &'s self,
        dead: &NodeId,
        after: &'s str,
        most: usize,
    ) -> BoxFuture<'s, Result<Vec<Orphan>, StoreError>>;

    /// Drops sessions of a node that were counted out, because their end was told.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn drop_ended<'s>(
        &'s self,
        node: &NodeId,
        ended: &'s [Ended],
    ) -> BoxFuture<'s, Result<(), StoreError>>;

    /// Forgets a node of whom nothing is left.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn forget(&self, dead: &NodeId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// How many users are online.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn online(&self) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Up to `most` users behind `after`, by their names.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn users<'s>(
        &'s self,
        after: &'s str,
        most: usize,
    ) -> BoxFuture<'s, Result<Vec<OnlineUser>, StoreError>>;

    /// The sessions of a user, each with its node, the oldest first.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn sessions_of<'s>(
        &'s self,
        user: &'s str,
    ) -> BoxFuture<'s, Result<Vec<(NodeId, Entry)>, StoreError>>;

    /// About `most` sessions from `cursor` on. The walk begins at 0; one that stays is seen, perhaps twice.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn sessions(&self, cursor: u64, most: usize) -> BoxFuture<'_, Result<SessionPage, StoreError>>;

    /// Writes down what a node says of something that all count, in place of what it said before; what
    /// each member says of it, this one too where it is one. It lasts as long as the node's lease.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn tally<'s>(
        &'s self,
        node: &NodeId,
        of: &'s str,
        said: &'s str,
    ) -> BoxFuture<'s, Result<Vec<Tally>, StoreError>>;

    /// Takes tokens back for all nodes, until their end. What is known already lasts until the later end, and
    /// holds for what was issued until the later moment.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn revoke(&self, revocations: Vec<Revocation>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// What was revoked behind the number `after`, the oldest first, at most `most`.
    ///
    /// # Errors
    /// When the store cannot be reached.
    fn revoked(&self, after: u64, most: usize) -> BoxFuture<'_, Result<Revoked, StoreError>>;

    /// Sends a message to a node or to all, the sender too. Whoever is not connected does not get it.
    ///
    /// # Errors
    /// When the store does not take it.
    fn send<'s>(&'s self, to: To<'s>, message: &'s [u8]) -> BoxFuture<'s, Result<(), StoreError>>;

    /// Why it was of no use last, in its own words, for those who run it: no secret, and nothing that it
    /// holds. `None` (the default): it does not say.
    fn trouble(&self) -> Option<Box<str>> {
        None
    }
}

/// Why the store did not do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be reached, or answers too late or not as it should.
    #[error("the cluster's store cannot be reached")]
    Unreachable,
    /// The node's lease has lapsed, and others have begun to tell the end of its sessions.
    #[error("this node's lease has lapsed")]
    Fenced,
}

/// A node from its start until its end, or until its lease lapses: its name, which others may have too, and
/// a number that no other has.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId {
    name: Arc<str>,
    incarnation: u64,
}

/// A text that names no node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this names no node")]
pub struct NotANode;

impl NodeId {
    /// A new incarnation of the node of that name.
    #[must_use]
    pub fn new(name: Arc<str>) -> Self {
        let incarnation = RandomState::new().hash_one(SystemTime::now());
        Self { name, incarnation }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its number.
    #[must_use]
    pub const fn incarnation(&self) -> u64 {
        self.incarnation
    }
}

/// `name/0123456789abcdef`.
impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{:016x}", self.name, self.incarnation)
    }
}

impl FromStr for NodeId {
    type Err = NotANode;

    fn from_str(text: &str) -> Result<Self, NotANode> {
        let (name, number) = text.rsplit_once('/').ok_or(NotANode)?;
        let incarnation = u64::from_str_radix(number, 16);
        let incarnation = incarnation.map_err(|_no_number| NotANode)?;
        Ok(Self {
            name: name.into(),
            incarnation,
        })
    }
}

/// How a node stands with the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Whether it was a member.
    pub membership: Membership,
    /// The members, this one too where it is one now.
    pub members: Vec<NodeId>,
    /// Those whose leases have lapsed and of whom something may be left.
    pub dead: Vec<NodeId>,
    /// Now, by the store's clock.
    pub time: SystemTime,
}

/// A node as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which one.
    pub node: NodeId,
    /// For how long its lease still lasts, by the store's clock; `None`: it has lapsed.
    pub lease: Option<Duration>,
    /// How many sessions it has there.
    pub sessions: u64,
}

/// What a node says of something that all count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tally {
    /// The node.
    pub node: NodeId,
    /// Its words; the store does not read them.
    pub said: Box<str>,
}

/// What a node is to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// Its lease goes on.
    Held,
    /// The store does not know it: it is new, or the store has lost what it knew.
    Unknown,
    /// Its lease has lapsed, and others tell the end of its sessions.
    Dead,
}

/// A session as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// Its id.
    pub session: Box<str>,
    /// Its user, where that is known.
    pub user: Option<Box<str>>,
    /// What its node says of it; the store does not read it.
    pub facts: Box<str>,
}

/// A session that came or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is there. Told again, it replaces what was said of it.
    Enter {
        /// What is said of it.
        entry: Entry,
        /// When it was opened, by the store's clock as its node knows that: by this the sessions of a
        /// user are in order.
        since: SystemTime,
    },
    /// It is not there any more.
    Leave {
        /// Its id.
        session: Box<str>,
        /// Its user, as it was entered.
        user: Option<Box<str>>,
        /// Its end is not told yet: it is counted out, but stays until it is dropped, so that others tell
        /// its end where its node dies before.
        is_kept: bool,
    },
}

/// A session whose end was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub session: Box<str>,
    /// Its user, as it was entered.
    pub user: Option<Box<str>>,
}

impl From<&Orphan> for Ended {
    fn from(orphan: &Orphan) -> Self {
        let Entry { session, user, .. } = &orphan.entry;
        Self {
            session: session.clone(),
            user: user.clone(),
        }
    }
}

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// The user is online with it who was not before, or is offline with it who was online.
    pub is_turn: bool,
    /// The session was there already: it is the same, or another node's whose lease has lapsed.
    pub was_known: bool,
    /// How many sessions its user has now.
    pub sessions: u64,
    /// When, by the store's clock; of a session that was counted out already, when that was.
    pub time: SystemTime,
}

/// A session whose node is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// The session.
    pub entry: Entry,
    /// Its user is offline with it.
    pub is_last: bool,
    /// When it was counted out, by the store's clock; whoever asks is told the same.
    pub time: SystemTime,
    /// Where it stands among what its node has left; no other has the same.
    pub place: Box<str>,
}

/// A user who is online.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct OnlineUser {
    /// Its name.
    pub user: Box<str>,
    /// How many sessions it has.
    pub sessions: u64,
}

/// Some of the sessions of all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPage {
    /// Them, each with its node.
    pub sessions: Vec<(NodeId, Entry)>,
    /// Where it goes on; `None`: that was all.
    pub next: Option<u64>,
}

/// Tokens that were taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// Which; the store compares it and does not read it.
    pub what: Box<str>,
    /// What was issued until then is meant; `None`: whatever has that name.
    pub until: Option<SystemTime>,
    /// From when on it is of no use any more; `None`: never.
    pub ends: Option<SystemTime>,
}

/// Some of what was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Them.
    pub revocations: Vec<Revocation>,
    /// The number behind which the next ones are. One below the number asked for: the store has lost what
    /// it knew.
    pub last: u64,
    /// Where the numbers are from. Another than before: the store has lost what it knew, and they have begun
    /// anew. 0: there are none yet.
    pub epoch: u64,
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To<'s> {
    /// All nodes.
    All,
    /// One.
    Node(&'s NodeId),
}

/// Where messages arrive.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Box<[u8]>>);

impl Inbox {
    /// Both ends of a new one. The link is cut when the sender is dropped.
    #[must_use]
    pub fn channel() -> (mpsc::Sender<Box<[u8]>>, Self) {
        let (sender, receiver) = mpsc::channel(WAITING);
        (sender, Self(receiver))
    }

    /// The next message; `None`: the link is cut. Dropped before it is ready, nothing is lost.
    pub async fn receive(&mut self) -> Option<Box<[u8]>> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_read_as_it_was_written_and_comes_once() {
        let (one, two) = (NodeId::new("a/b".into()), NodeId::new("a/b".into()));
        assert_ne!(one, two);
        assert_eq!(one.to_string().parse(), Ok(one));
        for wrong in ["", "a", "a/", "a/x"] {
            assert_eq!(wrong.parse::<NodeId>(), Err(NotANode), "{wrong}");
        }
    }
}
