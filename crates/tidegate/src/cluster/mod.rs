//! The cluster: all nodes, and the memory that they share.
//!
//! [`StateStore`] is the seam. [`MemoryStore`] is shared by the gateways of one process; another, Redis
//! perhaps, is given to the gateway with [`GatewayBuilder::cluster`](crate::GatewayBuilder::cluster).
//! Without one, a gateway is a cluster of its own and decides everything itself.
//!
//! Each node knows its own sessions, and is right about them. The store knows those of all, as each node
//! has told: `keeper` tells it, off the data path, and hears from it who is the first or the last of a
//! user. A node holds a lease; where it lets that lapse, the others find its sessions in the store, tell of
//! their end, and only then drop them. Nodes speak to each other by `wire`; `hear` does what is asked.

mod ask;
mod carrier;
mod clock;
mod ending;
mod facts;
mod hear;
mod keeper;
mod limits;
mod memory;
mod node;
mod share;
mod share_out;
mod store;
mod survive;
#[cfg(test)]
mod tests;
mod wire;

pub(crate) use self::ask::{Answers, Asked};
pub(crate) use self::carrier::ClusterBus;
pub(crate) use self::ending::Ending;
pub(crate) use self::facts::Facts;
pub(crate) use self::keeper::Keeping;
pub use self::memory::MemoryStore;
pub(crate) use self::node::{Cluster, Wired};
pub use self::store::{
    Change, Ended, Entry, Inbox, Member, Membership, NodeId, NotANode, OnlineUser, Orphan,
    Revocation, Revoked, SessionPage, Standing, StateStore, StoreError, Tally, To, Verdict,
};
pub(crate) use self::wire::Order;
