//! The end of a schedule: all is mended, and what is true of it comes to be seen.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::backing::Watch;
use tidegate_tests::history::presence::{self, Presence, Told};
use tidegate_tests::history::{self, History, Kind, around};

use super::doubts::doubts;
use super::settings::user;
use super::world::World;

/// How long what is due may take to come, once all is mended. What never comes takes that long to be
/// missed, and nothing else does.
const SETTLED: Duration = Duration::from_secs(90);

/// Before it is looked again.
const AGAIN: Duration = Duration::from_millis(100);
/// Faults that are named.
const SHOWN: usize = 12;

/// Topics in which is told who comes and goes.
pub(super) struct Watches {
    sessions: Watch,
    connect: Watch,
    disconnect: Watch,
    push: Watch,
    of_sessions: Vec<Told>,
    of_users: Vec<Told>,
}

impl Watches {
    pub(super) async fn open(world: &World) -> Self {
        let (party, topics) = (world.party(), &world.topics);
        Self {
            sessions: party.watch(&topics.sessions).await,
            connect: party.watch(&topics.connect).await,
            disconnect: party.watch(&topics.disconnect).await,
            push: party.watch(&topics.push).await,
            of_sessions: Vec::new(),
            of_users: Vec::new(),
        }
    }

    /// What stands in the topic of pushes, in the partitions that it had at first.
    pub(super) fn pushes(&mut self) -> Vec<Value> {
        std::iter::from_fn(|| self.push.next_if_there()).collect()
    }

    /// What was told of sessions and users, and what is so.
    pub(super) fn presence(&self, world: &World, history: &History) -> Presence {
        let (open, online) = open(history);
        Presence {
            of_sessions: self.of_sessions.clone(),
            of_users: self.of_users.clone(),
            open,
            online,
            doubts: doubts(world),
        }
    }

    fn read(&mut self) {
        while let Some(record) = self.sessions.next_if_there() {
            let event = value_of(&record);
            self.of_sessions.push(told_of_session(&record, &event));
        }
        for (watch, is_begin) in [(&mut self.connect, true), (&mut self.disconnect, false)] {
            while let Some(record) = watch.next_if_there() {
                let whom = record["key"].as_str().unwrap().to_owned();
                self.of_users.push(told(&record, &whom, is_begin));
            }
        }
    }
}

fn value_of(record: &Value) -> Value {
    use base64::Engine as _;
    let bytes = record["value_bytes"].as_str().unwrap();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(bytes)
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn told(record: &Value, whom: &str, is_begin: bool) -> Told {
    let id = record["headers"]["tidegate-id"].as_str();
    Told {
        id: id.unwrap().to_owned(),
        whom: whom.to_owned(),
        user: None,
        node: None,
        is_begin,
        time: record["time"].as_i64().unwrap(),
        since: None,
        is_by_others: false,
    }
}

fn told_of_session(record: &Value, event: &Value) -> Told {
    let text = |name: &str| event[name].as_str().map(str::to_owned);
    let is_begin = event["type"] == "session.opened";
    let told = told(record, &text("session").unwrap(), is_begin);
    let lasted = event["duration_seconds"].as_f64();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "schedules last for minutes"
    )]
    let lasted = lasted.map(|seconds| (seconds * 1_000.0) as i64);
    Told {
        user: text("user"),
        node: text("node"),
        since: lasted.map(|lasted| told.time - lasted),
        is_by_others: event["cause"] == "node_lost",
        ..told
    }
}

/// Waits until nothing is wrong any more; what is still wrong then, in words.
pub(super) async fn judge(world: &Arc<World>, watches: &mut Watches) -> Result<(), String> {
    let begun = Instant::now();
    loop {
        let history = world.history();
        let faults = history::faults(&history);
        // What is due may be on its way; nothing else mends itself.
        let is_final = |fault: &history::Fault| !matches!(fault.kind, Kind::Loss | Kind::EarlyAck);
        let is_late = begun.elapsed() > SETTLED;
        if let Some(fault) = faults.iter().find(|fault| is_late || is_final(fault)) {
            return Err(told_of(world, &history, &faults, fault));
        }
        let mut wrong = match faults.is_empty() {
            true => counts(world, &history).await,
            false => vec!["something is due".to_owned()],
        };
        if wrong.is_empty() {
            watches.read();
            wrong = presence::faults(&watches.presence(world, &history));
        }
        if wrong.is_empty() {
            return Ok(());
        }
        if is_late && faults.is_empty() {
            let notes: Vec<String> = world
                .notes()
                .iter()
                .map(|(at, words)| format!("{at:>7} {words}"))
                .collect();
            let first: Vec<&str> = wrong.iter().take(SHOWN).map(String::as_str).collect();
            let (count, first) = (wrong.len(), first.join("\n"));
            let notes = notes.join("\n");
            return Err(format!(
                "{count} faults ([Presence]), of which:\n{first}\n{notes}"
            ));
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// The first faults, and the history around one of them.
fn told_of(
    world: &World,
    history: &History,
    faults: &[history::Fault],
    one: &history::Fault,
) -> String {
    let count = faults.len();
    let first = faults.iter().take(SHOWN);
    let first: Vec<String> = first
        .map(|fault| format!("{:?} of client {}: {}", fault.kind, fault.life, fault.words))
        .collect();
    let shown = around(history, one, &world.notes());
    let mut kinds: Vec<Kind> = faults.iter().map(|fault| fault.kind).collect();
    kinds.sort();
    kinds.dedup();
    format!(
        "{count} faults ({kinds:?}), of which:\n{}\n{shown}",
        first.join("\n")
    )
}

/// Sessions that are open, and the users whose they are.
fn open(history: &History) -> (BTreeSet<String>, BTreeSet<String>) {
    let open = history
        .lives
        .iter()
        .filter_map(|life| Some((life.open()?, life.user)));
    let each = open.map(|(socket, number)| (socket.session.clone(), user(number)));
    each.unzip()
}

/// What nodes say of who is online, where it is not so.
async fn counts(world: &World, history: &History) -> Vec<String> {
    let mut wrong = Vec::new();
    let (_, users) = open(history);
    for (number, node) in world.nodes.iter().enumerate() {
        let all = node
            .json("/v1/users?scope=cluster")
            .await
            .unwrap_or_default();
        if all["users_online"] != users.len() || names(&all) != users {
            wrong.push(format!(
                "node {} says of the cluster {all}, not {users:?}",
                node.name
            ));
        }
        let here = history
            .lives
            .iter()
            .filter(|life| life.open().is_some_and(|socket| socket.node == number));
        let here: BTreeSet<String> = here.map(|life| user(life.user)).collect();
        let told = node.json("/v1/users").await.unwrap_or_default();
        if told["users_online"] != here.len() || names(&told) != here {
            wrong.push(format!("node {} says {told}, not {here:?}", node.name));
        }
    }
    wrong
}

fn names(told: &Value) -> BTreeSet<String> {
    let users = told["users"].as_array().into_iter().flatten();
    users
        .filter_map(|one| one["user"].as_str().map(str::to_owned))
        .collect()
}
