//! While clients of many users come and go in every way there is, the gateway's count of sessions is that
//! of the sockets that the system has, its count of users is theirs, and of each session and
//! each user it is told once that it came, and once that it went.

use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tidegate::bus::{Payload, Received, Subscription};
use tidegate::handler::WebSocketSession;
use tidegate_tests::Link;
use tidegate_tests::frame::CLOSE;
use tidegate_tests::mint::SECRET;
use tidegate_tests::sockets::established_on;
use tidegate_tests::time::{eventually, within};
use tidegate_tests::{Frame, ScriptedUpstream, TestGateway, Wire};

use super::{Users, kick};

const USERS: u8 = 30;
const ROUNDS: usize = 6;
const COMING: usize = 50;

/// A client that is there.
pub(super) struct Here {
    pub(super) user: String,
    pub(super) target: &'static str,
    pub(super) port: u16,
    pub(super) wire: Wire,
}

/// What happens to a client.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Closes,
    Drops,
    IsReset,
    IsKilled,
    Panics,
    SendsGarbage,
}

const FATES: [Fate; 6] = [
    Fate::Closes,
    Fate::Drops,
    Fate::IsReset,
    Fate::IsKilled,
    Fate::Panics,
    Fate::SendsGarbage,
];

/// An upstream that says nothing but goodbye, however long its peers are silent.
async fn patient(wire: Wire) {
    let mut wire = wire.patient(Duration::from_secs(600));
    wire.accept_handshake().await;
    while let Ok(frame) = wire.read_frame_or_end().await {
        if frame.opcode == CLOSE {
            let _gone = wire
                .try_send(Frame::new(CLOSE, frame.payload).bytes())
                .await;
            return;
        }
    }
}

async fn stumbles(mut session: WebSocketSession) -> Result<(), tidegate_ws::BoxError> {
    while let Some(message) = session.receive().await {
        if message?.as_text() == Some("stumble") {
            std::panic::panic_any("on purpose");
        }
    }
    Ok(())
}

fn start(upstream: &ScriptedUpstream) -> TestGateway {
    let yaml = format!(
        "version: 1\nworkers: 3\nlisteners: {{ name: public, bind: 127.0.0.1:0 }}\n\
         admin: {{ bind: 127.0.0.1:0 }}\n\
         auth: {{ jwt: {{ secret: '{SECRET}', token_from: header }} }}\n\
         services: {{ up: {{ endpoints: [http://{}] }} }}\n\
         routes:\n\
         - {{ name: bridge, match: {{ path: /ws }}, filters: require, bridge: {{ services: up, websocket: {{ keep_alive: none }} }} }}\n\
         - {{ name: brief, match: {{ path: /brief }}, filters: require, bridge: {{ services: up, websocket: {{ idle_timeout: 1s, close_timeout: 1s }} }} }}\n\
         - {{ name: talk, match: {{ path: /talk }}, filters: require, proxy: {{ service: up, websocket: {{ close_timeout: 1s, keep_alive: none }} }} }}\n\
         - {{ name: clumsy, match: {{ path: /clumsy }}, filters: require, handler: {{ name: stumbles, websocket: {{ keep_alive: none }} }} }}\n",
        upstream.address()
    );
    TestGateway::hosting(&yaml, |builder| builder.handler("stumbles", stumbles))
}

/// Gives a client's socket to a process of its own, which is killed.
fn killed(wire: Wire) {
    let Link::Plain(socket) = wire.into_stream() else {
        return; // over TLS it is dropped
    };
    let socket = OwnedFd::from(socket.into_std().unwrap());
    let mut holder: Child = Command::new("sleep")
        .arg("600")
        .stdin(Stdio::from(socket))
        .spawn()
        .unwrap();
    holder.kill().unwrap();
    holder.wait().unwrap();
}

async fn meets(client: Here, fate: Fate) {
    let mut wire = client.wire;
    match fate {
        Fate::Closes => wire.close_session().await,
        Fate::Drops => drop(wire),
        Fate::IsReset => wire.reset(),
        Fate::IsKilled => killed(wire),
        Fate::Panics if client.target == "/clumsy" => {
            wire.send_frame(&Frame::text("stumble").from_client()).await;
            assert_eq!(wire.read_close().await, Some(1011));
        }
        // A frame that is not masked.
        Fate::Panics | Fate::SendsGarbage => wire.send(&[0xFF, 0x00]).await,
    }
}

