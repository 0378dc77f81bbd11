//! `bus`: what events are called where they are published, and what is kept of them.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::error::{Fault, Place, Problems};
use super::super::plan::{BusHistory, BusPlan};
use super::super::value;
use super::super::yaml::{Quoted, Spot};
use super::rooms;

/// The longest name of a topic, as brokers have it.
const LONGEST_TOPIC: usize = 249;

/// The value of `bus`.
pub(super) fn read(spot: &Spot<'_>, problems: &mut Problems) -> Option<BusPlan> {
    let mut fields = spot.fields(problems)?;
    let mut plan = BusPlan::default();
    if let Some(spot) = fields.take("node") {
        let node = spot.value(problems, |text| value::name(text).map(Arc::from));
        plan.node = node.unwrap_or(plan.node);
    }
    if let Some(spot) = fields.take("topics") {
        read_topics(&spot, &mut plan, problems);
    }
    if let Some(spot) = fields.take("memory") {
        read_memory(&spot, &mut plan, problems);
    }
    fields.finish(problems);
    Some(plan)
}

/// One user's pushes may be so many.
const MOST_EVENTS: u32 = 1_000_000;

fn read_memory(spot: &Spot<'_>, plan: &mut BusPlan, problems: &mut Problems) {
    let Some(mut fields) = spot.fields(problems) else {
        return;
    };
    if let Some(spot) = fields.take("history") {
        plan.history = read_history(&spot, problems);
    }
    fields.finish(problems);
}

fn read_history(spot: &Spot<'_>, problems: &mut Problems) -> Option<BusHistory> {
    if spot.is_scalar() {
        return spot.value(problems, rooms::no_history).and(None);
    }
    let mut history = BusHistory::default();
    let mut fields = spot.fields(problems)?;
    if let Some(spot) = fields.take("events") {
        let events = spot.whole(problems, 1..=MOST_EVENTS);
        history.events = events.map_or(history.events, |events| events as usize);
    }
    if let Some(spot) = fields.take("bytes") {
        let bytes = spot.value(problems, value::bounded_size);
        history.bytes = bytes.unwrap_or(history.bytes);
    }
    if let Some(spot) = fields.take("age") {
        let age = spot.value(problems, value::duration);
        history.age = age.unwrap_or(history.age);
    }
    fields.finish(problems);
    Some(history)
}

fn read_topics(spot: &Spot<'_>, plan: &mut BusPlan, problems: &mut Problems) {
    let Some(mut fields) = spot.fields(problems) else {
        return;
    };
    let topics = &mut plan.topics;
    let mut places: HashMap<&str, Place> = HashMap::new();
    for (key, name) in [
        ("push", &mut topics.push),
        ("user_connect", &mut topics.user_connect),
        ("user_disconnect", &mut topics.user_disconnect),
        ("sessions", &mut topics.sessions),
    ] {
        let Some(spot) = fields.take(key) else {
            continue;
        };
        places.insert(key, spot.place());
        *name = spot
            .value(problems, topic)
            .unwrap_or_else(|| Arc::clone(name));
    }
    fields.finish(problems);
    let named = [
        ("push", &topics.push),
        ("user_connect", &topics.user_connect),
        ("user_disconnect", &topics.user_disconnect),
        ("sessions", &topics.sessions),
    ];
    for (place, (key, name)) in named.into_iter().enumerate() {
        let mut before = named.iter().take(place);
        let Some((other, _)) = before.find(|(_, other)| *other == name) else {
            continue;
        };
        // Of the two at least one was written.
        if let Some(place) = places.get(key).or_else(|| places.get(other)) {
            let message = format!("`{key}` and `{other}` are both called {}", Quoted(name));
            problems.suggest(place, message, "a topic carries one kind of event");
        }
    }
}

pub(super) fn topic(text: &str) -> Result<Arc<str>, Fault> {
    let is_topic_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_topic = (1..=LONGEST_TOPIC).contains(&text.len())
        && text.bytes().all(is_topic_byte)
        && !matches!(text, "." | "..");
    if is_topic {
        return Ok(text.into());
    }
    let fault = Fault::new(format!("{} is no name of a topic", Quoted(text)));
    Err(fault.suggest("letters, digits, `.`, `_` and `-`, at most 249"))
}
