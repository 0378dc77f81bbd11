//! Members of rooms that are cut in every way and come back, by their session or by a new one and by the
//! place that they have come to, while others publish there: from what was published and what they saw,
//! each has all of it in the order of the room and once, or was told that it has not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::eventually;
use tokio::task::JoinSet;

use super::Setting;
use crate::bridge::Client;
use crate::push::history::{Event, faults, plant};

const ROOM: &str = "chat:1";
const MEMBERS: usize = 8;
const PUSHES: u64 = 200;
const PACE: Duration = Duration::from_millis(15);
/// What is kept of a room and of a session, and how many somebody misses who stays away for long.
const KEPT: u64 = 40;
const OF_SESSION: u64 = 15;
const MISSED: u64 = 60;

struct World {
    setting: Setting,
    words: Vec<u64>,
    /// The last push that is on its way, and the last that was taken.
    begun: AtomicU64,
    told: AtomicU64,
}

impl World {
    /// Publishes from outside and as a member, by turns.
    async fn publish(self: Arc<Self>) {
        let mut member = self.setting.session("publisher").await;
        super::join(&mut member, ROOM).await;
        for (number, word) in (1..).zip(&self.words) {
            self.begun.store(number, Ordering::SeqCst);
            let data = json!({"number": number, "word": word});
            if number % 3 == 0 {
                let publish = json!({"op": "pub", "id": number, "room": ROOM, "event": "n",
                    "data": data, "key": number.to_string()});
                member.send(&publish).await;
                while member.receive().await["id"] != number {}
            } else {
                self.setting.push(ROOM, &data).await;
            }
            self.told.store(number, Ordering::SeqCst);
            tokio::time::sleep(PACE).await;
        }
    }
}

struct Life {
    world: Arc<World>,
    user: String,
    random: fastrand::Rng,
    history: Vec<Event>,
    /// Its session, the token to come back to that, and the last of its pushes.
    session: Value,
    token: Value,
    seq: u64,
    /// The place in the room that it has come to.
    at: Value,
    /// The one that it came at.
    base: u64,
    is_through: bool,
}

impl Life {
    fn hear(&mut self, frame: &Value) {
        if frame["op"] != "push" {
            return;
        }
        let number = |value: &Value| value.as_u64().unwrap();
        self.seq = number(&frame["seq"]);
        self.at = frame["at"].clone();
        // As a session's own numbers: from when it came on.
        let (seq, data) = (number(&frame["at"]["seq"]) - self.base, &frame["data"]);
        let (number, word) = (number(&data["number"]), number(&data["word"]));
        self.history.push(Event::Push { seq, number, word });
        self.is_through |= number == PUSHES;
    }

    async fn open(&mut self) -> Client {
        let (client, welcome) = self.world.setting.welcomed(&self.user, &json!({})).await;
        self.remember(&welcome);
        self.seq = 0;
        client
    }

    fn remember(&mut self, welcome: &Value) {
        self.session = welcome["session"].clone();
        self.token = welcome["resume"]["token"].clone();
    }

    /// Becomes a member, from where it is on where it has been one.
    async fn subscribe(&mut self, client: &mut Client) {
        let before = self.world.told.load(Ordering::SeqCst);
        let sub = json!({"op": "sub", "id": "sub", "room": ROOM, "since": self.at});
        let mut sub = sub;
        if self.at.is_null() {
            sub.as_object_mut().unwrap().remove("since");
        }
        client.send(&sub).await;
        let body = loop {
            let mut frame = client.receive().await;
            if frame["id"] == "sub" {
                assert_eq!(frame["status"], 200, "{frame}");
                break frame["body"].take();
            }
            self.hear(&frame);
        };
        let seq = body["seq"].as_u64().unwrap();
        if self.at.is_null() {
            assert!(seq >= before, "{body}");
            let (before, after) = (seq, seq);
            self.base = seq;
            self.history.push(Event::Opened { before, after });
        } else {
            let recovered = body["recovered"].as_bool().unwrap();
            self.history.push(Event::Resumed { recovered });
            if !recovered {
                self.is_through |= seq == PUSHES;
            }
        }
        if self.at["seq"].as_u64() < Some(seq) && body["recovered"] == false {
            self.at = json!({"epoch": body["epoch"], "seq": seq});
        }
    }