/// What the system, the gateway and the case itself count is the same.
pub(super) async fn agree(gateway: &TestGateway, here: &[Here], round: usize) {
    let ports: HashMap<u16, &str> = here.iter().map(|one| (one.port, &*one.user)).collect();
    let port = gateway.address().port();
    let mut counted = None;
    let mut is_agreed = || {
        let established = established_on(port);
        let users: HashSet<_> = established.iter().map(|one| ports.get(one)).collect();
        let system = (established.len(), users.len());
        let gateway = (gateway.sessions(), gateway.users());
        counted = Some((system, gateway));
        system == gateway && system.0 == ports.len() && !users.contains(&None)
    };
    let begun = Instant::now();
    while !is_agreed() {
        assert!(
            begun.elapsed() < tidegate_tests::DEADLINE,
            "round {round}, {} here: the system and the gateway count {counted:?}",
            here.len()
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let online = format!("{}", gateway.users());
    let metrics = gateway.admin().metrics().await;
    assert_eq!(
        metrics.get("tidegate_users_online"),
        Some(online.parse().unwrap())
    );
}

/// What was told: of each session whether it is open, of each user whether it is online.
#[derive(Default)]
struct History {
    sessions: HashMap<String, bool>,
    users: HashMap<String, bool>,
    /// The sessions that each user has open.
    open: HashMap<String, usize>,
    timeouts: usize,
}

impl History {
    fn read(&mut self, events: &mut Subscription) {
        while let Some(received) = events.try_receive() {
            let Received::Event(event) = received else {
                panic!("{received:?}");
            };
            match &event.payload {
                Payload::SessionOpened(one) => {
                    let before = self.sessions.insert(one.session.to_string(), true);
                    assert_eq!(before, None, "{event:?}");
                    *self
                        .open
                        .entry(one.user.as_deref().unwrap().to_owned())
                        .or_default() += 1;
                }
                Payload::SessionClosed(one) => {
                    let before = self.sessions.insert(one.session.to_string(), false);
                    assert_eq!(before, Some(true), "{event:?}");
                    *self.open.get_mut(one.user.as_deref().unwrap()).unwrap() -= 1;
                }
                Payload::UserConnected(one) => {
                    let before = self.users.insert(one.user.to_string(), true);
                    assert_ne!(before, Some(true), "{event:?}");
                    assert_eq!(self.open[&*one.user], 1, "online by the first");
                }
                Payload::UserDisconnected(one) => {
                    let before = self.users.insert(one.user.to_string(), false);
                    assert_eq!(before, Some(true), "{event:?}");
                    assert_eq!(self.open[&*one.user], 0, "offline by the last");
                    self.timeouts += usize::from(one.is_timeout);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn counts(&self) -> (usize, usize) {
        let so_many = |all: &HashMap<String, bool>| all.values().filter(|is| **is).count();
        (so_many(&self.sessions), so_many(&self.users))
    }
}

#[tokio::test]
async fn under_churn() {
    let Some(mut users) = Users::open("counts_are_exact") else {
        return;
    };
    let upstream = ScriptedUpstream::serve(patient).await;
    let gateway = start(&upstream);
    let mut events = gateway.events();
    let mut history = History::default();
    let mut here: Vec<Here> = Vec::new();
    for round in 0..ROUNDS {
        for _ in 0..COMING {
            let user = format!("u{}", fastrand::u8(0..USERS));
            let target = ["/ws", "/talk", "/clumsy"][fastrand::usize(0..3)];
            let wire = users.enter(&gateway, &user, target).await;
            let port = wire.local().port();
            here.push(Here {
                user,
                target,
                port,
                wire,
            });
        }
        // Those who say nothing come beside the others, and are gone before the count.
        let brief = format!("brief{round}");
        let mut silent = vec![
            users.enter(&gateway, &brief, "/brief").await,
            users.enter(&gateway, &brief, "/brief").await,
        ];
        let mut going = Vec::new();
        for _ in 0..COMING * 2 / 3 {
            let client = here.swap_remove(fastrand::usize(0..here.len()));
            going.push(meets(client, FATES[fastrand::usize(0..FATES.len())]));
        }
        within(
            "all who go to have gone",
            futures_util::future::join_all(going),
        )
        .await;
        let kicked = format!("u{}", fastrand::u8(0..USERS));
        kick(gateway.admin(), &kicked, "").await;
        let (theirs, others) = here.into_iter().partition(|one| one.user == kicked);
        here = others;
        let theirs: Vec<Here> = theirs;
        for mut one in theirs {
            let told = if one.target == "/talk" { 1008 } else { 4440 };
            assert_eq!(one.wire.read_close().await, Some(told), "{kicked}");
        }
        for one in &mut silent {
            assert_eq!(one.read_close().await, Some(1001));
        }
        drop(silent);
        agree(&gateway, &here, round).await;
        eventually("all of it is told", || {
            history.read(&mut events);
            history.counts() == (gateway.sessions(), gateway.users())
        })
        .await;
    }
    assert_eq!(history.timeouts, ROUNDS, "of those who said nothing");
    assert!(!here.is_empty());
    gateway.stop().await;
    history.read(&mut events);
    assert_eq!(history.counts(), (0, 0));
    assert_eq!(history.sessions.len(), ROUNDS * (COMING + 2));
}
