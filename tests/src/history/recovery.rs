//! Clients that come back: that something may be lost is told them for a reason, and not to be on the safe
//! side.

use super::{Class, Fault, History, Kind, Life, Publish, Socket};

/// Those who were told so without one, and what can come again and has no place to come back to.
pub(super) fn denials(history: &History, faults: &mut Vec<Fault>) {
    for (number, life) in history.lives.iter().enumerate() {
        let mut deny = |at, words| {
            faults.push(Fault {
                kind: Kind::Denied,
                life: number,
                at,
                words,
            });
        };
        for socket in &life.sockets {
            if socket.begin == super::Begin::Lost && !is_excused(history, life, socket) {
                let words = format!("{} was told of a loss for no reason", socket.session);
                deny(socket.since, words);
            }
            let cursorless = socket.got.iter().filter(|got| !got.has_cursor);
            for got in cursorless {
                // Where there are more partitions than when it was published, its place is none.
                let is_late = history.grown.is_some_and(|grown| grown < got.at);
                let is_due =
                    |push| has_place(push) && !is_late && !was_cut(history, push, socket.node);
                if history.published.get(&got.number).is_some_and(is_due) {
                    deny(got.at, format!("{} had no cursor", got.number));
                }
            }
        }
    }
}

/// Whether it stands in its user's history.
fn has_place(push: &Publish) -> bool {
    push.class == Class::Resumable && !push.is_astray
}

/// Whether a node may have begun to read between what is for each of several users and what is for all of
/// them: then those are told by the latter, which has no place in anybody's history.
pub(super) fn was_cut(history: &History, push: &Publish, node: usize) -> bool {
    let mut its = history.starts.iter().filter(|start| start.node == node);
    push.users.len() > 1
        && its.any(|start| {
            start.to.is_none_or(|to| push.begun < to)
                && push.acked.is_none_or(|acked| start.from < acked)
        })
}

/// Who shows no place is told nothing of it. Partitions that are added end all places, and a record that is
/// not where its user's history is those from before it and for a minute behind it. A node that cannot ask
/// brokers does not know.
fn is_excused(history: &History, life: &Life, socket: &Socket) -> bool {
    let is_astray = |push: &&Publish| {
        push.is_astray && push.users.contains(&life.user) && push.begun < socket.since
    };
    let is_there = |node: Option<usize>| node.is_none_or(|node| node == socket.node);
    let mut excuses = history.excuses.iter();
    !socket.had_cursor
        || history.grown.is_some_and(|grown| grown < socket.since)
        || history.published.values().any(|push| is_astray(&push))
        || excuses.any(|one| is_there(one.node) && one.from <= socket.time && socket.time <= one.to)
}
