//! The life of a WebSocket from both sides: a client, an upstream, and the time, played by a script
//! of small steps. `README.md` tells how bytes make a script.

use std::time::Duration;

use tidegate::fuzzing::{Dial, Peer, dialled, set_dial};
use tidegate_ws::handshake::Key;

use crate::frames;
use crate::message::{self, Look};
use crate::upgrade::{Asked, answer, asked, wish};
use crate::world::{self, World, settle};

/// Bytes that one side sends before there is a session, or where few may wait for it; more would
/// only be slow to judge.
const MAX_BEFORE: usize = 16 * 1024;
/// Bytes that one side sends in all: more than the gateway may hold of them.
const MAX_SENT: usize = 512 * 1024;
/// Steps of one script.
const MAX_STEPS: usize = 80;
/// Bytes that the gateway may hold of one direction of a session: one read of 128 KiB, what came before
/// there was a session, and pings that it answers, which are few.
const MAX_KEPT: usize = 224 * 1024;
const TIMES: [u64; 8] = [1, 30, 300, 1_000, 3_000, 11_000, 35_000, 95_000];

/// One of the two who talk to the gateway.
struct Side {
    peer: Peer,
    sent: Vec<u8>,
    got: Vec<u8>,
    takes: bool,
    /// It has ended or reset its stream.
    over: bool,
}

struct Play<'w> {
    world: &'w mut World,
    client: Side,
    upstreams: Vec<Side>,
    upstream_takes: bool,
    /// How many bytes may wait for a peer.
    room: usize,
    /// Bytes that are sent at a time; 0: all at once.
    step: usize,
    passed: Duration,
    session: Option<Session>,
    /// Bytes that had moved when it was judged last.
    judged: usize,
}

/// Plays a script and judges each of its states.
pub fn play(script: &[u8]) {
    let [settings, steps @ ..] = script else {
        return;
    };
    let room = [usize::MAX, 4096, 100, 1][usize::from(settings & 3)];
    world::play(usize::from(settings >> 6), room, async |world| {
        let client = Side::new(world.inside.accept(room));
        let mut play = Play {
            world,
            client,
            upstreams: Vec::new(),
            upstream_takes: true,
            room,
            step: [0, 0, 1, 11][usize::from(settings >> 2 & 3)],
            passed: Duration::ZERO,
            session: None,
            judged: 0,
        };
        play.observe().await;
        let mut rest = steps;
        for _ in 0..MAX_STEPS {
            if !play.next(&mut rest).await {
                break;
            }
        }
        play.judge_complete();
        play.end(settings & 0x10 != 0, settings & 0x20 != 0).await;
    });
}

impl Side {
    fn new(peer: Peer) -> Self {
        Self {
            peer,
            sent: Vec::new(),
            got: Vec::new(),
            takes: true,
            over: false,
        }
    }

    fn take(&mut self) {
        if self.takes {
            self.got.extend(self.peer.take());
        }
    }
}

/// Of what the gateway has read from one side to pass it on, it holds no more than it may while the
/// other takes nothing. Each side comes with the place where its session begins.
///
/// What breaks a rule or stands behind a close frame is not held but thrown away, and so is all that
/// comes once the receiver's stream was ended, which a receiver that takes nothing does not see.
fn judge_kept(
    direction: &frames::Direction<'_>,
    (sender, sent_from): (&Side, usize),
    (receiver, got_from): (&Side, usize),
) {
    if receiver.takes || receiver.peer.is_left() {
        return;
    }
    let (read, _) = sender.peer.moved();
    let (_, written) = receiver.peer.moved();
    let read = read.saturating_sub(sent_from).min(direction.passable());
    let kept = read.saturating_sub(written - got_from);
    assert!(
        kept <= MAX_KEPT,
        "{kept} bytes are held for one who takes nothing"
    );
}

fn take_bytes<'a>(rest: &mut &'a [u8], size: usize) -> &'a [u8] {
    let (taken, left) = rest.split_at(size.min(rest.len()));
    *rest = left;
    taken
}

fn take_byte(rest: &mut &[u8]) -> u8 {
    take_bytes(rest, 1).first().copied().unwrap_or(0)
}

