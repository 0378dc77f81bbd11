//! When nodes were not to be trusted, by what was done to them and by what they said themselves: a loaded
//! machine takes some for dead as well.

use serde_json::Value;
use tidegate_tests::history::Excuse;
use tidegate_tests::history::presence::{Doubt, Doubts, Why};

use super::faults::Fault;
use super::settings::LEASE;
use super::world::{Deed, World};

/// How long whatever was cut takes to be well again: milliseconds.
const RECOVERS: i64 = 1_000;
/// How long something may have been tried that has failed: the brokers' second, one more, and a busy machine.
const TRIED: i64 = 4_000;
/// Until the end of a killed node has been told, where nobody says so.
const BURIED: i64 = 20_000;
/// How long a node that cannot ask brokers goes on asking: its clients' five seconds, and a busy machine.
const ASKED: i64 = 6_000;

/// Something that a node has said.
struct Line {
    /// By which of its processes.
    process: usize,
    time: i64,
    words: String,
    topic: String,
    node: String,
}

/// When nodes could not say what a client had missed.
pub(super) fn excuses(world: &World) -> Vec<Excuse> {
    let all = world.deeds().into_iter();
    let each = all.filter_map(|deed| {
        let node = kafka_of(deed.fault)?;
        let to = deed.to.map_or(i64::MAX, |to| to + ASKED);
        Some(Excuse {
            node,
            from: deed.from,
            to,
        })
    });
    each.collect()
}

/// Whom a fault keeps from the brokers: one node, or all.
fn kafka_of(fault: Fault) -> Option<Option<usize>> {
    match fault {
        Fault::CutKafka(node) | Fault::HoldKafka(node) | Fault::Stop(node, _) => Some(Some(node)),
        Fault::StopBroker | Fault::PauseBroker => Some(None),
        _ => None,
    }
}

/// Whom it keeps from the store.
fn redis_of(fault: Fault) -> Option<Option<usize>> {
    match fault {
        Fault::CutRedis(node) | Fault::HoldRedis(node) | Fault::Stop(node, _) => Some(Some(node)),
        Fault::RestartRedis | Fault::FailOver => Some(None),
        _ => None,
    }
}

/// When no node, or one or the other, was to be trusted.
pub(super) fn doubts(world: &World) -> Doubts {
    let deeds = world.deeds();
    let spoken: Vec<Vec<Line>> = world.nodes.iter().map(|node| said(&node.said())).collect();
    let mut all = Vec::new();
    for (number, node) in world.nodes.iter().enumerate() {
        let mut add = |why, from, to| {
            let node = node.name.clone();
            all.push(Doubt {
                node,
                why,
                from,
                to,
            });
        };
        by_its_words(&spoken[number], &mut add);
        let is_meant = |whom: Option<Option<usize>>| {
            whom.is_some_and(|whom| whom.is_none_or(|one| one == number))
        };
        for deed in &deeds {
            let to = deed.to.map_or(i64::MAX, |to| to + RECOVERS);
            if is_meant(redis_of(deed.fault)) {
                add(Why::Away, deed.from, to);
            }
            if is_meant(kafka_of(deed.fault)) {
                // What was under way when it begins fails in it.
                add(Why::Untaken, deed.from - TRIED, to.saturating_add(TRIED));
            }
            if deed.fault == Fault::Kill(number) {
                add(
                    Why::Killed,
                    deed.from,
                    buried(&spoken, &node.name, deed.from),
                );
            }
        }
    }
    drained(world, &deeds, &spoken, &mut all);
    Doubts::new(all, LEASE * 1_000)
}

/// A node that ends while brokers take nothing leaves its last words to the others, as if it were killed.
fn drained(world: &World, deeds: &[Deed], spoken: &[Vec<Line>], all: &mut Vec<Doubt>) {
    for deed in deeds {
        let Fault::Drain(number) = deed.fault else {
            continue;
        };
        let name = &world.nodes[number].name;
        let to = deed.to.unwrap_or(i64::MAX);
        let mut held = all.iter().filter(|one| one.node == *name);
        if held.any(|one| one.why != Why::Killed && one.from <= to && deed.from <= one.to) {
            all.push(Doubt {
                node: name.clone(),
                why: Why::Killed,
                from: deed.from,
                to: buried(spoken, name, deed.from),
            });
        }
    }
}

