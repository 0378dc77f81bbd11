//! What is told again under the same name: only where nobody knew whether it had been told.

use std::collections::BTreeMap;

use super::users::{concerns, seats};
use super::{Presence, Told};

/// Whether who tells the end of a gone node's sessions keeps its claim for as long as the brokers are
/// away. Where it does not, another one claims them meanwhile, and tells all of them too.
pub const CLAIMS_LAST: bool = true;
/// Of what survivors publish of one user, one event after the other, so many may be under way when brokers go or
/// come.
const UNDER_WAY: usize = 2;

pub(super) fn judge(presence: &Presence, faults: &mut Vec<String>) {
    judge_with(presence, CLAIMS_LAST, faults);
}

pub(super) fn judge_with(presence: &Presence, claims_last: bool, faults: &mut Vec<String>) {
    let mut by_others: BTreeMap<_, Vec<&Told>> = BTreeMap::new();
    for all in [&presence.of_sessions, &presence.of_users] {
        let mut named: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
        for one in all {
            named.entry(&one.id).or_default().push(one);
        }
        for told in named.into_values().filter(|told| told.len() > 1) {
            let is_same =
                |one: &&&Told| one.whom == told[0].whom && one.is_begin == told[0].is_begin;
            if !told.iter().all(|one| is_same(&one)) {
                faults.push(format!("these have one name: {told:?}"));
                continue;
            }
            match forgiven(presence, &told) {
                None => faults.push(format!("told more than once: {told:?}")),
                Some(Reason::Unsure) if told[0].is_by_others => {
                    let whose = (&told[0].node, &told[0].user);
                    by_others.entry(whose).or_default().push(told[0]);
                }
                Some(_) => {}
            }
        }
    }
    for told in by_others.into_values() {
        if claims_last && told.len() > UNDER_WAY {
            faults.push(format!("two have told the end of a node: {told:?}"));
        }
    }
}

/// Why something may be told again.
enum Reason {
    /// Its node and others tell it.
    Both,
    /// Who had told it is gone, too.
    Second,
    /// The brokers did not say whether they have it.
    Unsure,
}

fn forgiven(presence: &Presence, told: &[&Told]) -> Option<Reason> {
    let doubts = &presence.doubts;
    let (first, last) = span(told);
    // Of a user, and of the end of a gone node's session, it is not known who told it.
    let teller = told[0].node.as_deref().filter(|_| !told[0].is_by_others);
    let is_unsure = || doubts.is_unsure(teller, first).then_some(Reason::Unsure);
    if told[0].is_begin {
        return is_unsure();
    }
    let seats = match told[0].node {
        Some(_) => Vec::new(),
        None => seats(presence, &told[0].whom),
    };
    let nodes: Vec<&str> = match &told[0].node {
        Some(node) => vec![node],
        None => seats.iter().map(|seat| seat.node).collect(),
    };
    let own = told.iter().find(|one| !one.is_by_others);
    let theirs = told.iter().find(|one| one.is_by_others);
    // Of a user it is not known who told it, and when the store was told is all that is.
    let is_by_both = |node: &&str| match (own, theirs) {
        (Some(own), Some(theirs)) => doubts.is_told_by_both(node, own.time, theirs.time),
        (Some(_), None) if told[0].node.is_none() => {
            doubts.is_told_by_both(node, first, last) || doubts.is_told_by_both(node, last, first)
        }
        _ => false,
    };
    if nodes.iter().any(is_by_both) {
        return Some(Reason::Both);
    }
    if first != last {
        return None;
    }
    let is_dead = |node: &&&str| {
        let mut its = doubts.of(node).filter(|doubt| doubt.is_absence());
        its.any(|doubt| {
            let is_there = seats.is_empty() || concerns(doubt, &seats);
            is_there && doubt.from <= first
        })
    };
    let by_others = told[0].is_by_others || told[0].node.is_none();
    let mut dead = nodes.iter().filter(is_dead);
    if by_others && dead.any(|node| doubts.has_second(node, first)) {
        return Some(Reason::Second);
    }
    is_unsure()
}

fn span(told: &[&Told]) -> (i64, i64) {
    let times = told.iter().map(|one| one.time);
    (
        times.clone().min().unwrap_or_default(),
        times.max().unwrap_or_default(),
    )
}
