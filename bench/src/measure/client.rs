//! The clients: what each of them waits for, and what all of them count.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use memchr::memmem;
use tidegate_tests::accept_for;
use tidegate_tests::frame::{BINARY, CLOSE, Frame, PING, PONG, TEXT};
use tidegate_tests::request::KEY;

use super::bridge;
use super::connection::Next;
use super::frames;
use super::histogram::Histogram;
use super::now;
use super::order::{Kind, Order};

/// Whatever key: nobody unmasks the messages.
pub(crate) const MASK: [u8; 4] = [0x5a, 0xc3, 0x17, 0x88];

/// What all clients share.
#[derive(Debug)]
pub(super) struct Load {
    kind: Kind,
    gateway: SocketAddr,
    pipeline: usize,
    request: Vec<u8>,
    /// The messages of one write; a request, where requests are sent.
    message: Vec<u8>,
    /// What comes back of each: the payload as it was on the wire.
    payload: Vec<u8>,
    close: Vec<u8>,
    answer: Vec<u8>,
    accept: String,
    /// Whether what has come back is followed by the next.
    pub(super) is_running: bool,
    /// Clients that were begun, that got what they opened for, and that came to their end.
    pub(super) begun: usize,
    pub(super) ready: usize,
    pub(super) ended: usize,
    /// Messages and answers that came back, sessions that were opened and closed.
    pub(super) operations: u64,
    pub(super) latencies: Histogram,
    /// Messages intended from the first to before the second of these count as latencies.
    pub(super) counted: Option<(Instant, Instant)>,
}

impl Load {
    pub(super) fn new(order: &Order) -> Self {
        let payload: Vec<u8> = (0..order.size).map(|at| (at * 131 + 7) as u8).collect();
        let frame = Frame::new(BINARY, &payload).masked(MASK).bytes();
        let is_bridge = order.kind == Kind::Bridge;
        let on_the_wire = if is_bridge {
            bridge::body(order.size)
        } else {
            frame[frame.len() - payload.len()..].to_vec()
        };
        let media_type = if is_bridge { "json" } else { "octet-stream" };
        let host = order.gateway;
        let get = format!("GET /get HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes();
        let upgrade = format!(
            "GET /session HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n"
        );
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/{media_type}\r\n\
             Content-Length: {}\r\n\r\n",
            order.size
        )
        .into_bytes();
        answer.extend_from_slice(&on_the_wire);
        Self {
            kind: order.kind,
            gateway: host,
            pipeline: order.pipeline,
            request: match order.kind {
                Kind::Get | Kind::Shake => Vec::new(),
                Kind::Bridge => bridge::handshake(host, None),
                _ => upgrade.into(),
            },
            message: match order.kind {
                Kind::Get => get,
                Kind::Bridge => (1..=order.pipeline).flat_map(bridge::call).collect(),
                _ => frame.repeat(order.pipeline),
            },
            payload: on_the_wire,
            close: Frame::close(1000, "").masked(MASK).bytes(),
            answer,
            accept: accept_for(KEY),
            is_running: false,
            begun: 0,
            ready: 0,
            ended: 0,
            operations: 0,
            latencies: Histogram::new(),
            counted: None,
        }
    }

    /// What the client of that number asks first.
    pub(super) fn request(&self, client: usize) -> Cow<'_, [u8]> {
        match self.kind {
            Kind::Get => (&self.message[..]).into(),
            Kind::BridgeIdle => bridge::handshake(self.gateway, Some(client)).into(),
            _ => (&self.request[..]).into(),
        }
    }

    /// Whether clients come for a handshake of TLS alone.
    pub(super) const fn is_of_handshakes(&self) -> bool {
        matches!(self.kind, Kind::Shake)
    }

    const fn is_of_bridges(&self) -> bool {
        matches!(self.kind, Kind::Bridge | Kind::BridgeIdle)
    }

    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    /// What the upstream answers a request with.
    pub(super) fn answer(&self) -> &[u8] {
        &self.answer
    }

    /// Counts how late a message came back, reckoned from when it should have gone: what waited for
    /// its turn to be sent has waited, too.
    pub(super) fn count_latency(&mut self, intended: Instant) {
        if let Some((first, end)) = self.counted
            && (first..end).contains(&intended)
        {
            let late = now().saturating_duration_since(intended);
            self.latencies.record(late);
        }
    }
}

#[derive(Debug, Default)]
enum Stage {
    #[default]
    New,
    Asked,
    Open,
    /// The closing handshake is over.
    Closed,
}

#[derive(Debug, Default)]
pub(super) struct Client {
    stage: Stage,
    /// Whether a bridge has welcomed it.
    is_welcome: bool,
    /// Messages of the last write that came back.
    back: usize,
    /// When each message that is on its way should have gone.
    intended: VecDeque<Instant>,
}

impl Client {
    pub(super) const fn is_new(&self) -> bool {
        matches!(self.stage, Stage::New)
    }

    pub(super) const fn has_asked(&mut self) {
        self.stage = Stage::Asked;
    }

    /// Whether it has what it came for once it has shaken hands.
    pub(super) const fn is_only_for_the_handshake(&mut self, load: &Load) -> bool {
        if load.is_of_handshakes() {
            self.stage = Stage::Closed;
        }
        load.is_of_handshakes()
    }

