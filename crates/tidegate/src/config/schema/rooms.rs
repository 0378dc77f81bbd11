//! `rooms`: what holds for all of them, and `rooms` of a bridge: who may do what in which.

use super::super::error::{Fault, Problems};
use super::super::plan::{RoomHistory, RoomsPlan};
use super::super::value;
use super::super::yaml::{Quoted, Spot};
use super::auth;
use crate::auth::{Expression, Grant, RoomPattern, RoomRule};

/// Each membership holds a place in its room.
const MOST_ROOMS: u32 = 10_000;
/// So many pushes may be sent to who comes back.
const MOST_MESSAGES: u32 = 100_000;

/// The value of `rooms`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> RoomsPlan {
    let mut plan = RoomsPlan::default();
    let Some(mut fields) = spot.fields(problems) else {
        return plan;
    };
    if let Some(spot) = fields.take("max_per_session") {
        let most = spot.whole(problems, 1..=MOST_ROOMS);
        plan.max_per_session = most.map_or(plan.max_per_session, |most| most as usize);
    }
    if let Some(spot) = fields.take("presence_grace") {
        let grace = spot.value(problems, value::duration);
        plan.presence_grace = grace.unwrap_or(plan.presence_grace);
    }
    if let Some(spot) = fields.take("history") {
        plan.history = read_history(&spot, problems);
    }
    fields.finish(problems);
    plan
}

fn read_history(spot: &Spot<'_>, problems: &mut Problems) -> Option<RoomHistory> {
    if spot.is_scalar() {
        return spot.value(problems, no_history).and(None);
    }
    let mut history = RoomHistory::default();
    let mut fields = spot.fields(problems)?;
    if let Some(spot) = fields.take("messages") {
        let messages = spot.whole(problems, 1..=MOST_MESSAGES);
        history.messages = messages.map_or(history.messages, |messages| messages as usize);
    }
    if let Some(spot) = fields.take("age") {
        let age = spot.value(problems, value::duration);
        history.age = age.unwrap_or(history.age);
    }
    if let Some(spot) = fields.take("memory") {
        let memory = spot.value(problems, value::bounded_size);
        history.memory = memory.unwrap_or(history.memory);
    }
    fields.finish(problems);
    Some(history)
}

pub(super) fn no_history(text: &str) -> Result<(), Fault> {
    match text {
        "none" => Ok(()),
        _ => {
            let fault = Fault::new(format!("expected a map or `none`, found {}", Quoted(text)));
            Err(fault.suggest("write such as `history: { age: 5m }`"))
        }
    }
}

/// The value of a bridge's `rooms`.
pub(super) fn read_rules(spot: &Spot<'_>, problems: &mut Problems) -> Vec<RoomRule> {
    let items = spot.any_number();
    let rules = items.iter().filter_map(|spot| read_rule(spot, problems));
    rules.collect()
}

fn read_rule(spot: &Spot<'_>, problems: &mut Problems) -> Option<RoomRule> {
    let mut fields = spot.fields(problems)?;
    let matched = fields.need("match", "match: \"orders:{claims.tenant}:*\"", problems);
    let pattern = matched.and_then(|spot| spot.value(problems, pattern));
    let [subscribe, publish, presence] = ["subscribe", "publish", "presence"].map(|key| {
        let grant = fields.take(key);
        grant
            .and_then(|spot| read_grant(&spot, problems))
            .unwrap_or_default()
    });
    fields.finish(problems);
    Some(RoomRule {
        pattern: pattern?,
        subscribe,
        publish,
        presence,
    })
}

fn pattern(text: &str) -> Result<RoomPattern, Fault> {
    RoomPattern::parse(text).map_err(|error| {
        let fault = Fault::new(format!("{} is no pattern of rooms: {error}", Quoted(text)));
        fault.suggest("write such as \"orders:{claims.tenant}:*\"")
    })
}

const GRANTS: [&str; 4] = ["all", "expr", "nobody", "roles"];

fn read_grant(spot: &Spot<'_>, problems: &mut Problems) -> Option<Grant> {
    let choice = spot.choice(problems)?;
    match choice.name {
        "all" => choice.no_argument(problems).map(|()| Grant::All),
        "nobody" => choice.no_argument(problems).map(|()| Grant::Nobody),
        "roles" => {
            let spots = choice.need_argument(problems)?.one_or_many(problems);
            let roles = spots.iter();
            let roles = roles.filter_map(|spot| spot.value(problems, auth::text));
            Some(Grant::Roles(roles.collect()))
        }
        "expr" => {
            let spot = choice.need_argument(problems)?;
            spot.value(problems, condition).map(Grant::Expression)
        }
        _ => {
            choice.unknown(problems, "grant", GRANTS);
            None
        }
    }
}

fn condition(text: &str) -> Result<Expression, Fault> {
    Expression::parse_for_room(text).map_err(|error| {
        let fault = Fault::new(format!("{} is no condition: {error}", Quoted(text)));
        fault.suggest("write CEL, such as `room.startsWith('chat:')`")
    })
}
