//! A history in words, whole or around what is wrong with it.

use std::fmt::Write as _;

use super::{Fault, History, Moment};

/// How many moments before and behind are shown.
const AROUND: Moment = 60;

/// What publishers, clients and `notes` tell of the time around a fault, of its client's user.
#[must_use]
pub fn around(history: &History, fault: &Fault, notes: &[(Moment, String)]) -> String {
    let Some(life) = history.lives.get(fault.life) else {
        return String::new();
    };
    let is_near = |at: Moment| at + AROUND >= fault.at && at <= fault.at + AROUND;
    let named: Vec<&str> = fault.words.split([' ', ',']).collect();
    // What the fault is about is shown whenever it was.
    let is_about = |words: &str| {
        let mut each = words.split([' ', ',']);
        each.any(|word| word.parse::<u64>().is_ok_and(|_| named.contains(&word)))
    };
    let socket = format!("#{}: on ", fault.life);
    let is_shown = |at: Moment, words: &str| {
        is_near(at) || words.starts_with(['*']) || words.starts_with(&socket) || is_about(words)
    };
    let (kind, client, user) = (fault.kind, fault.life, life.user);
    let mut text = format!(
        "{kind:?}, client {client} of user {user}: {}\n",
        fault.words
    );
    for (at, words) in lines(history, user, notes) {
        if is_shown(at, &words) {
            let _ = writeln!(text, "{at:>7} {words}");
        }
    }
    text
}

/// All that is told of a user, of everybody's.
#[must_use]
pub fn whole(history: &History, user: usize, notes: &[(Moment, String)]) -> String {
    let lines = lines(history, user, notes).into_iter();
    lines.fold(String::new(), |mut text, (at, words)| {
        let _ = writeln!(text, "{at:>7} {words}");
        text
    })
}

fn lines(history: &History, user: usize, notes: &[(Moment, String)]) -> Vec<(Moment, String)> {
    let notes = notes.iter().map(|(at, words)| (*at, format!("** {words}")));
    let mut lines: Vec<(Moment, String)> = notes.collect();
    let of_user = history.published.values();
    for push in of_user.filter(|push| push.users.contains(&user)) {
        let (number, class, users) = (push.number, push.class, &push.users);
        let told = format!("publishes {number} ({class:?}, for {users:?})");
        lines.push((push.begun, told));
        if let Some(acked) = push.acked {
            let order = if push.is_ordered {
                ""
            } else {
                ", in nobody's order"
            };
            lines.push((acked, format!("{number} is answered{order}")));
        }
    }
    for (number, life) in history.lives.iter().enumerate() {
        for socket in life.sockets.iter().filter(|_| life.user == user) {
            let (begin, node, session) = (socket.begin, socket.node, &socket.session);
            let with = if socket.had_cursor {
                ""
            } else {
                " without a cursor"
            };
            let told = format!("#{number}: on node-{node}, {begin:?}{with}, {session}");
            lines.push((socket.since, told));
            let got = socket.got.iter();
            lines.extend(got.map(|got| (got.at, format!("#{number}: gets {}", got.number))));
            if let Some(until) = socket.until {
                lines.push((until, format!("#{number}: gone from node-{node}")));
            }
        }
    }
    lines.sort();
    lines
}