    /// Comes back to its session.
    async fn resume(&mut self) -> Client {
        let resume = json!({"session": self.session, "token": self.token, "seq": self.seq});
        let (mut client, _) = self.world.setting.welcomed(&self.user, &json!({})).await;
        client
            .send(&json!({"op": "hello", "v": 1, "resume": resume}))
            .await;
        let welcome = loop {
            let frame = client.receive().await;
            if frame["op"] == "welcome" {
                break frame;
            }
        };
        self.remember(&welcome);
        let told = &welcome["resume"];
        if told["continued"] == true {
            let recovered = told["recovered"].as_bool().unwrap();
            self.history.push(Event::Resumed { recovered });
            if !recovered && self.random.bool() {
                // What its session has lost may be there in the room.
                self.subscribe(&mut client).await;
            }
        } else {
            self.seq = 0;
            self.subscribe(&mut client).await;
        }
        client
    }

    async fn cut(&mut self, mut old: Client) -> Client {
        let is_away = self.random.u8(..4) == 0;
        match self.random.u8(..6) {
            0 | 1 => old.0.reset(),
            2 => old.0.cut(),
            3 => {
                // It is a member all the while, or not for a moment.
                let unsub = json!({"op": "unsub", "id": "unsub", "room": ROOM});
                old.send(&unsub).await;
                loop {
                    let frame = old.receive().await;
                    if frame["id"] == "unsub" {
                        break;
                    }
                    self.hear(&frame);
                }
                self.stay_away(is_away).await;
                self.subscribe(&mut old).await;
                return old;
            }
            4 => {
                self.subscribe(&mut old).await;
                return old;
            }
            _ => {
                // It is silent, and the gateway does not know.
                let client = self.resume().await;
                old.0.reset();
                return client;
            }
        }
        self.stay_away(is_away).await;
        if self.random.bool() {
            return self.resume().await;
        }
        let mut client = self.open().await;
        self.subscribe(&mut client).await;
        client
    }

    async fn stay_away(&self, is_away: bool) {
        let told = &self.world.told;
        let until = told.load(Ordering::SeqCst) + if is_away { MISSED } else { 0 };
        let until = until.min(PUSHES);
        eventually("much is missed", || told.load(Ordering::SeqCst) >= until).await;
    }

    async fn live(mut self) -> Vec<Event> {
        let mut client = self.open().await;
        self.subscribe(&mut client).await;
        let mut left = self.random.usize(1..20);
        while !self.is_through {
            let frame = client.receive().await;
            if frame["op"] != "push" {
                continue;
            }
            self.hear(&frame);
            left -= 1;
            if self.random.u8(..4) == 0 {
                let ack = json!({"op": "ack", "seq": frame["seq"]});
                client.send(&ack).await;
            }
            if left == 0 && !self.is_through {
                left = self.random.usize(1..20);
                client = self.cut(client).await;
            }
        }
        self.history
    }
}

async fn lives(seed: u64) -> Option<(usize, usize)> {
    let rules = "{ match: '**', subscribe: all, publish: all }";
    let history = format!("rooms: {{ history: {{ messages: {KEPT} }} }}");
    let keys = format!("push: {{ buffer: {{ messages: {OF_SESSION} }} }}");
    let test = format!("room_history_{seed:x}");
    let setting = Setting::with(&test, rules, &history, &keys).await?;
    let mut random = fastrand::Rng::with_seed(seed);
    let world = Arc::new(World {
        setting,
        words: (0..PUSHES).map(|_| random.u64(..1 << 50)).collect(),
        begun: AtomicU64::new(0),
        told: AtomicU64::new(0),
    });
    let mut members = JoinSet::new();
    for number in 0..MEMBERS {
        let life = Life {
            world: Arc::clone(&world),
            user: format!("u{}", number / 2),
            random: random.fork(),
            history: Vec::new(),
            session: Value::Null,
            token: Value::Null,
            seq: 0,
            at: Value::Null,
            base: 0,
            is_through: false,
        };
        members.spawn(life.live());
    }
    let publishing = tokio::spawn(Arc::clone(&world).publish());
    let histories = members.join_all().await;
    publishing.await.unwrap();
    let (mut recovered, mut lost) = (0, 0);
    for history in &histories {
        let found = faults(history, &world.words);
        assert_eq!(found, Vec::<String>::new(), "seed {seed:#x}: {history:?}");
        let count = |event: Event| history.iter().filter(|one| **one == event).count();
        recovered += count(Event::Resumed { recovered: true });
        lost += count(Event::Resumed { recovered: false });
    }
    plant(&histories, &world.words);
    Some((recovered, lost))
}

#[tokio::test]
async fn whatever_becomes_of_members() {
    for seed in [0x726f_6f6d, 0x726f_6f6e, 0x726f_6f6f] {
        let Some((recovered, lost)) = lives(seed).await else {
            return;
        };
        assert!(
            recovered > MEMBERS,
            "seed {seed:#x}: {recovered} came back to all"
        );
        assert!(lost > 0, "seed {seed:#x}: nobody has lost anything");
    }
}
