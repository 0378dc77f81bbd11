//! Users with several sockets each, which are cut in every way and come back, while services go on to
//! tell them things: from what publishers said and what clients saw, each session has all of it in
//! order and once, or was told that it has not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tidegate_tests::DEADLINE;
use tidegate_tests::eventually;
use tidegate_tests::frame::{CLOSE, Frame};
use tokio::task::JoinSet;

use super::super::bridge::Client;
use super::Setting;
use super::history::{Event, faults, plant};

const USERS: usize = 3;
/// Sockets of a user; the first is never cut by its client.
const SOCKETS: usize = 4;
/// Pushes for each user, and how long it is from one to the next.
const PUSHES: u64 = 150;
const PACE: Duration = Duration::from_millis(25);
/// What is kept of a session, and how many a client misses who stays away for long.
const KEPT: u64 = 24;
const MISSED: u64 = 40;

/// All that both sides know.
struct World {
    setting: Setting,
    users: Vec<User>,
}

struct User {
    name: String,
    /// What is said in each push.
    words: Vec<u64>,
    /// The last push that is on its way, and the last that was taken.
    begun: AtomicU64,
    told: AtomicU64,
}

impl World {
    async fn publish(self: Arc<Self>, user: usize) {
        let user = &self.users[user];
        let target = format!("/v1/users/{}/push", user.name);
        for (number, word) in (1..).zip(&user.words) {
            user.begun.store(number, Ordering::SeqCst);
            let data = json!({"number": number, "word": word});
            self.setting
                .push(&target, &json!({"event": "n", "data": data}))
                .await;
            user.told.store(number, Ordering::SeqCst);
            tokio::time::sleep(PACE).await;
        }
    }
}

/// One client, through all of its sockets.
struct Life {
    world: Arc<World>,
    user: usize,
    random: fastrand::Rng,
    history: Vec<Event>,
    /// By what it comes back: session, token, and the last that it has.
    back: Option<(String, String, u64)>,
    /// The last that it can wait for has come, or none will.
    is_through: bool,
    goaways: usize,
    /// Sockets on which nothing moves any more, and of which nobody is told.
    lost: Vec<Client>,
}

impl Life {
    fn user(&self) -> &User {
        &self.world.users[self.user]
    }

    /// Opens a socket, and goes on in it where that is possible.
    async fn connect(&mut self) -> Client {
        let before = self.user().told.load(Ordering::SeqCst);
        let setting = &self.world.setting;
        let handshake = setting.handshake(&self.user().name);
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut client = Client::open(&setting.gateway, &handshake).await;
        let mut welcome = client.receive().await;
        let after = self.user().begun.load(Ordering::SeqCst);
        let mut early = Vec::new();
        if let Some((session, token, seq)) = self.back.take() {
            let resume = json!({"session": session, "token": token, "seq": seq});
            client
                .send(&json!({"op": "hello", "v": 1, "resume": resume}))
                .await;
            welcome = loop {
                let frame = client.receive().await;
                match frame["op"].as_str() {
                    Some("welcome") => break frame,
                    _ => early.push(frame),
                }
            };
            if welcome["resume"]["continued"] == true {
                self.back = Some((session, token, seq));
            }
        }
        let told = &welcome["resume"];
        let has = match self.back.take() {
            // What came early comes again, in its place.
            Some((_, _, seq)) => {
                let recovered = told["recovered"].as_bool().unwrap();
                self.history.push(Event::Resumed { recovered });
                early.clear();
                seq
            }
            None => {
                self.history.push(Event::Opened { before, after });
                self.is_through = after == PUSHES;
                0
            }
        };
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        self.back = Some((text(&welcome["session"]), text(&told["token"]), has));
        for frame in early {
            self.hear(&frame);
        }
        client
    }

    /// Whether it was a push.
    fn hear(&mut self, frame: &Value) -> bool {
        if frame["op"] != "push" {
            return false;
        }
        let number = |value: &Value| value.as_u64().unwrap();
        let (seq, data) = (number(&frame["seq"]), &frame["data"]);
        let (number, word) = (number(&data["number"]), number(&data["word"]));
        self.history.push(Event::Push { seq, number, word });
        if let Some((_, _, has)) = &mut self.back {
            *has = seq;
        }
        self.is_through |= number == PUSHES;
        true
    }

