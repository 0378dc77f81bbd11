//! Sessions whose clients say only in their first message who they are count like all others from then on,
//! and so do those that come back to a session: users are online while their sockets are open, and of each
//! session and user it is told once that it came and once that it went.

use std::collections::HashMap;

use serde_json::{Value, json};
use tidegate::bus::{Payload, Received, Subscription};
use tidegate_tests::frame::TEXT;
use tidegate_tests::mint::SECRET;
use tidegate_tests::time::eventually;
use tidegate_tests::{Frame, Mint, Request, ScriptedUpstream, TestGateway, Token, Wire};

use super::counts_are_exact::{Here, agree};
use super::{kick, next};

const TEST: &str = "those_who_say_it_late";
const ROUNDS: usize = 5;
const COMING: usize = 30;
const USERS: usize = 8;

struct House {
    gateway: TestGateway,
    tokens: HashMap<String, String>,
    mint: Mint,
    _upstream: ScriptedUpstream,
}

impl House {
    async fn new(limits: &str) -> Option<Self> {
        let mint = Mint::open(TEST)?;
        let upstream = ScriptedUpstream::bind().await;
        let yaml = format!(
            "admin: {{ bind: 127.0.0.1:0 }}\n\
             limits: {{ {limits} }}\n\
             auth: {{ jwt: {{ secret: '{SECRET}', token_from: [header, first_message] }} }}\n\
             services: {{ up: {{ endpoints: [http://UP] }} }}\n\
             routes: {{ name: ws, match: {{ path: /ws }}, filters: require, bridge: {{ services: up }} }}\n"
        );
        Some(Self {
            gateway: TestGateway::start(&upstream, &yaml),
            tokens: HashMap::new(),
            mint,
            _upstream: upstream,
        })
    }

    fn token(&mut self, user: &str) -> String {
        let mint = &self.mint;
        let token = self.tokens.entry(user.to_owned());
        token
            .or_insert_with(|| mint.sign(&Token::secret().claim("sub", user)))
            .clone()
    }

    /// A session that is nobody's yet.
    async fn bare(&self) -> Wire {
        let handshake = Request::handshake("/ws");
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        super::entered(&self.gateway, &handshake).await
    }

    /// Says who it is, and comes back to a session perhaps.
    async fn hello(&mut self, wire: &mut Wire, user: &str, resume: Value) -> Value {
        let hello = json!({"op": "hello", "v": 1, "token": self.token(user), "resume": resume});
        say(wire, &hello).await;
        hear(wire).await
    }

    async fn by_handshake(&mut self, user: &str) -> (Wire, Value) {
        let bearer = format!("Bearer {}", self.token(user));
        let handshake = Request::handshake("/ws").with("Authorization", &bearer);
        let handshake = handshake.with("Sec-WebSocket-Protocol", "tidegate.v1.json");
        let mut wire = super::entered(&self.gateway, &handshake).await;
        let welcome = hear(&mut wire).await;
        (wire, welcome)
    }
}

async fn say(wire: &mut Wire, frame: &Value) {
    wire.send_frame(&Frame::text(&frame.to_string()).from_client())
        .await;
}

async fn hear(wire: &mut Wire) -> Value {
    let frame = wire.read_frame().await;
    assert_eq!(frame.opcode, TEXT, "{frame:?}");
    serde_json::from_slice(&frame.payload).unwrap()
}

/// What was told: of sessions whether they are open, of users whether they are online.
#[derive(Default)]
struct Told {
    sessions: HashMap<String, bool>,
    users: HashMap<String, bool>,
}

impl Told {
    fn read(&mut self, events: &mut Subscription) {
        while let Some(received) = events.try_receive() {
            let Received::Event(event) = received else {
                panic!("{received:?}");
            };
            let (all, name, is, was) = match &event.payload {
                Payload::SessionOpened(one) => (&mut self.sessions, &*one.session, true, None),
                Payload::SessionClosed(one) => {
                    assert!(one.user.is_some(), "{event:?}");
                    (&mut self.sessions, &*one.session, false, Some(true))
                }
                Payload::UserConnected(one) => {
                    let was = self.users.contains_key(&*one.user).then_some(false);
                    (&mut self.users, &*one.user, true, was)
                }
                Payload::UserDisconnected(one) => (&mut self.users, &*one.user, false, Some(true)),
                other => panic!("{other:?}"),
            };
            assert_eq!(all.insert(name.to_owned(), is), was, "{event:?}");
        }
    }

    fn counts(&self) -> (usize, usize) {
        let so_many = |all: &HashMap<String, bool>| all.values().filter(|is| **is).count();
        (so_many(&self.sessions), so_many(&self.users))
    }
}

