//! What was told of sessions and users, against what is open in the end: each that was told as opened is told
//! as closed, of killed nodes too; whoever comes goes; and nothing is told twice but where a second node
//! was gone as well, or nobody knew whether the brokers had it.
//!
//! What is forgiven, where, and for how long, stands in [`doubt`].

pub mod doubt;
mod repeats;
mod sessions;
#[cfg(test)]
mod tests;
mod users;

use std::collections::{BTreeMap, BTreeSet};

pub use self::doubt::{Doubt, Doubts, Why};

/// An event of a session or a user, as it stands in its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The event's name: what is told again keeps it.
    pub id: String,
    /// Which session or user.
    pub whom: String,
    /// Of a session, whose it is.
    pub user: Option<String>,
    /// Of a session, where it is.
    pub node: Option<String>,
    /// Whether it opened or came, and did not close or go.
    pub is_begin: bool,
    /// When, by the clock of who told it, in milliseconds since 1970.
    pub time: i64,
    /// Of a session that closed, when it had opened.
    pub since: Option<i64>,
    /// Of a session that closed: others tell it, because its node is gone.
    pub is_by_others: bool,
}

/// All that was told, and what is so.
#[derive(Debug, Clone, Default)]
pub struct Presence {
    /// Of sessions.
    pub of_sessions: Vec<Told>,
    /// Of users.
    pub of_users: Vec<Told>,
    /// The sessions that are open.
    pub open: BTreeSet<String>,
    /// The users whose they are.
    pub online: BTreeSet<String>,
    /// When nodes were not to be trusted.
    pub doubts: Doubts,
}

/// What is wrong with it.
#[must_use]
pub fn faults(presence: &Presence) -> Vec<String> {
    let mut faults = Vec::new();
    sessions::judge(presence, &mut faults);
    users::judge(presence, &mut faults);
    repeats::judge(presence, &mut faults);
    faults
}

/// Events by whom they are of, each once.
fn distinct(told: &[Told]) -> BTreeMap<&str, Vec<&Told>> {
    let mut known = BTreeSet::new();
    let mut each: BTreeMap<&str, Vec<&Told>> = BTreeMap::new();
    for one in told.iter().filter(|one| known.insert(&one.id)) {
        each.entry(&one.whom).or_default().push(one);
    }
    each
}

/// By their times; where two have one, the one that has its turn comes first.
fn in_turn(mut told: Vec<&Told>) -> Vec<&Told> {
    told.sort_by_key(|one| one.time);
    let mut is_begun = false;
    for place in 0..told.len() {
        let time = told[place].time;
        let same = told[place..].iter().take_while(|one| one.time == time);
        let due = same.clone().position(|one| one.is_begin != is_begun);
        told.swap(place, place + due.unwrap_or(0));
        is_begun = told[place].is_begin;
    }
    told
}