/// When the last of the others said that the node is gone which was there under that name until then.
fn buried(spoken: &[Vec<Line>], name: &str, killed: i64) -> i64 {
    let lines = || spoken.iter().flatten();
    let is_its = |line: &&Line| line.node.split('/').next() == Some(name);
    let begins = lines().filter(|line| line.words == IN_CLUSTER && line.time <= killed);
    let last = begins.filter(is_its).max_by_key(|line| line.time);
    let ends = lines().filter(|line| {
        line.words.starts_with("a node is gone") && last.is_some_and(|last| last.node == line.node)
    });
    let ends = ends.map(|line| line.time).filter(|time| *time >= killed);
    ends.max().unwrap_or(killed + BURIED)
}

fn by_its_words(spoken: &[Line], add: &mut dyn FnMut(Why, i64, i64)) {
    for (place, line) in spoken.iter().enumerate() {
        let until = |words: &str| {
            let mut behind = spoken[place + 1..].iter();
            let next = behind.find(|next| {
                let is_it = next.words.starts_with(words) && next.topic == line.topic;
                is_it || next.process > line.process && next.words == IN_CLUSTER
            });
            next.map_or(i64::MAX, |next| next.time)
        };
        let words = line.words.as_str();
        if words.contains("lease had lapsed") {
            add(Why::Away, line.time - LEASE * 1_000, until(IN_CLUSTER));
            add(Why::Reborn, line.time, until(IN_CLUSTER));
        } else if words.contains("on its own until") {
            add(Why::Away, line.time - LEASE * 1_000, until(IN_CLUSTER));
        } else if words.starts_with("events are not published yet") {
            add(
                Why::Untaken,
                line.time - TRIED,
                until("events are published again"),
            );
        } else if words.starts_with("the end of a session elsewhere is not told yet") {
            add(Why::Untaken, line.time - TRIED, line.time + TRIED);
        }
    }
}

const IN_CLUSTER: &str = "in the cluster";
/// Words that mean something here.
const SAID: [&str; 8] = [
    IN_CLUSTER,
    "lease had lapsed",
    "on its own until",
    "events are published again",
    "events are not published yet",
    "the end of a session elsewhere is not told yet",
    "a node is gone",
    "be reached",
];

/// What the processes of a node have said, one after the other.
fn said(text: &str) -> Vec<Line> {
    let mut process = 0;
    let mut all = Vec::new();
    for line in text.lines() {
        process += usize::from(line.starts_with("--- ended with"));
        all.extend(parsed(line, process));
    }
    all
}

fn parsed(line: &str, process: usize) -> Option<Line> {
    // Most is of no concern.
    SAID.iter().find(|words| line.contains(**words))?;
    let said: Value = serde_json::from_str(line).ok()?;
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    Some(Line {
        process,
        time: milliseconds(said["ts"].as_str()?)?,
        words: text("msg"),
        topic: text("topic"),
        node: text("node"),
    })
}

/// `2026-11-22T09:55:27.318761Z` (RFC 3339), in milliseconds since 1970.
fn milliseconds(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // Days since 1970 of the proleptic Gregorian calendar, of years that begin in March.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day;
    let days = days - 719_469;
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(seconds * 1_000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_wall() {
        assert_eq!(milliseconds("1970-01-01T00:00:00.000000Z"), Some(0));
        assert_eq!(
            milliseconds("2026-11-22T09:55:27.318761Z"),
            Some(1_795_341_327_318)
        );
        assert_eq!(
            milliseconds("2024-02-29T23:59:59.999999Z"),
            Some(1_709_251_199_999)
        );
        assert_eq!(milliseconds("yesterday"), None);
    }
}
