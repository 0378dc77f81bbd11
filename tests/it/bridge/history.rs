//! Ten thousand calls through services that fail in every way: from what clients sent and received and
//! from what services saw, each call has exactly one terminal frame, and none has another's.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::ScriptedUpstream;
use tidegate_tests::wire::Wire;

use super::{Client, bridged};

const SESSIONS: usize = 20;
const CALLS: usize = 500;
/// Calls of a session that are under way at once.
const AHEAD: usize = 32;

/// What a client did and saw, in its order.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    Sent {
        id: u64,
        key: String,
        streams: bool,
    },
    Chunk {
        id: u64,
        key: String,
        n: u64,
    },
    /// The last of a call: its status, and the key that its body told, where it was a service's.
    Last {
        id: u64,
        status: u64,
        key: Option<String>,
        chunks: u64,
    },
}

/// What is wrong with the history of one session, whose calls reached services as `reached` says.
fn faults(history: &[Event], reached: &HashSet<String>) -> Vec<String> {
    let mut faults = Vec::new();
    let mut open: HashMap<u64, (&str, bool, u64)> = HashMap::new();
    let mut over = HashSet::new();
    for event in history {
        match event {
            Event::Sent { id, key, streams } => {
                open.insert(*id, (key, *streams, 0));
            }
            Event::Chunk { id, key, n } => match open.get_mut(id) {
                None => faults.push(format!("a chunk for {id}, which is not open")),
                Some((_, false, _)) => {
                    faults.push(format!("a chunk for {id}, which streams nothing"));
                }
                Some((own, true, next)) => {
                    if key != own {
                        faults.push(format!("a chunk of {key} for {own}"));
                    }
                    if n != next {
                        faults.push(format!("chunk {n} of {id} in place of {next}"));
                    }
                    *next += 1;
                }
            },
            Event::Last {
                id,
                status,
                key,
                chunks,
            } => match open.remove(id) {
                None if over.contains(id) => faults.push(format!("two ends of {id}")),
                None => faults.push(format!("an end of {id}, which nobody asked for")),
                Some((own, _, seen)) => {
                    over.insert(*id);
                    if key.as_ref().is_some_and(|key| key != own) {
                        faults.push(format!("the answer of {key:?} for {own}"));
                    }
                    if *status == 200 && !reached.contains(own) {
                        faults.push(format!("an answer for {own}, which reached no service"));
                    }
                    if *chunks != seen {
                        faults.push(format!("{seen} chunks of {id} where {chunks} are told"));
                    }
                }
            },
        }
    }
    faults.extend(open.keys().map(|id| format!("no end of {id}")));
    faults
}

/// Answers with the key of the target, or fails as the target says.
async fn fail_often(mut wire: Wire, reached: Arc<Mutex<HashSet<String>>>) {
    while let Ok(head) = wire.read_head_or_end().await {
        let target = head.target().to_owned();
        let (how, key) = target[1..].split_once('/').unwrap();
        reached.lock().unwrap().insert(key.to_owned());
        let body = format!("{key:?}");
        let length = body.len();
        let json = "Content-Type: application/json\r\n";
        let answer = match how {
            "lost" => return,
            "cut" => format!("HTTP/1.1 200 OK\r\n{json}Content-Length: 999\r\n\r\n{body}"),
            "garbage" => "HTTP/1.1 999999 No\r\n\r\n".to_owned(),
            "silent" => return drop(wire.read_head_or_end().await),
            "error" => format!("HTTP/1.1 500 No\r\n{json}Content-Length: {length}\r\n\r\n{body}"),
            "events" => {
                let event = format!("data: {key}\n\n");
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                format!("{head}{chunk}{chunk}{chunk}0\r\n\r\n")
            }
            "broken" => {
                let event = format!("data: {key}\n\n");
                let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
                format!("{head}{:x}\r\n{event}\r\n5\r\nab", event.len())
            }
            _ => format!("HTTP/1.1 200 OK\r\n{json}Content-Length: {length}\r\n\r\n{body}"),
        };
        if wire.try_send(answer).await.is_err() || matches!(how, "cut" | "garbage" | "broken") {
            return;
        }
    }
}

const WAYS: [&str; 12] = [
    "well", "well", "well", "well", "lost", "cut", "garbage", "silent", "error", "events",
    "broken", "well",
];

fn heard(frame: &Value) -> Event {
    let id = frame["id"].as_u64().unwrap();
    let key = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match frame["op"].as_str() {
        Some("chunk") => Event::Chunk {
            id,
            key: key(&frame["event"]["data"]),
            n: frame["n"].as_u64().unwrap(),
        },
        Some(_) => Event::Last {
            id,
            status: frame["error"]["status"].as_u64().unwrap_or(200),
            key: None,
            chunks: frame["n"].as_u64().unwrap_or(0),
        },
        None => Event::Last {
            id,
            status: frame["status"].as_u64().unwrap(),
            key: frame["body"].as_str().map(str::to_owned),
            chunks: 0,
        },
    }
}

