//! A client's bytes through the gateway to an upstream in memory, and what the upstream got of them.

use tidegate::fuzzing::{Left, Peer, dialled};

use crate::judge;
use crate::message::{self, Body, Framing, Head, Look};
use crate::world::{self, settle};

/// A request as an upstream got it.
#[derive(Debug)]
pub struct Seen {
    pub head: Head,
    /// The head's bytes.
    pub bytes: Vec<u8>,
    pub body: Body,
    pub answered: bool,
    connection: usize,
    from: usize,
    framing: Framing,
}

/// An upstream's answer, chosen by the input.
const ANSWERS: [Reply; 8] = [
    Reply::Text("200 OK\r\nContent-Length: 2", "ok"),
    Reply::Text(
        "200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum",
        "2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
    ),
    Reply::Text("204 No Content", ""),
    Reply::Ended("200 OK", "until the end"),
    Reply::Lost,
    Reply::Early("413 Too Much\r\nContent-Length: 0", ""),
    Reply::Text(
        "200 OK\r\nConnection: close, X-Hop\r\nX-Hop: 1\r\nContent-Length: 2",
        "ok",
    ),
    Reply::Continued("200 OK\r\nContent-Length: 2", "ok"),
];

#[derive(Debug, Clone, Copy)]
enum Reply {
    /// Behind the whole request.
    Text(&'static str, &'static str),
    /// Likewise, and then the stream ends.
    Ended(&'static str, &'static str),
    /// The stream ends without an answer.
    Lost,
    /// Behind the head already.
    Early(&'static str, &'static str),
    /// With a 100 before it.
    Continued(&'static str, &'static str),
}

struct Connection {
    peer: Peer,
    got: Vec<u8>,
    /// Where the next request begins.
    at: usize,
    /// The request whose body is awaited.
    reading: Option<usize>,
    over: bool,
}

/// The upstreams of a script, and what they saw in its order.
struct Upstreams {
    reply: u8,
    connections: Vec<Connection>,
    seen: Vec<Seen>,
}

impl Upstreams {
    /// Reads what came and answers what is answerable; says whether anything was answered.
    fn act(&mut self) -> bool {
        self.connections
            .extend(dialled().into_iter().map(|peer| Connection {
                peer,
                got: Vec::new(),
                at: 0,
                reading: None,
                over: false,
            }));
        let mut acted = false;
        for place in 0..self.connections.len() {
            let bytes = self.connections[place].peer.take();
            self.connections[place].got.extend(bytes);
            while !self.connections[place].over && self.step(place) {
                acted = true;
            }
        }
        acted
    }

    /// Takes one step on one connection; says whether there may be another.
    fn step(&mut self, place: usize) -> bool {
        let connection = &mut self.connections[place];
        let Some(index) = connection.reading else {
            let rest = &connection.got[connection.at..];
            let (head, size) = match message::request(rest) {
                Look::More if rest.is_empty() => return false,
                Look::More => panic!("a part of a request's head: {rest:?}"),
                Look::Bad(why) => panic!("the upstream got {why} that is wrong: {rest:?}"),
                Look::Whole(head, size) => (head, size),
            };
            let framing = head.request_framing();
            let framing = framing.unwrap_or_else(|why| panic!("the upstream got a wrong {why}"));
            connection.reading = Some(self.seen.len());
            self.seen.push(Seen {
                head,
                bytes: rest[..size].to_vec(),
                body: Body::default(),
                answered: false,
                connection: place,
                from: connection.at + size,
                framing,
            });
            let early = matches!(self.reply(), Reply::Early(..));
            if early {
                self.answer(place);
            }
            return true;
        };
        let seen = &mut self.seen[index];
        let rest = &connection.got[seen.from..];
        seen.body = message::body(rest, seen.framing, false).right();
        if !seen.body.whole {
            return false;
        }
        connection.at = seen.from + seen.body.size;
        if !seen.answered {
            self.answer(place);
        }
        self.connections[place].reading = None;
        true
    }

    fn reply(&self) -> Reply {
        ANSWERS[usize::from(self.reply) % ANSWERS.len()]
    }

    fn answer(&mut self, place: usize) {
        let reply = self.reply();
        let connection = &mut self.connections[place];
        let Some(index) = connection.reading else {
            return;
        };
        let (peer, seen) = (&connection.peer, &mut self.seen[index]);
        let (head, body) = match reply {
            Reply::Lost => {
                peer.reset();
                connection.over = true;
                return;
            }
            Reply::Text(head, body) | Reply::Ended(head, body) | Reply::Early(head, body) => {
                (head, body)
            }
            Reply::Continued(head, body) => {
                peer.send(b"HTTP/1.1 100 Continue\r\n\r\n");
                (head, body)
            }
        };
        peer.send(format!("HTTP/1.1 {head}\r\nX-Up: {index}\r\n\r\n").as_bytes());
        if seen.head.start[0] != b"HEAD" {
            peer.send(body.as_bytes());
        }
        seen.answered = true;
        if matches!(reply, Reply::Ended(..)) {
            peer.end();
            connection.over = true;
        }
    }
}

/// How the client sends.
#[derive(Debug, Clone, Copy)]
pub struct Manner {
    /// Bytes at a time; 0: all at once.
    pub step: usize,
    /// Which answer the upstreams give.
    pub reply: u8,
    /// The client ends its side while answers may still be under way.
    pub hasty: bool,
}

impl Manner {
    #[must_use]
    pub fn of(byte: u8) -> Self {
        Self {
            step: [0, 1, 7, 64][usize::from(byte & 3)],
            reply: byte >> 2 & 7,
            hasty: byte & 0x40 != 0,
        }
    }
}

/// Sends `stream` through the gateway and judges what came of it.
pub fn relay(manner: Manner, stream: &[u8]) {
    // Byte by byte a long stream would only be slow.
    let step = match manner.step {
        0 => stream.len().max(1),
        step => step.max(stream.len() / 400),
    };
    let mut upstreams = Upstreams {
        reply: manner.reply,
        connections: Vec::new(),
        seen: Vec::new(),
    };
    let (mut answers, mut left) = (Vec::new(), Left::Open);
    world::play(0, usize::MAX, async |world| {
        let client = world.inside.accept(usize::MAX);
        for piece in stream.chunks(step) {
            client.send(piece);
            settle().await;
            while upstreams.act() {
                settle().await;
            }
        }
        answers.extend(client.take());
        left = client.left();
        if !manner.hasty {
            // Long enough for what hangs, too short for an idle connection.
            for _ in 0..70 {
                world.pass(std::time::Duration::from_secs(1)).await;
                if !upstreams.act() && world.inside.alive().leases == 0 {
                    break;
                }
            }
            settle().await;
            answers.extend(client.take());
            left = client.left();
        }
        client.end();
        world
            .outlive(|| {
                upstreams.act();
            })
            .await;
    });
    for seen in &upstreams.seen {
        let connection = &upstreams.connections[seen.connection];
        let cut = connection.peer.left() != Left::Open || connection.over;
        assert!(
            seen.body.whole || cut,
            "half a body on a connection that stays"
        );
    }
    judge::exchanges(stream, &answers, left != Left::Open, &upstreams.seen);
}