    /// Leaves the socket, in some way, and comes back.
    async fn cut(&mut self, old: Client) -> Client {
        match self.random.u8(..8) {
            0 | 1 => old.0.reset(),
            2 | 3 => old.0.cut(),
            4 => {
                // It does not read any more, and the gateway does not know yet, or for long.
                let client = self.connect().await;
                match self.random.bool() {
                    true => old.0.reset(),
                    false => self.lost.push(old),
                }
                return client;
            }
            5 => {
                old.0.reset();
                // One that was gone before it heard anything.
                let handshake = self.world.setting.handshake(&self.user().name);
                let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
                let mut short = Client::open(&self.world.setting.gateway, &handshake).await;
                let (session, token, seq) = self.back.as_ref().unwrap();
                let resume = json!({"session": session, "token": token, "seq": seq});
                short
                    .send(&json!({"op": "hello", "v": 1, "resume": resume}))
                    .await;
                short.0.reset();
            }
            6 => {
                let mut old = old;
                old.0
                    .send_frame(&Frame::close(1001, "").from_client())
                    .await;
                old.0.read_to_end().await;
            }
            _ => {
                old.0.reset();
                let user = self.user();
                let until = (user.told.load(Ordering::SeqCst) + MISSED).min(PUSHES);
                eventually("much is missed", || {
                    user.told.load(Ordering::SeqCst) >= until
                })
                .await;
            }
        }
        self.connect().await
    }

    /// Comes back beside the old socket, as it was told to, and lets that end.
    async fn go(&mut self, old: Client) -> Client {
        self.goaways += 1;
        let client = self.connect().await;
        let went_on = matches!(self.history.last(), Some(Event::Resumed { .. }));
        let mut old = old;
        let close = loop {
            let frame = old.0.read_frame().await;
            if frame.opcode == CLOSE {
                break frame;
            }
        };
        // It is told that the session goes on elsewhere, or was too old before anybody knew.
        let is_told = matches!(close.close_code(), Some(1000 | 1001));
        assert!(!went_on || is_told, "{close:?}");
        client
    }

    async fn live(mut self, is_calm: bool) -> (Vec<Event>, usize) {
        let mut client = self.connect().await;
        let mut left = self.random.usize(1..20);
        let mut heard = Instant::now();
        // What has not come by then never does, and is missing at the end.
        while !self.is_through && heard.elapsed() < DEADLINE {
            let frame = match client.0.read_frame_or_end().await {
                Ok(frame) if frame.opcode != CLOSE => frame,
                // Too old, or too slow: that was told, or is now.
                _ => {
                    client = self.connect().await;
                    continue;
                }
            };
            let frame: Value = serde_json::from_slice(&frame.payload).unwrap();
            if frame["op"] == "goaway" && (is_calm || self.random.bool()) {
                client = self.go(client).await;
            } else if self.hear(&frame) {
                heard = Instant::now();
                left -= 1;
                if self.random.u8(..4) == 0 {
                    client
                        .send(&json!({"op": "ack", "seq": frame["seq"]}))
                        .await;
                }
            }
            if left == 0 && !self.is_through {
                left = self.random.usize(1..20);
                if !is_calm {
                    client = self.cut(client).await;
                }
            }
        }
        (self.history, self.goaways)
    }
}

#[tokio::test]
async fn whatever_becomes_of_sockets() {
    // Sessions become old in seconds, and are told before.
    let push = format!("buffer: {{ messages: {KEPT} }} }}, websocket: {{ max_age: 2s");
    let Some(setting) = Setting::new("whatever_becomes_of_sockets", &push).await else {
        return;
    };
    let seed: u64 = 0x7469_6465;
    let mut random = fastrand::Rng::with_seed(seed);
    let users = (0..USERS).map(|user| User {
        name: format!("u{user}"),
        words: (0..PUSHES).map(|_| random.u64(..1 << 50)).collect(),
        begun: AtomicU64::new(0),
        told: AtomicU64::new(0),
    });
    let users = users.collect();
    let world = Arc::new(World { setting, users });
    let mut clients = JoinSet::new();
    for (user, socket) in (0..USERS).flat_map(|user| (0..SOCKETS).map(move |one| (user, one))) {
        let life = Life {
            world: Arc::clone(&world),
            user,
            random: random.fork(),
            history: Vec::new(),
            back: None,
            is_through: false,
            goaways: 0,
            lost: Vec::new(),
        };
        clients.spawn(async move { (user, life.live(socket == 0).await) });
    }
    let publishers = (0..USERS).map(|user| Arc::clone(&world).publish(user));
    let publishers = JoinSet::from_iter(publishers);
    let lives = clients.join_all().await;
    publishers.join_all().await;
    let (mut recovered, mut lost, mut goaways) = (0, 0, 0);
    for (user, (history, told)) in &lives {
        let words = &world.users[*user].words;
        let found = faults(history, words);
        assert_eq!(found, Vec::<String>::new(), "seed {seed:#x}: {history:?}");
        let count = |event: Event| history.iter().filter(|one| **one == event).count();
        recovered += count(Event::Resumed { recovered: true });
        lost += count(Event::Resumed { recovered: false });
        goaways += told;
    }
    assert!(recovered > USERS * SOCKETS, "{recovered} came back to all");
    assert!(
        lost > 0 && goaways > 0,
        "{lost} lost something, {goaways} went"
    );
    let of_first = lives.iter().filter(|(user, _)| *user == 0);
    let histories: Vec<_> = of_first.map(|(_, (history, _))| history.clone()).collect();
    plant(&histories, &world.users[0].words);
}
