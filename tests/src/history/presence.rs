//! What was told of sessions and users, against what is open in the end.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// An event of a session or a user, as it stands in its topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The event's name: what is told again keeps it.
    pub id: String,
    /// Which session or user.
    pub whom: String,
    /// Whether it opened or came, and did not close or go.
    pub is_begin: bool,
    /// When, by the clock of who told it, in milliseconds since 1970.
    pub time: i64,
}

/// What is wrong with what was told of sessions, while `open` are. Of those of `doubtful` nodes, which were
/// killed or taken for dead, it is only asked that they were told of where they are open: what of them was
/// not published yet may be missing, and what crossed with the words of survivors be there twice.
#[must_use]
pub fn of_sessions(
    told: &[Told],
    open: &BTreeSet<String>,
    doubtful: &BTreeSet<String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let each = distinct(told, &mut faults);
    for (session, told) in &each {
        let begins = told.iter().filter(|one| one.is_begin).count();
        let ends = told.len() - begins;
        let is_open = open.contains(session);
        let is_even = begins == ends + usize::from(is_open);
        if begins > 0 && !is_even && !doubtful.contains(session) {
            let state = if is_open { "open" } else { "gone" };
            faults.push(format!(
                "session {session} is {state}, and was told {begins} times as opened, {ends} times as closed"
            ));
        }
    }
    let is_told = |session: &&String| {
        let told = each.get(*session);
        !told.is_some_and(|told| told.iter().any(|one| one.is_begin))
    };
    let untold = open.iter().filter(is_told);
    faults.extend(untold.map(|session| format!("session {session} is open, and nobody was told")));
    faults
}

/// What is wrong with what was told of users, while those of `online` are. Where `may_repeat`, one may be
/// told again as what it was already: what the store of the cluster had lost, or not answered.
#[must_use]
pub fn of_users(told: &[Told], online: &BTreeSet<String>, may_repeat: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let each = distinct(told, &mut faults);
    for (user, told) in each.clone() {
        let told = in_turn(told);
        let mut is_online = false;
        for one in &told {
            if one.is_begin == is_online && !may_repeat {
                let what = if is_online { "online" } else { "offline" };
                faults.push(format!("user {user} was told as {what} twice: {told:?}"));
                break;
            }
            is_online = one.is_begin;
        }
        let is_last = told.last().is_some_and(|one| one.is_begin);
        if is_last != online.contains(&user) {
            faults.push(format!("user {user} was told last as online: {is_last}"));
        }
    }
    let untold = online.iter().filter(|user| !each.contains_key(*user));
    faults.extend(untold.map(|user| format!("user {user} is online, and nobody was told")));
    faults
}

/// By their times; where two have one, the one that has its turn comes first.
fn in_turn(mut told: Vec<&Told>) -> Vec<&Told> {
    told.sort_by_key(|one| one.time);
    let mut is_online = false;
    for place in 0..told.len() {
        let time = told[place].time;
        let same = told[place..].iter().take_while(|one| one.time == time);
        let due = same.clone().position(|one| one.is_begin != is_online);
        told.swap(place, place + due.unwrap_or(0));
        is_online = told[place].is_begin;
    }
    told
}

/// Each event once, by whom it is of.
fn distinct<'t>(told: &'t [Told], faults: &mut Vec<String>) -> BTreeMap<String, Vec<&'t Told>> {
    let mut known: HashMap<&str, &Told> = HashMap::new();
    let mut each: BTreeMap<String, Vec<&Told>> = BTreeMap::new();
    for one in told {
        match known.insert(&one.id, one) {
            None => each.entry(one.whom.clone()).or_default().push(one),
            Some(before) if (&before.whom, before.is_begin) != (&one.whom, one.is_begin) => {
                faults.push(format!("{before:?} and {one:?} have one name"));
            }
            Some(_again) => {}
        }
    }
    each
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(words: &[(&str, &str, bool)]) -> Vec<Told> {
        let each = words
            .iter()
            .zip(0..)
            .map(|((id, whom, is_begin), time)| Told {
                id: (*id).to_owned(),
                whom: (*whom).to_owned(),
                is_begin: *is_begin,
                time,
            });
        each.collect()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn each_session_ends_once_however_often_that_is_told() {
        let all = told(&[
            ("1", "a", true),
            ("2", "b", true),
            ("3", "a", false),
            ("3", "a", false),
        ]);
        let none: [String; 0] = [];
        assert_eq!(of_sessions(&all, &names(&["b"]), &names(&[])), none);
        assert_eq!(
            of_sessions(&all, &names(&[]), &names(&[])).len(),
            1,
            "b has no end"
        );
        assert_eq!(
            of_sessions(&all, &names(&["a", "b"]), &names(&[])).len(),
            1,
            "a is open"
        );
        assert_eq!(
            of_sessions(&all, &names(&["b", "c"]), &names(&[])).len(),
            1,
            "c is untold"
        );
        let twice = [all, told(&[("4", "a", false)])].concat();
        assert_eq!(of_sessions(&twice, &names(&["b"]), &names(&[])).len(), 1);
        assert_eq!(of_sessions(&twice, &names(&["b"]), &names(&["a"])), none);
        let renamed = told(&[("1", "a", true), ("1", "a", false)]);
        assert!(!of_sessions(&renamed, &names(&[]), &names(&[])).is_empty());
    }

    #[test]
    fn a_session_that_was_taken_for_lost_is_told_anew() {
        let back = told(&[("1", "a", true), ("2", "a", false), ("3", "a", true)]);
        let none: [String; 0] = [];
        assert_eq!(of_sessions(&back, &names(&["a"]), &names(&[])), none);
        assert_eq!(of_sessions(&back, &names(&[]), &names(&[])).len(), 1);
    }

    #[test]
    fn users_come_and_go_in_turn() {
        let all = told(&[
            ("1", "u", true),
            ("2", "u", false),
            ("2", "u", false),
            ("3", "u", true),
        ]);
        let none: [String; 0] = [];
        assert_eq!(of_users(&all, &names(&["u"]), false), none);
        assert_eq!(of_users(&all, &names(&[]), false).len(), 1);
        assert_eq!(of_users(&all, &names(&["u", "v"]), false).len(), 1);
        let again = [all, told(&[("4", "u", true)])].concat();
        // By their times; the last stands first there.
        assert!(!of_users(&again, &names(&["u"]), false).is_empty());
        assert_eq!(of_users(&again, &names(&["u"]), true), none);
        // Of two of one moment, in whichever order they were read.
        let mut at_once = told(&[("1", "u", true), ("3", "u", true), ("2", "u", false)]);
        at_once[2].time = at_once[1].time;
        assert_eq!(of_users(&at_once, &names(&["u"]), false), none);
        assert!(!of_users(&at_once, &names(&[]), false).is_empty());
        let gone = told(&[("1", "u", true), ("2", "u", false), ("3", "u", false)]);
        assert!(!of_users(&gone, &names(&[]), false).is_empty());
        assert_eq!(of_users(&gone, &names(&[]), true), none);
        assert!(!of_users(&gone, &names(&["u"]), true).is_empty());
    }
}
