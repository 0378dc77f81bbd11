//! How many of the sessions that are too many are this node's. All nodes judge by the same figures and
//! come to the same end, whoever looks first.

use serde::{Deserialize, Serialize};

use super::NodeId;
use crate::config::plan::OverSessions;

/// Sessions whose times a node tells: of those that would go first.
const TOLD: usize = 256;

/// What a node says of its sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Said {
    /// How many are open.
    pub(super) open: usize,
    /// When those were opened that would go first, in that order, in microseconds since 1970.
    first: Vec<u64>,
}

/// What comes of what all have said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    /// How many sessions of this node have to go now.
    pub(super) mine: usize,
    /// How many others have.
    pub(super) elsewhere: usize,
    /// There are too many in all.
    pub(super) is_over: bool,
}

impl Said {
    /// What is said of sessions that were opened at these times, the oldest first.
    pub(super) fn of(
        opened: impl DoubleEndedIterator<Item = u64> + ExactSizeIterator,
        over: OverSessions,
    ) -> Self {
        let open = opened.len();
        let first = match over {
            OverSessions::EvictOldest => opened.take(TOLD).collect(),
            OverSessions::Reject => opened.rev().take(TOLD).collect(),
        };
        Self { open, first }
    }

    pub(super) fn written(&self) -> String {
        // Numbers: it can be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// What another has said; `None`: it speaks otherwise.
    pub(super) fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

impl Share {
    /// Which part of what is over `most` is to go here.
    pub(super) fn of(
        (me, mine): (&NodeId, &Said),
        others: &[(NodeId, Said)],
        most: usize,
        over: OverSessions,
    ) -> Self {
        let elsewhere = others
            .iter()
            .fold(0_usize, |all, (_, said)| all.saturating_add(said.open));
        let excess = elsewhere.saturating_add(mine.open).saturating_sub(most);
        // The higher, the sooner it goes; of two of one time that of the node whose name is behind.
        let rank = |time: u64| match over {
            OverSessions::EvictOldest => u64::MAX - time,
            OverSessions::Reject => time,
        };
        let all = || {
            let others = others.iter().map(|(node, said)| (node, said));
            others.chain([(me, mine)])
        };
        // Behind the last that a node tells there may be one of its own that goes sooner than others'.
        let unknown = all().filter(|(_, said)| said.first.len() < said.open);
        let unknown = unknown.filter_map(|(node, said)| Some((rank(*said.first.last()?), node)));
        let known_to = unknown.max();
        let told = all().flat_map(|(node, said)| said.first.iter().map(move |time| (*time, node)));
        let mut told: Vec<_> = told.map(|(time, node)| (rank(time), node)).collect();
        told.sort_unstable_by(|one, other| other.cmp(one));
        let go = told.iter().take(excess);
        let go = go.take_while(|place| known_to.is_none_or(|last| **place >= last));
        Self {
            mine: go.filter(|(_, node)| *node == me).count(),
            elsewhere,
            is_over: excess > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Ends what is too many as the nodes would, one after the other, until nobody has anything to end.
    fn settled(mut nodes: Vec<(NodeId, Vec<u64>)>, most: usize, over: OverSessions) -> Vec<u64> {
        loop {
            let before: usize = nodes.iter().map(|(_, its)| its.len()).sum();
            for place in 0..nodes.len() {
                let said = |its: &[u64]| Said::of(its.iter().copied(), over);
                let others = nodes
                    .iter()
                    .enumerate()
                    .filter(|(other, _)| *other != place);
                let others: Vec<_> = others
                    .map(|(_, (node, its))| (node.clone(), said(its)))
                    .collect();
                let (me, its) = &mut nodes[place];
                let share = Share::of((me, &said(its)), &others, most, over);
                match over {
                    OverSessions::EvictOldest => drop(its.drain(..share.mine)),
                    OverSessions::Reject => its.truncate(its.len() - share.mine),
                }
            }
            let after: usize = nodes.iter().map(|(_, its)| its.len()).sum();
            if after == before {
                let mut left: Vec<_> = nodes.into_iter().flat_map(|(_, its)| its).collect();
                left.sort_unstable();
                return left;
            }
        }
    }

    fn nodes(opened: &[Vec<u64>]) -> Vec<(NodeId, Vec<u64>)> {
        let names = ('a'..).map(|name| NodeId::new(name.to_string().into()));
        let opened = opened.iter().map(|one| {
            let mut one = one.clone();
            one.sort_unstable();
            one
        });
        names.zip(opened).collect()
    }

    proptest! {
        #[test]
        fn as_many_are_left_as_there_may_be_and_the_right_ones(
            opened in prop::collection::vec(prop::collection::vec(0_u64..400, 0..600), 1..5),
            most in 1_usize..700,
        ) {
            let mut all: Vec<_> = opened.iter().flatten().copied().collect();
            all.sort_unstable();
            let count = all.len().min(most);
            let left = settled(nodes(&opened), most, OverSessions::EvictOldest);
            prop_assert_eq!(&left[..], &all[all.len() - count..]);
            let left = settled(nodes(&opened), most, OverSessions::Reject);
            prop_assert_eq!(&left[..], &all[..count]);
        }

        #[test]
        fn all_who_judge_by_the_same_end_what_is_too_many_at_once(
            opened in prop::collection::vec(prop::collection::vec(0_u64..100, 0..60), 1..5),
            most in 1_usize..200,
        ) {
            for over in [OverSessions::EvictOldest, OverSessions::Reject] {
                let nodes = nodes(&opened);
                let said: Vec<_> = nodes
                    .iter()
                    .map(|(node, its)| (node.clone(), Said::of(its.iter().copied(), over)))
                    .collect();
                let gone: usize = said.iter().map(|(me, mine)| {
                    let others = said.iter().filter(|(node, _)| node != me);
                    Share::of((me, mine), &others.cloned().collect::<Vec<_>>(), most, over).mine
                }).sum();
                let all: usize = opened.iter().map(Vec::len).sum();
                prop_assert_eq!(gone, all.saturating_sub(most));
            }
        }
    }

    #[test]
    fn what_is_said_is_read_again() {
        let said = Said::of([1, 2, 3].into_iter(), OverSessions::Reject);
        assert_eq!(said.first, [3, 2, 1]);
        assert_eq!(Said::parse(&said.written()), Some(said));
        assert_eq!(Said::parse("x"), None);
    }
}
