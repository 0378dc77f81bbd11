//! Clients that lose their sockets in every way, and come back to any node by what they have.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_tests::Frame;
use tidegate_tests::history::{Begin, Got, Socket};
use tokio::sync::watch;
use tokio::time::timeout;

use super::node::{Client, PATIENCE};
use super::world::{Phase, World, wall};

/// Before a client that found nobody tries again.
const AGAIN: Duration = Duration::from_millis(50);

/// One client.
pub(super) struct Receiver {
    world: Arc<World>,
    user: usize,
    number: usize,
    random: fastrand::Rng,
    phase: watch::Receiver<Phase>,
    back: Option<Back>,
}

/// By what a client comes back.
#[derive(Debug, Clone)]
struct Back {
    session: String,
    token: String,
    seq: u64,
    cursor: Option<String>,
}

/// Why a client lets go of a socket.
enum Why {
    Ended,
    Told,
    Itself,
    ForGood,
}

impl Receiver {
    pub(super) fn new(world: &Arc<World>, user: usize, random: fastrand::Rng) -> Self {
        Self {
            user,
            number: world.enters(user),
            random,
            phase: world.phase.subscribe(),
            back: None,
            world: Arc::clone(world),
        }
    }

    /// Whether it goes before the others do.
    const fn leaves(&self) -> bool {
        self.number % 3 == 1
    }

    fn is_through(&self) -> bool {
        let phase = *self.phase.borrow();
        phase == Phase::End || phase == Phase::Leave && self.leaves()
    }

    pub(super) async fn live(mut self) {
        let mut before: Option<Client> = None;
        while !self.is_through() {
            let node = self.world.any_node(&mut self.random);
            let Ok(Some(client)) = timeout(PATIENCE, self.connect(node)).await else {
                tokio::time::sleep(AGAIN).await;
                continue;
            };
            drop(before.take());
            let (client, why) = self.listen(client).await;
            match why {
                Why::Ended => {}
                // The old socket stays until there is a new one.
                Why::Told => before = Some(client),
                Why::Itself => self.let_go(client).await,
                Why::ForGood => {
                    client.0.reset();
                    break;
                }
            }
        }
    }

    /// Opens a socket, and goes on there; what it is told is noted.
    async fn connect(&mut self, node: usize) -> Option<Client> {
        let world = Arc::clone(&self.world);
        let mut client = world.nodes[node].open(world.handshake(self.user)).await?;
        let mut welcome = client.receive().await.ok()?;
        let mut since = world.clock.tick();
        let mut early = Vec::new();
        if let Some(back) = &self.back {
            client.send(&hello(back, &mut self.random)).await;
            welcome = loop {
                let frame = client.receive().await.ok()?;
                match frame["op"].as_str() {
                    Some("welcome") => break frame,
                    _ => early.push((world.clock.tick(), frame)),
                }
            };
            since = world.clock.tick();
        }
        let told = &welcome["resume"];
        let [recovered, continued] = ["recovered", "continued"].map(|name| told[name] == true);
        let begin = match (&self.back, recovered) {
            (None, _) => Begin::Fresh,
            (Some(_), true) => Begin::Recovered,
            (Some(_), false) => Begin::Lost,
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let before = self.back.take();
        let had_cursor = before.as_ref().is_some_and(|back| back.cursor.is_some());
        let (seq, cursor) = before.map_or((0, None), |back| (back.seq, back.cursor));
        self.back = Some(Back {
            session: text(&welcome["session"])?,
            token: text(&told["token"])?,
            seq: if continued { seq } else { 0 },
            cursor: text(&told["cursor"]).or(cursor),
        });
        let socket = Socket {
            node,
            session: text(&welcome["session"])?,
            begin,
            since,
            time: wall(),
            had_cursor,
            got: Vec::new(),
            until: None,
        };
        world.life(self.number, |life| {
            let last = life.sockets.last_mut();
            // The one before is let go of now.
            if let Some(last) = last.filter(|last| last.until.is_none()) {
                last.until = Some(world.clock.tick());
            }
            life.sockets.push(socket);
        });
        for (at, frame) in early {
            // What comes again in its place is thrown away.
            let comes_again = continued || recovered && frame["cursor"].is_string();
            if !comes_again {
                self.hear(&frame, at);
            }
        }
        Some(client)
    }

    /// Listens until the socket ends, or there is a reason to let go of it.
    async fn listen(&mut self, mut client: Client) -> (Client, Why) {
        let mut left = self.random.usize(1..30);
        let why = loop {
            let mut phase = self.phase.clone();
            tokio::select! {
                biased;
                _ = phase.changed() => {
                    self.phase = phase;
                    self.phase.borrow_and_update();
                    if self.is_through() {
                        break Why::ForGood;
                    }
                }
                frame = client.receive() => {
                    let Ok(frame) = frame else { break Why::Ended };
                    let at = self.world.clock.tick();
                    if frame["op"] == "goaway" && self.random.bool() {
                        return (client, Why::Told);
                    }
                    if self.hear(&frame, at) {
                        left = left.saturating_sub(1);
                        if self.random.u8(..6) == 0 {
                            client.send(&json!({"op": "ack", "seq": frame["seq"]})).await;
                        }
                    }
                    if left == 0 && *self.phase.borrow() == Phase::Faults {
                        if self.random.u8(..6) == 0 {
                            return (client, Why::Told);
                        }
                        break Why::Itself;
                    }
                }
            }
        };
        self.note_end();
        (client, why)
    }

    fn note_end(&self) {
        let at = self.world.clock.tick();
        self.world.life(self.number, |life| {
            if let Some(last) = life.sockets.last_mut() {
                last.until.get_or_insert(at);
            }
        });
    }

    /// Whether it was a push.
    fn hear(&mut self, frame: &Value, at: u64) -> bool {
        if frame["op"] != "push" {
            return false;
        }
        let data = &frame["data"];
        let (Some(number), Some(word)) = (data["number"].as_u64(), data["word"].as_u64()) else {
            return false;
        };
        self.world.life(self.number, |life| {
            let socket = life.sockets.last_mut().unwrap();
            socket.got.push(Got {
                at,
                number,
                word,
                has_cursor: frame["cursor"].is_string(),
            });
        });
        if let Some(back) = &mut self.back {
            back.seq = frame["seq"].as_u64().unwrap();
            if let Some(cursor) = frame["cursor"].as_str() {
                back.cursor = Some(cursor.to_owned());
            }
        }
        true
    }

    /// Loses the socket in some way.
    async fn let_go(&mut self, mut client: Client) {
        match self.random.u8(..4) {
            0 => client.0.reset(),
            1 => client.0.cut(),
            2 => {
                let close = Frame::close(1001, "").from_client();
                client.0.try_send(close.bytes()).await.ok();
            }
            _ => {
                // It stays away while others are told things.
                client.0.reset();
                let until = self.world.clock.now() + self.random.u64(1..200);
                let is_there = async {
                    while self.world.clock.now() < until && *self.phase.borrow() == Phase::Faults {
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                };
                is_there.await;
            }
        }
    }
}

/// What a client that comes back says. Now and then it has lost its session's name, and has the cursor alone.
fn hello(back: &Back, random: &mut fastrand::Rng) -> Value {
    let mut resume = json!({"session": back.session, "token": back.token, "seq": back.seq});
    if let Some(cursor) = &back.cursor {
        if random.u8(..4) == 0 {
            resume = json!({});
        }
        resume["cursor"] = cursor.as_str().into();
    }
    json!({"op": "hello", "v": 1, "resume": resume})
}
