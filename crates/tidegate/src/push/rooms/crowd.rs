//! Who is in one room: users, however many sessions each has there; and what has changed since the
//! members were told.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde_json::{Value, json};

/// The users in a room.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    /// With how many sessions.
    users: HashMap<Box<str>, usize>,
    /// Who has come or gone, and whether they were there when the members were last told.
    touched: HashMap<Box<str>, bool>,
    /// Whether somebody has looked at it since.
    is_looked_at: bool,
    /// Whether it waits to be told.
    is_listed: bool,
    /// How many times the members were told.
    batch: u64,
}

impl Crowd {
    pub(super) fn len(&self) -> usize {
        self.users.len()
    }

    pub(super) fn enter(&mut self, user: &str) {
        match self.users.get_mut(user) {
            Some(sessions) => *sessions += 1,
            None => {
                self.users.insert(user.into(), 1);
                self.touched.entry(user.into()).or_insert(false);
            }
        }
    }

    pub(super) fn leave(&mut self, user: &str) {
        let Entry::Occupied(mut entry) = self.users.entry(user.into()) else {
            return;
        };
        *entry.get_mut() -= 1;
        if *entry.get() == 0 {
            entry.remove();
            self.touched.entry(user.into()).or_insert(true);
        }
    }

    /// There is nobody to be told.
    pub(super) fn nobody_is_left(&mut self) {
        (self.users, self.touched) = Default::default();
    }

    /// Whether there is something to tell that waits for nobody yet; from now on it does.
    pub(super) fn wants_telling(&mut self) -> bool {
        let wants = !self.is_listed && !self.touched.is_empty();
        self.is_listed |= wants;
        wants
    }

    /// The frame that tells what has changed; `None`: all is as it was.
    pub(super) fn take_change(&mut self, room: &str) -> Option<String> {
        self.is_listed = false;
        let is_looked_at = std::mem::take(&mut self.is_looked_at);
        let (mut join, mut leave): (Vec<Value>, Vec<Value>) = Default::default();
        for (user, was_there) in std::mem::take(&mut self.touched) {
            match self.users.get(&user) {
                // Who has looked meanwhile may have seen what was undone since.
                Some(sessions) if !was_there || is_looked_at => {
                    join.push(json!({ "user": user, "conns": sessions }));
                }
                None if was_there || is_looked_at => leave.push(json!({ "user": user })),
                _ => {}
            }
        }
        if join.is_empty() && leave.is_empty() {
            return None;
        }
        self.batch += 1;
        let change = json!({ "op": "presence", "room": room, "n": self.batch, "join": join, "leave": leave });
        Some(change.to_string())
    }

    /// How many times members were told, and who is there now.
    pub(super) fn look(&mut self) -> (u64, Vec<(Box<str>, usize)>) {
        self.is_looked_at = true;
        let users = self.users.iter();
        let mut users: Vec<_> = users
            .map(|(user, sessions)| (user.clone(), *sessions))
            .collect();
        users.sort_unstable();
        (self.batch, users)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(crowd: &mut Crowd) -> Option<Value> {
        let change = crowd.take_change("r")?;
        let mut change: Value = serde_json::from_str(&change).unwrap();
        assert_eq!(
            (&change["op"], &change["room"]),
            (&json!("presence"), &json!("r"))
        );
        Some(json!([change["join"].take(), change["leave"].take()]))
    }

    #[test]
    fn a_user_joins_once_and_leaves_once() {
        let mut crowd = Crowd::default();
        crowd.enter("a");
        crowd.enter("a");
        assert!(crowd.wants_telling());
        assert!(!crowd.wants_telling(), "it is told once");
        let joined = json!([[{"user": "a", "conns": 2}], []]);
        assert_eq!(change(&mut crowd), Some(joined));
        crowd.leave("a");
        crowd.enter("a");
        crowd.leave("a");
        assert!(!crowd.wants_telling());
        assert_eq!(change(&mut crowd), None);
        crowd.leave("a");
        assert_eq!(change(&mut crowd), Some(json!([[], [{"user": "a"}]])));
        crowd.leave("a");
        assert_eq!(change(&mut crowd), None);
    }

    #[test]
    fn what_is_undone_is_told_to_those_alone_who_may_have_seen_it() {
        let mut crowd = Crowd::default();
        crowd.enter("a");
        assert!(change(&mut crowd).is_some());
        for is_looked_at in [false, true] {
            crowd.leave("a");
            crowd.enter("b");
            if is_looked_at {
                assert_eq!(crowd.look(), (1, vec![("b".into(), 1)]));
            }
            crowd.leave("b");
            crowd.enter("a");
            let told = json!([[{"user": "a", "conns": 1}], [{"user": "b"}]]);
            assert_eq!(change(&mut crowd), is_looked_at.then_some(told));
        }
    }
}