async fn hear(client: &mut Client, history: &mut Vec<Event>, open: &mut usize) {
    let frame = client.receive().await;
    if frame["stream"] == true || frame["op"] == "ping" {
        return;
    }
    let event = heard(&frame);
    *open -= usize::from(matches!(event, Event::Last { .. }));
    history.push(event);
}

async fn live(mut client: Client, number: usize) -> Vec<Event> {
    let mut history = Vec::with_capacity(CALLS * 3);
    let mut open = 0;
    for call in 0..CALLS {
        while open >= AHEAD {
            hear(&mut client, &mut history, &mut open).await;
        }
        let how = WAYS[fastrand::usize(..WAYS.len())];
        let (id, key) = (call as u64 + 1, format!("{number}-{call}"));
        let streams = matches!(how, "events" | "broken");
        let uri = format!("/{how}/{key}");
        history.push(Event::Sent { id, key, streams });
        client
            .send(&json!({"id": id, "baseUrl": "account-service", "uri": uri, "stream": streams}))
            .await;
        open += 1;
        if fastrand::usize(..20) == 0 {
            client.send(&json!({"op": "cancel", "id": id})).await;
        }
    }
    while open > 0 {
        hear(&mut client, &mut history, &mut open).await;
    }
    // Nothing comes behind the last.
    assert_eq!(client.ask(&json!({"op": "ping"})).await["op"], "pong");
    history
}

#[tokio::test]
async fn each_call_has_one_end_and_none_has_anothers() {
    let reached = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&reached);
    let upstream = ScriptedUpstream::serve(move |wire| fail_often(wire, Arc::clone(&seen))).await;
    let gateway = bridged(&upstream, "timeout: 300ms");
    let mut clients = Vec::new();
    for number in 0..SESSIONS {
        let client = Client::new(&gateway).await;
        clients.push(tokio::spawn(live(client, number)));
    }
    let mut histories = Vec::new();
    for client in clients {
        let lived = tokio::time::timeout(Duration::from_secs(120), client).await;
        histories.push(lived.expect("a call without an end").unwrap());
    }
    let reached = reached.lock().unwrap().clone();
    for history in &histories {
        assert_eq!(faults(history, &reached), Vec::<String>::new());
    }
    plant(&histories[0], &reached);
    gateway.is_empty().await;
}

/// The checker finds what is planted into a history without faults.
fn plant(history: &[Event], reached: &HashSet<String>) {
    let is_answer = |event: &&Event| {
        matches!(
            event,
            Event::Last {
                status: 200,
                key: Some(_),
                ..
            }
        )
    };
    let answers: Vec<usize> = (0..history.len())
        .filter(|at| is_answer(&&history[*at]))
        .collect();
    let [first, second] = [answers[3], answers[4]];
    let changed = |change: &dyn Fn(&mut Vec<Event>)| {
        let mut history = history.to_vec();
        change(&mut history);
        faults(&history, reached)
    };
    let dropped = changed(&|history| drop(history.remove(first)));
    let doubled = changed(&|history| history.push(history[first].clone()));
    let crossed = changed(&|history| {
        let (Event::Last { key: one, .. }, Event::Last { key: other, .. }) =
            (history[first].clone(), history[second].clone())
        else {
            unreachable!("both are answers");
        };
        let [a, b] = history.get_disjoint_mut([first, second]).unwrap();
        if let (Event::Last { key: a, .. }, Event::Last { key: b, .. }) = (a, b) {
            (*a, *b) = (other, one);
        }
    });
    let phantom = changed(&|history| {
        history.push(Event::Last {
            id: 1 << 40,
            status: 200,
            key: None,
            chunks: 0,
        });
    });
    let early = changed(&|history| {
        let chunk = history
            .iter()
            .position(|event| matches!(event, Event::Chunk { .. }))
            .unwrap();
        let Event::Chunk { id, .. } = history[chunk] else {
            unreachable!()
        };
        let last = history
            .iter()
            .position(|event| matches!(event, Event::Last { id: of, .. } if *of == id))
            .unwrap();
        let last = history.remove(last);
        history.insert(chunk, last);
    });
    for (name, found) in [
        ("drop", dropped),
        ("double", doubled),
        ("crossing", crossed),
        ("phantom", phantom),
        ("early end", early),
    ] {
        assert!(
            !found.is_empty(),
            "the checker does not see a planted {name}"
        );
    }
}
