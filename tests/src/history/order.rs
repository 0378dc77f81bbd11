//! The order of a user's pushes: all of the user's sockets see the same one.

use std::collections::HashMap;

use super::{Class, Fault, Got, History, Kind, Publish};

/// Whether whoever gets both gets `one` first.
pub(super) fn precedes(history: &History, one: &Publish, other: &Publish) -> bool {
    one.precedes(other) && is_ordered(history, other)
}

/// Whether it has a place in its user's order.
fn is_ordered(history: &History, push: &Publish) -> bool {
    let is_before = |grown| push.acked.is_some_and(|acked| acked < grown);
    push.is_ordered && push.class == Class::Resumable && history.grown.is_none_or(is_before)
}

/// Whether it came by its place in its user's history: what is told by the record for several users has none.
pub(super) fn has_place(got: &Got, push: &Publish) -> bool {
    got.has_cursor || push.users.len() == 1
}

/// Two sockets of a user that got the same two pushes, each in another order.
pub(super) fn disagreements(history: &History, faults: &mut Vec<Fault>) {
    let mut seen: HashMap<usize, Vec<(usize, Vec<u64>)>> = HashMap::new();
    for (number, life) in history.lives.iter().enumerate() {
        for socket in &life.sockets {
            let ordered = socket.got.iter().filter(|got| {
                let push = history.published.get(&got.number);
                push.is_some_and(|push| is_ordered(history, push) && has_place(got, push))
            });
            let order: Vec<u64> = ordered.map(|got| got.number).collect();
            let others = seen.entry(life.user).or_default();
            for (_, other) in others.iter() {
                if let Some((one, two)) = swapped(other, &order) {
                    let at = socket.got.iter().find(|got| got.number == one);
                    faults.push(Fault {
                        kind: Kind::Order,
                        life: number,
                        at: at.map_or(socket.since, |got| got.at),
                        words: format!("{two} came before {one}, and elsewhere behind it"),
                    });
                    break;
                }
            }
            others.push((number, order));
        }
    }
}

/// Two that stand next to each other among those that both have, and in another order in the other.
fn swapped(one: &[u64], other: &[u64]) -> Option<(u64, u64)> {
    let places: HashMap<u64, usize> = one.iter().copied().zip(0..).collect();
    let both: Vec<u64> = other
        .iter()
        .copied()
        .filter(|number| places.contains_key(number))
        .collect();
    let pair = both
        .windows(2)
        .find(|pair| places[&pair[0]] > places[&pair[1]])?;
    Some((pair[1], pair[0]))
}