impl Play<'_> {
    /// Takes the next step; `false` when there is none.
    async fn next(&mut self, rest: &mut &[u8]) -> bool {
        let [code, argument, left @ ..] = *rest else {
            return false;
        };
        let (code, argument) = (*code, *argument);
        *rest = left;
        match code & 0x0f {
            0 => {
                let bytes = take_bytes(rest, usize::from(argument));
                self.send(true, bytes).await;
            }
            1 => {
                let bytes = take_bytes(rest, usize::from(argument));
                self.send(false, bytes).await;
            }
            2 => self.send(true, wish(argument).as_bytes()).await,
            3 => {
                let answer = self
                    .upstreams
                    .last()
                    .map(|side| answer(argument, &side.got));
                self.send(false, answer.unwrap_or_default().as_bytes())
                    .await;
            }
            4 => {
                let size = take_byte(rest);
                self.send(true, &frames::made(argument, size, true)).await;
            }
            5 => {
                let size = take_byte(rest);
                self.send(false, &frames::made(argument, size, false)).await;
            }
            6 => self.leave(argument).await,
            7 => {
                let time = TIMES[usize::from(argument) % TIMES.len()];
                self.pass(Duration::from_millis(time)).await;
            }
            8 => {
                self.client.takes = argument & 1 == 0;
                self.upstream_takes = argument & 2 == 0;
                for side in &mut self.upstreams {
                    side.takes = self.upstream_takes;
                }
                self.observe().await;
            }
            9 => self.step = usize::from(argument),
            10 => set_dial(match argument & 3 {
                1 => Dial::Refuse,
                2 => Dial::Hang,
                _ => Dial::Accept,
            }),
            11 => {
                let plain = "GET /plain HTTP/1.1\r\nHost: a\r\n\r\n";
                self.send(true, plain.as_bytes()).await;
            }
            12 => {
                let many = vec![frames::made(2, 250, argument & 1 == 0); usize::from(argument / 2)];
                self.send(argument & 1 == 0, &many.concat()).await;
            }
            _ => {}
        }
        true
    }

    async fn send(&mut self, by_client: bool, bytes: &[u8]) {
        let step = match self.step {
            0 => bytes.len().max(1),
            step => step.max(bytes.len() / 20),
        };
        for piece in bytes.chunks(step) {
            let most = if self.session.is_some() && self.room > 100 {
                MAX_SENT
            } else {
                MAX_BEFORE
            };
            let side = if by_client {
                Some(&mut self.client)
            } else {
                self.upstreams.last_mut()
            };
            // What is sent behind one's own end, or to one who has left, never was.
            let may = |side: &&mut Side| !side.peer.is_over() && side.sent.len() < most;
            if let Some(side) = side.filter(may) {
                side.sent.extend(piece);
                side.peer.send(piece);
            }
            self.observe().await;
        }
    }

    async fn leave(&mut self, how: u8) {
        let side = if how & 1 == 0 {
            Some(&mut self.client)
        } else {
            self.upstreams.last_mut()
        };
        if let Some(side) = side {
            side.over = true;
            match how & 2 {
                0 => side.peer.end(),
                _ => side.peer.reset(),
            }
        }
        self.observe().await;
    }

    async fn pass(&mut self, time: Duration) {
        self.passed += time;
        self.world.pass(time).await;
        self.observe().await;
    }

    /// Lets the gateway come to rest, takes what came of it, and judges that.
    async fn observe(&mut self) {
        loop {
            settle().await;
            let takes = self.upstream_takes;
            self.upstreams
                .extend(dialled().into_iter().map(|peer| Side {
                    takes,
                    ..Side::new(peer)
                }));
            let before: usize = self.sides().map(|side| side.got.len()).sum();
            self.client.take();
            self.upstreams.iter_mut().for_each(Side::take);
            if self.sides().map(|side| side.got.len()).sum::<usize>() == before {
                break;
            }
        }
        self.judge();
    }

    fn sides(&self) -> impl Iterator<Item = &Side> {
        self.upstreams.iter().chain([&self.client])
    }

    /// What holds in every state.
    fn judge(&mut self) {
        let moved = self
            .sides()
            .map(|side| side.got.len() + side.sent.len())
            .sum();
        if self.session.is_none() && moved != self.judged {
            self.session = self.judge_http();
        }
        self.judged = moved;
        if let Some(session) = &self.session {
            self.judge_session(session);
        }
    }

    /// What holds before the 101, and what it was once it is there.
    fn judge_http(&self) -> Option<Session> {
        let opened: Vec<_> = self
            .upstreams
            .iter()
            .map(|side| asked(&side.got, &side.sent))
            .collect();
        let (request, answer) = self.switched()?;
        let mut switched = opened.into_iter().enumerate();
        let (place, asked) = switched
            .find_map(|(place, asked)| Some((place, asked?)))
            .expect("a client got a 101 that no upstream gave");
        assert!(
            switched.all(|(_, asked)| asked.is_none()),
            "two upstreams have switched"
        );
        Some(Session {
            request,
            answer,
            place,
            asked,
            elsewhere: self.elsewhere(place),
        })
    }

    /// What upstreams other than this one have got.
    fn elsewhere(&self, place: usize) -> usize {
        let got: usize = self.upstreams.iter().map(|side| side.got.len()).sum();
        got - self.upstreams[place].got.len()
    }

    fn judge_session(&self, session: &Session) {
        let (upstream, asked) = (&self.upstreams[session.place], &session.asked);
        assert_eq!(
            self.elsewhere(session.place),
            session.elsewhere,
            "bytes for another upstream"
        );
        let up = frames::Direction {
            from_client: true,
            deflate: asked.deflate,
            pings: self.world.pings,
            sent: &self.client.sent[session.request..],
            got: &upstream.got[asked.head..],
            left: upstream.peer.left(),
        };
        let down = frames::Direction {
            from_client: false,
            deflate: asked.deflate,
            pings: self.world.pings,
            sent: &upstream.sent[asked.answer..],
            got: &self.client.got[session.answer..],
            left: self.client.peer.left(),
        };
        up.judge();
        down.judge();
        judge_kept(&up, (&self.client, session.request), (upstream, asked.head));
        judge_kept(
            &down,
            (upstream, asked.answer),
            (&self.client, session.answer),
        );
    }

    /// With nobody gone, nothing broken and nobody waiting, all that was sent has arrived.
    fn judge_complete(&self) {
        let Some(session) = &self.session else {
            return;
        };
        let calm = self.sides().all(|side| !side.over && side.takes)
            && self.world.pings == frames::Pings::default()
            && self.passed < Duration::from_secs(20);
        let (upstream, asked) = (&self.upstreams[session.place], &session.asked);
        let directions = [
            (
                true,
                &self.client.sent[session.request..],
                &upstream.got[asked.head..],
            ),
            (
                false,
                &upstream.sent[asked.answer..],
                &self.client.got[session.answer..],
            ),
        ];
        let whole = |&(from_client, sent, _): &(bool, &[u8], &[u8])| {
            frames::passable(sent, from_client, asked.deflate)
        };
        if calm && directions.iter().all(|one| whole(one).is_some()) {
            for one in &directions {
                assert_eq!(whole(one), Some(one.2.len()), "frames were held back");
            }
        }
    }

    /// Where the client's 101 ends, if it got one, and the request that it answers.
    fn switched(&self) -> Option<(usize, usize)> {
        if self.client.got.is_empty() {
            return None;
        }
        let (requests, _) = message::requests(&self.client.sent);
        let (mut at, mut place) = (0, 0);
        loop {
            let rest = &self.client.got[at..];
            let (head, size) = match message::response(rest) {
                Look::Whole(head, size) => (head, size),
                Look::More => return None,
                Look::Bad(why) => panic!("the client got {why} that is wrong: {rest:?}"),
            };
            at += size;
            let request = requests.get(place);
            if head.status() == 101 {
                let request = request.expect("a 101 to no request");
                let sent = &request.head;
                let key = Key::of_request(sent.values("sec-websocket-key")).expect("a key");
                assert_eq!(
                    head.values("sec-websocket-accept").collect::<Vec<_>>(),
                    [key.accept()]
                );
                assert_eq!(sent.start[0], b"GET");
                assert!(sent.is_http11());
                assert_eq!(sent.list("upgrade"), ["websocket"]);
                assert_eq!(sent.list("sec-websocket-version"), ["13"]);
                assert!(request.body.size == 0);
                return Some((request.size, at));
            }
            if head.status() < 200 {
                continue;
            }
            let readable = request.filter(|_| head.status() != 400);
            let method = readable.map_or(&b"GET"[..], |request| &request.head.start[0]);
            let framing = head.response_framing(method).expect("a framing");
            let body = message::body(&self.client.got[at..], framing, false).right();
            if !body.whole {
                return None;
            }
            at += body.size;
            place += 1;
        }
    }

    /// Both sides are gone, or keep silent until the gateway has had enough of it.
    async fn end(&mut self, silent: bool, deaf: bool) {
        if silent {
            self.pass(Duration::from_secs(130)).await;
            assert_eq!(
                self.world.inside.alive().sessions,
                0,
                "a session of the dead"
            );
        }
        if !deaf {
            self.client.takes = true;
            self.upstream_takes = true;
            self.upstreams.iter_mut().for_each(|side| side.takes = true);
        }
        self.observe().await;
        for side in self.sides() {
            side.peer.end();
        }
        let Self {
            world,
            client,
            upstreams,
            ..
        } = self;
        let each = || {
            for peer in dialled() {
                peer.end();
                upstreams.push(Side::new(peer));
            }
            client.take();
            upstreams.iter_mut().for_each(Side::take);
        };
        world.outlive(each).await;
        self.observe().await;
    }
}

/// A session: where its bytes begin in what the client sent and in what it got, and with whom it is.
struct Session {
    request: usize,
    answer: usize,
    place: usize,
    asked: Asked,
    elsewhere: usize,
}
