//! Each user comes and goes in turn, and is at last told as what it is.

use super::doubt::{Doubt, SLACK, Why};
use super::{Presence, Told, distinct, in_turn};

pub(super) fn judge(presence: &Presence, faults: &mut Vec<String>) {
    let each = distinct(&presence.of_users);
    for (user, told) in &each {
        let told = in_turn(told.clone());
        let seats = seats(presence, user);
        let mut before: Option<&Told> = None;
        for one in &told {
            let is_turn = before.map_or(one.is_begin, |before| before.is_begin != one.is_begin);
            // Nobody may go before somebody came.
            let from = before.map_or(i64::MIN, |before| before.time);
            if !is_turn && !is_forgiven(presence, &seats, (from, one.time)) {
                let what = if one.is_begin { "online" } else { "offline" };
                faults.push(format!(
                    "user {user} was told as {what} twice at {}: {told:?}",
                    one.time
                ));
                break;
            }
            before = Some(one);
        }
        let is_last = told.last().is_some_and(|one| one.is_begin);
        let is_online = presence.online.contains(*user);
        if is_last != is_online && !(is_online && is_unpublished(presence, &seats, &told)) {
            faults.push(format!(
                "user {user} was told last as online: {is_last}: {told:?}"
            ));
        }
    }
    let untold = presence.online.iter();
    let untold = untold.filter(|user| !each.contains_key(user.as_str()));
    faults.extend(untold.map(|user| format!("user {user} is online, and nobody was told")));
}

/// A session of a user: where it was, and when.
pub(super) struct Seat<'p> {
    pub(super) node: &'p str,
    from: i64,
    to: i64,
}

/// The sessions of a user.
pub(super) fn seats<'p>(presence: &'p Presence, user: &str) -> Vec<Seat<'p>> {
    let each = distinct(&presence.of_sessions).into_values();
    let its = each.filter(|told| told.iter().any(|one| one.user.as_deref() == Some(user)));
    let seats = its.filter_map(|told| {
        let begins = told
            .iter()
            .filter_map(|one| one.since.or(one.is_begin.then_some(one.time)));
        let ends = told.iter().filter(|one| !one.is_begin);
        Some(Seat {
            node: told[0].node.as_deref()?,
            from: begins.min()?,
            to: ends.map(|one| one.time).max().unwrap_or(i64::MAX),
        })
    });
    seats.collect()
}

/// Whether somebody was there then.
pub(super) fn concerns(doubt: &Doubt, seats: &[Seat<'_>]) -> bool {
    let mut here = seats.iter().filter(|seat| seat.node == doubt.node);
    here.any(|seat| doubt.meets(seat.from - SLACK, seat.to.saturating_add(SLACK)))
}

/// Whether it came back to a node that was killed before it published so, and has been with others since then
/// without a gap: so nobody else was the first.
fn is_unpublished(presence: &Presence, seats: &[Seat<'_>], told: &[&Told]) -> bool {
    let gone = told.last().map_or(i64::MIN, |one| one.time);
    let mut later: Vec<_> = seats.iter().filter(|one| one.to >= gone).collect();
    later.sort_by_key(|seat| seat.from);
    let is_untold = |seat: &&Seat<'_>| {
        seat.from >= gone - SLACK && presence.doubts.was_unpublished(seat.node, seat.from)
    };
    let Some(first) = later.iter().copied().find(is_untold) else {
        return false;
    };
    let follows = later.iter().filter(|seat| seat.from >= first.from);
    let until = follows.fold(first.to, |until, seat| match seat.from <= until {
        true => until.max(seat.to),
        false => until,
    });
    until == i64::MAX
}

/// Whether between two events of one kind one may be missing, or the second be one too many.
fn is_forgiven(presence: &Presence, seats: &[Seat<'_>], (from, to): (i64, i64)) -> bool {
    let doubts = &presence.doubts;
    let its = doubts.all.iter().filter(|doubt| concerns(doubt, seats));
    let mut forgiven = its.filter(|doubt| match doubt.why {
        // What it had not published yet, since when it could not.
        Why::Killed => {
            let held = doubts.of(&doubt.node).filter(|held| {
                held.why == Why::Untaken && held.meets(doubt.from - SLACK, doubt.from)
            });
            let since = held.map(|held| held.from).min();
            let since = since.unwrap_or(doubt.from).min(doubt.from) - SLACK;
            since <= to && from <= doubt.to
        }
        Why::Away | Why::Reborn => doubt.meets(to - SLACK, to + SLACK),
        Why::Untaken => false,
    });
    forgiven.next().is_some()
}