impl House {
    /// Somebody comes, in some way: anew, or back to a session whose socket is cut or still there.
    async fn comes(&mut self, random: &mut fastrand::Rng, here: &mut Vec<(Here, Value)>) {
        let user = format!("u{}", random.usize(..USERS));
        let mine = here.iter().position(|(one, _)| one.user == user);
        let old = mine.filter(|_| random.u8(..3) == 0);
        let (mut old, mut resume) = (old.map(|place| here.swap_remove(place)), Value::Null);
        if let Some((_, welcome)) = &old {
            let token = &welcome["resume"]["token"];
            resume = json!({"session": welcome["session"], "token": token, "seq": 0});
        }
        if random.bool()
            && let Some((cut, _)) = old.take()
        {
            cut.wire.reset();
        }
        let (wire, welcome) = match random.u8(..3) {
            0 if resume.is_null() => self.by_handshake(&user).await,
            _ => {
                let (mut wire, is_back) = (self.bare().await, !resume.is_null());
                let welcome = self.hello(&mut wire, &user, resume).await;
                assert_eq!(welcome["resume"]["continued"], is_back, "{welcome}");
                (wire, welcome)
            }
        };
        if let Some((mut old, _)) = old {
            assert_eq!(old.wire.read_close().await, Some(1000));
        }
        assert_eq!(welcome["user"], user);
        let one = Here {
            user,
            target: "/ws",
            port: wire.local().port(),
            wire,
        };
        here.push((one, welcome));
    }
}

async fn goes(mut wire: Wire, how: u8) {
    match how {
        0 => wire.close_session().await,
        1 => drop(wire),
        2 => wire.reset(),
        // A frame that is not masked.
        _ => wire.send([0xFF, 0x00]).await,
    }
}

#[tokio::test]
async fn under_churn() {
    let Some(mut house) = House::new("").await else {
        return;
    };
    let seed = fastrand::u64(..);
    println!("seed {seed:#x}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut events = house.gateway.events();
    let (mut told, mut here) = (Told::default(), Vec::<(Here, Value)>::new());
    for round in 0..ROUNDS {
        for _ in 0..COMING {
            house.comes(&mut random, &mut here).await;
        }
        for _ in 0..COMING / 2 {
            let (one, _) = here.swap_remove(random.usize(..here.len()));
            goes(one.wire, random.u8(..4)).await;
        }
        let kicked = format!("u{}", random.usize(..USERS));
        kick(house.gateway.admin(), &kicked, "").await;
        let is_kicked = |(one, _): &(Here, Value)| one.user == kicked;
        let (theirs, others): (Vec<_>, _) = here.into_iter().partition(is_kicked);
        for (mut one, _) in theirs {
            assert_eq!(one.wire.read_close().await, Some(4440));
        }
        let (there, welcomes): (Vec<_>, Vec<_>) = Vec::into_iter(others).unzip();
        agree(&house.gateway, &there, round).await;
        here = there.into_iter().zip(welcomes).collect();
        eventually("all of it is told", || {
            told.read(&mut events);
            told.counts() == (house.gateway.sessions(), house.gateway.users())
        })
        .await;
    }
    house.gateway.stop().await;
    told.read(&mut events);
    assert_eq!(told.counts(), (0, 0));
}

#[tokio::test]
async fn one_too_many_sends_the_oldest_of_their_own_away() {
    let Some(mut house) = House::new("max_sessions_per_user: 2, over: evict_oldest").await else {
        return;
    };
    let mut events = house.gateway.events();
    let mut wires = Vec::new();
    for user in ["u1", "u2", "u1", "u2", "u1"] {
        let mut wire = house.bare().await;
        let welcome = house.hello(&mut wire, user, Value::Null).await;
        assert_eq!(welcome["user"], user);
        wires.push((wire, welcome));
    }
    let (mut first, welcome) = wires.swap_remove(0);
    let told = first.read_frame().await;
    assert_eq!(
        (told.close_code(), &told.payload[2..]),
        (Some(4409), &b"replaced"[..])
    );
    drop(first);
    eventually("two of each are left", || house.gateway.sessions() == 4).await;
    // Whoever was sent away for a newer one may come back, as one more.
    let resume =
        json!({"session": welcome["session"], "token": welcome["resume"]["token"], "seq": 0});
    let mut wire = house.bare().await;
    let welcome = house.hello(&mut wire, "u1", resume).await;
    assert_eq!(welcome["resume"]["continued"], true, "{welcome}");
    let mut replaced = Vec::new();
    while replaced.len() < 2 {
        let event = next(&mut events).await;
        assert!(!event.starts_with("offline"), "{event}");
        if event.ends_with("replaced") {
            replaced.push(event);
        }
    }
    assert_eq!(replaced, ["closed u1 ws 4409 replaced"; 2]);
}

#[tokio::test]
async fn or_is_refused() {
    let Some(mut house) = House::new("max_sessions_per_user: 1").await else {
        return;
    };
    let mut first = house.bare().await;
    house.hello(&mut first, "u1", Value::Null).await;
    let mut second = house.bare().await;
    let token = house.token("u1");
    say(&mut second, &json!({"op": "hello", "v": 1, "token": token})).await;
    let told = second.read_frame().await;
    assert_eq!(
        (told.close_code(), &told.payload[2..]),
        (Some(4429), &b"too_many_sessions"[..])
    );
    drop(second);
    let mut other = house.bare().await;
    let welcome = house.hello(&mut other, "u2", Value::Null).await;
    assert_eq!(welcome["user"], "u2");
    // Once it has gone, there is room.
    first.close_session().await;
    eventually("it is gone", || house.gateway.users() == 1).await;
    house.by_handshake("u1").await;
}