    pub(super) fn expect(&mut self, intended: Instant) {
        self.intended.push_back(intended);
    }

    /// Takes what is whole of `bytes`, and says how much that was.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        reply: &mut Vec<u8>,
        load: &mut Load,
    ) -> Result<(usize, Next), String> {
        if load.kind == Kind::Get {
            let taken = self.answered(bytes, reply, load)?;
            return Ok((taken, Next::Wait));
        }
        let mut taken = 0;
        if matches!(self.stage, Stage::Asked) {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                return Ok((0, Next::Wait));
            };
            taken = end + 4;
            self.open(&bytes[..end], reply, load)?;
        }
        while let Some(found) = frames::find(&bytes[taken..]) {
            let payload = &bytes[taken..][found.payload.clone()];
            match found.opcode {
                BINARY if payload == load.payload => self.message_is_back(reply, load)?,
                TEXT if load.is_of_bridges() => self.told(payload, reply, load)?,
                PING => {
                    reply.extend(Frame::new(PONG, payload).masked(MASK).bytes());
                }
                CLOSE if load.kind == Kind::Handshake => self.stage = Stage::Closed,
                opcode => {
                    let size = payload.len();
                    return Err(format!(
                        "a frame of opcode {opcode} and {size} bytes came back"
                    ));
                }
            }
            taken += found.payload.end;
        }
        Ok((taken, Next::Wait))
    }

    pub(super) fn ended(&self, load: &mut Load) -> Result<(), String> {
        if !matches!(self.stage, Stage::Closed) {
            return Err(format!("a client was ended: {self:?}"));
        }
        load.operations += 1;
        load.ended += 1;
        Ok(())
    }

    fn open(&mut self, head: &[u8], reply: &mut Vec<u8>, load: &mut Load) -> Result<(), String> {
        let is_101 = head.starts_with(b"HTTP/1.1 101 ");
        if !is_101 || memmem::find(head, load.accept.as_bytes()).is_none() {
            let head = String::from_utf8_lossy(head);
            return Err(format!("no good 101: {head}"));
        }
        self.stage = Stage::Open;
        match load.kind {
            Kind::Handshake => reply.extend_from_slice(&load.close),
            // Ready is who has its welcome.
            Kind::Bridge | Kind::BridgeIdle => return Ok(()),
            // Ready is, who has its message back.
            Kind::Used => {
                reply.extend_from_slice(&load.message);
                return Ok(());
            }
            _ => {}
        }
        load.ready += 1;
        Ok(())
    }

    fn message_is_back(&mut self, reply: &mut Vec<u8>, load: &mut Load) -> Result<(), String> {
        match load.kind {
            Kind::Echo => {
                self.back += 1;
                if self.back == load.pipeline {
                    self.back = 0;
                    load.operations += load.pipeline as u64;
                    if load.is_running {
                        reply.extend_from_slice(&load.message);
                    }
                }
            }
            Kind::Paced => {
                let intended = self.intended.pop_front();
                load.operations += 1;
                load.count_latency(intended.ok_or("a message that nobody sent")?);
            }
            Kind::Used => load.ready += 1,
            Kind::Bridge
            | Kind::BridgeIdle
            | Kind::Get
            | Kind::Handshake
            | Kind::Shake
            | Kind::Idle => {
                return Err("a message that nobody sent".to_owned());
            }
        }
        Ok(())
    }

    /// A frame of a bridge: the first is its welcome, and each answer is followed by the same call.
    fn told(&mut self, text: &[u8], reply: &mut Vec<u8>, load: &mut Load) -> Result<(), String> {
        if !self.is_welcome {
            if memmem::find(text, b"\"op\":\"welcome\"").is_none() {
                return Err(format!("no welcome: {}", String::from_utf8_lossy(text)));
            }
            self.is_welcome = true;
            load.ready += 1;
            return Ok(());
        }
        if memmem::find(text, b"\"op\":\"ping\"").is_some() {
            return Ok(());
        }
        match bridge::answered(text) {
            Some((id, body)) if body == load.payload => {
                load.operations += 1;
                if load.is_running {
                    reply.extend(bridge::call(id));
                }
                Ok(())
            }
            _ => Err(format!("a wrong answer: {}", String::from_utf8_lossy(text))),
        }
    }

    /// An answer with the body that is due; the first makes the client ready.
    fn answered(
        &mut self,
        bytes: &[u8],
        reply: &mut Vec<u8>,
        load: &mut Load,
    ) -> Result<usize, String> {
        let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
            return Ok(0);
        };
        let (head, body) = (&bytes[..end], &bytes[end + 4..]);
        if body.len() < load.payload.len() {
            return Ok(0);
        }
        if !head.starts_with(b"HTTP/1.1 200 ") || body != load.payload {
            let head = String::from_utf8_lossy(head);
            return Err(format!("a wrong answer: {head}"));
        }
        if matches!(self.stage, Stage::Asked) {
            self.stage = Stage::Open;
            load.ready += 1;
        } else {
            load.operations += 1;
        }
        if load.is_running {
            reply.extend_from_slice(&load.message);
        }
        Ok(bytes.len())
    }
}
