//! What is where. Keys of one script have one hash tag, so that a Redis Cluster has them in one slot.

use tidegate::cluster::NodeId;

/// Pieces in which sessions and users are.
pub(super) const PARTITIONS: usize = 64;

/// The names of all keys and channels.
#[derive(Debug)]
pub(super) struct Keys {
    prefix: Box<str>,
}

/// One piece of the sessions: those of some users, and some of nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Partition(usize);

impl Partition {
    /// All of them.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        (0..PARTITIONS).map(Self)
    }

    /// Where a session is: with its user, or by itself where that is not known.
    pub(super) fn of(session: &str, user: Option<&str>) -> Self {
        Self::of_user(user.unwrap_or(session))
    }

    /// Where a user is. All nodes agree on it, whatever they were built with: FNV-1a, spread.
    pub(super) fn of_user(user: &str) -> Self {
        let hash = user.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        // Short names differ in few of its bits; a round of MurmurHash3's end spreads those.
        let spread = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        Self((spread >> 58) as usize % PARTITIONS)
    }

    /// The one of that number, which begins anew behind the last.
    pub(super) const fn number(number: u64) -> Self {
        Self((number % PARTITIONS as u64) as usize)
    }

    /// Its number.
    pub(super) const fn place(self) -> usize {
        self.0
    }
}

impl Keys {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.into(),
        }
    }

    fn in_partition(&self, Partition(number): Partition, name: &str) -> String {
        format!("{}:{{p{number}}}:{name}", self.prefix)
    }

    /// HASH: session → mark, node, newline, facts. The mark: `O` open; `B` counted out; `L` counted out, and
    /// its user is offline with it. Behind the facts of those, a newline, and when that was, in microseconds.
    pub(super) fn sessions(&self, partition: Partition) -> String {
        self.in_partition(partition, "sessions")
    }

    /// ZSET, all scores 0: the users who are online.
    pub(super) fn online(&self, partition: Partition) -> String {
        self.in_partition(partition, "online")
    }

    /// ZSET: session of a user → when it was opened, in microseconds.
    pub(super) fn of_user(&self, partition: Partition, user: &str) -> String {
        self.in_partition(partition, &format!("user:{user}"))
    }

    /// SET: the open sessions of a node.
    pub(super) fn of_node(&self, partition: Partition, node: &str) -> String {
        self.in_partition(partition, &format!("node:{node}"))
    }

    /// ZSET, all scores 0: the sessions of a node that were counted out and whose end is not told yet; before each,
    /// in 16 digits, when that was.
    pub(super) fn kept_of(&self, partition: Partition, node: &str) -> String {
        self.in_partition(partition, &format!("kept:{node}"))
    }

    /// Exists: nothing is taken from the node any more.
    pub(super) fn fence(&self, partition: Partition, node: &str) -> String {
        self.in_partition(partition, &format!("fence:{node}"))
    }

    /// HASH: node → how long its lease is, in milliseconds.
    pub(super) fn lengths(&self) -> String {
        self.of_nodes("lengths")
    }

    fn of_nodes(&self, name: &str) -> String {
        format!("{}:{{nodes}}:{name}", self.prefix)
    }

    /// ZSET: node → when its lease lapses, in milliseconds.
    pub(super) fn leases(&self) -> String {
        self.of_nodes("leases")
    }

    /// ZSET: node → when its lease was seen to have lapsed.
    pub(super) fn dead(&self) -> String {
        self.of_nodes("dead")
    }

    /// ZSET: node → when nothing was left of it.
    pub(super) fn buried(&self) -> String {
        self.of_nodes("buried")
    }

    /// When anybody renewed a lease last, in milliseconds.
    pub(super) fn last_renewal(&self) -> String {
        self.of_nodes("renewed")
    }

    /// Who tells the end of a node's sessions.
    pub(super) fn claim(&self, node: &str) -> String {
        self.of_nodes(&format!("claim:{node}"))
    }

    /// HASH: node → what it says of something that all count.
    pub(super) fn tally(&self, of: &str) -> String {
        self.of_nodes(&format!("tally:{of}"))
    }

    fn of_tokens(&self, name: &str) -> String {
        format!("{}:{{revoked}}:{name}", self.prefix)
    }

    /// ZSET: what is revoked → its number.
    pub(super) fn by_number(&self) -> String {
        self.of_tokens("numbers")
    }

    /// ZSET: what is revoked → its end, in milliseconds.
    pub(super) fn by_end(&self) -> String {
        self.of_tokens("ends")
    }

    /// ZSET: what is revoked → until when that was issued which is meant, in microseconds.
    pub(super) fn by_issue(&self) -> String {
        self.of_tokens("issued")
    }

    /// Where the numbers are from.
    pub(super) fn epoch(&self) -> String {
        self.of_tokens("epoch")
    }

    /// The last number.
    pub(super) fn last_number(&self) -> String {
        self.of_tokens("last")
    }

    /// The channel of all nodes.
    pub(super) fn all_nodes(&self) -> String {
        format!("{}:nodes", self.prefix)
    }

    /// The channel of one.
    pub(super) fn node(&self, node: &NodeId) -> String {
        format!("{}:node:{node}", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_spread_and_stay_where_they_are() {
        let mut counts = [0; PARTITIONS];
        for number in 0..6400 {
            counts[Partition::of_user(&format!("u{number}")).place()] += 1;
        }
        assert!(
            counts.iter().all(|count| (50..200).contains(count)),
            "{counts:?}"
        );
        // Nodes of other versions look there.
        assert_eq!(Partition::of_user("u42").place(), PLACE_OF_U42);
        assert_eq!(Partition::of("s", Some("u42")), Partition::of_user("u42"));
        assert_eq!(Partition::of("s", None), Partition::of_user("s"));
    }

    const PLACE_OF_U42: usize = 40;
}
