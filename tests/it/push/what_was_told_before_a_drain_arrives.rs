//! A gateway that drains while users are told things: whatever it has taken for them before is with them
//! before their sockets are closed, and they go on at another one, which does not claim to know more.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_tests::eventually;
use tidegate_tests::frame::{CLOSE, Frame};
use tokio::task::JoinSet;

use super::super::bridge::Client;
use super::Setting;
use super::history::{Event, faults};

const CLIENTS: usize = 6;
const BEFORE: u64 = 300;
const ALL: u64 = 340;
const PAD: usize = 2000;

struct World {
    old: Setting,
    new: Setting,
    words: Vec<u64>,
}

impl World {
    async fn tell(&self, setting: &Setting, numbers: std::ops::RangeInclusive<u64>) {
        let pad = "x".repeat(PAD);
        for number in numbers {
            let word = self.words[number as usize - 1];
            let data = json!({"number": number, "word": word, "pad": pad});
            let push = json!({"event": "n", "data": data});
            setting.push("/v1/users/u1/push", &push).await;
        }
    }
}

async fn open(setting: &Setting) -> (Client, Value) {
    let handshake = setting.handshake("u1");
    let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
    let mut client = Client::open(&setting.gateway, &handshake).await;
    let welcome = client.receive().await;
    (client, welcome)
}

/// One push into the history; its number.
fn hear(frame: &Value, history: &mut Vec<Event>) -> u64 {
    let number = |value: &Value| value.as_u64().unwrap();
    let (seq, data) = (number(&frame["seq"]), &frame["data"]);
    let (number, word) = (number(&data["number"]), number(&data["word"]));
    history.push(Event::Push { seq, number, word });
    number
}

/// A client through both gateways; it reads the first one to its end, and from there on the second.
async fn live(world: Arc<World>, (mut old, welcome): (Client, Value), acks: bool) -> Vec<Event> {
    let opened = Event::Opened {
        before: 0,
        after: 0,
    };
    let (mut history, mut is_told, mut last) = (vec![opened], false, 0);
    let code = loop {
        let frame = old.0.read_frame().await;
        if frame.opcode == CLOSE {
            break frame.close_code();
        }
        let frame: Value = serde_json::from_slice(&frame.payload).unwrap();
        if frame["op"] == "goaway" {
            assert_eq!(frame["cause"], "drain");
            is_told = true;
        } else if frame["op"] == "push" {
            last = hear(&frame, &mut history);
            if acks {
                old.send(&json!({"op": "ack", "seq": frame["seq"]})).await;
            }
        }
    };
    assert_eq!((code, is_told), (Some(1012), true));
    old.0
        .try_send(Frame::close(1012, "").from_client().bytes())
        .await
        .ok();
    // All of it came, though it was on its way when the drain began.
    assert_eq!(last, BEFORE, "{acks}");
    let (mut new, _) = open(&world.new).await;
    let resume = json!({"session": welcome["session"], "token": welcome["resume"]["token"],
        "seq": last});
    let hello = json!({"op": "hello", "v": 1, "resume": resume});
    new.send(&hello).await;
    let mut early = Vec::new();
    let welcome = loop {
        let frame = new.receive().await;
        match frame["op"].as_str() {
            Some("welcome") => break frame,
            _ => early.push(frame),
        }
    };
    // Nothing that it was told by the first is known there, and it does not say so.
    assert_eq!(welcome["resume"]["recovered"], false, "{welcome}");
    assert_eq!(welcome["resume"]["continued"], false, "{welcome}");
    history.push(Event::Opened {
        before: BEFORE,
        after: BEFORE,
    });
    for frame in early {
        last = hear(&frame, &mut history);
    }
    while last != ALL {
        let frame = new.receive().await;
        if frame["op"] == "push" {
            last = hear(&frame, &mut history);
        }
    }
    history
}

#[tokio::test]
async fn and_nothing_is_claimed_elsewhere() {
    let test = "and_nothing_is_claimed_elsewhere";
    let beside = "drain: { delay: none, spread: 300ms, timeout: 15s }";
    let (push, seed) = ("outbox: 16MiB", 0x6472_6169_6e21);
    let Some(old) = Setting::with(test, push, beside).await else {
        return;
    };
    let Some(new) = Setting::with(test, push, "").await else {
        return;
    };
    let mut random = fastrand::Rng::with_seed(seed);
    let world = Arc::new(World {
        old,
        new,
        words: (0..ALL).map(|_| random.u64(..1 << 50)).collect(),
    });
    let mut opened = Vec::new();
    for _ in 0..CLIENTS {
        opened.push(open(&world.old).await);
    }
    let mut clients = JoinSet::new();
    // The last of them reads nothing before the drain has begun.
    let sluggish = opened.pop().unwrap();
    for (place, one) in opened.into_iter().enumerate() {
        clients.spawn(live(Arc::clone(&world), one, place % 2 == 0));
    }
    world.tell(&world.old, 1..=BEFORE).await;
    world.old.gateway.drain();
    clients.spawn(live(Arc::clone(&world), sluggish, false));
    eventually("all go on elsewhere", || {
        world.new.gateway.sessions() == CLIENTS
    })
    .await;
    world.tell(&world.new, BEFORE + 1..=ALL).await;
    let histories = clients.join_all().await;
    for history in &histories {
        let found = faults(history, &world.words);
        assert_eq!(found, Vec::<String>::new(), "seed {seed:#x}");
    }
}
