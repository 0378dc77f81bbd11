//! Clients of bridge sessions, each of another user, that are told something and say nothing but what the
//! protocol wants: on one epoll.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use memchr::memmem;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use tidegate_tests::frame::{Frame, PING, PONG, TEXT};

use super::{now, words};
use crate::measure::bridge;
use crate::measure::client::MASK;
use crate::measure::frames;

/// The room that they join.
pub(super) const ROOM: &str = "bench";
/// One read: some hundred pushes.
const READ: usize = 64 * 1024;
/// Connections that are being opened at one time.
const OPENING: usize = 32;
/// Pushes after which a client says that it has them.
const ACKED: u64 = 32;
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Crowd {
    poll: Poll,
    events: Events,
    members: Vec<Member>,
    read: Vec<u8>,
    part: Part,
    ready: usize,
    /// Pushes that each has been told when all have been told, and those that came so far.
    rounds: u64,
    told: usize,
    /// The last push, as the first of them was told it: all frame, and what stands behind its number.
    frame: Vec<u8>,
    tail: Vec<u8>,
}

#[derive(Debug)]
struct Member {
    stream: TcpStream,
    request: Vec<u8>,
    input: Vec<u8>,
    stage: Stage,
    /// Pushes that it was told.
    count: u64,
}

/// What clients do besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Nothing: there is nobody who would hear them.
    Reads,
    /// They say what they have.
    Acks,
    /// The same, and they are in the room.
    Joins,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Asked,
    Open,
    Joining,
    Ready,
}

impl Crowd {
    /// Opens so many, of the users from that number on, and waits until they are welcome, and in the room.
    pub(super) fn open(
        to: SocketAddr,
        first: usize,
        count: usize,
        part: Part,
    ) -> Result<Self, String> {
        let mut crowd = Self {
            poll: Poll::new().map_err(words)?,
            events: Events::with_capacity(1024),
            members: Vec::new(),
            read: vec![0; READ],
            part,
            ready: 0,
            rounds: 0,
            told: 0,
            frame: Vec::new(),
            tail: Vec::new(),
        };
        let begun = now();
        while crowd.ready < count {
            while crowd.members.len() < count && crowd.members.len() < crowd.ready + OPENING {
                crowd.connect(to, first)?;
            }
            crowd.turn(begun)?;
        }
        Ok(crowd)
    }

    fn connect(&mut self, to: SocketAddr, first: usize) -> Result<(), String> {
        let mut stream = TcpStream::connect(to).map_err(words)?;
        let number = self.members.len();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut stream, Token(number), both);
        registered.map_err(words)?;
        self.members.push(Member {
            stream,
            request: bridge::handshake(to, Some(first + number)),
            input: Vec::new(),
            stage: Stage::New,
            count: 0,
        });
        Ok(())
    }

    /// Waits until each has been told one push more; how many that were.
    pub(super) fn all_are_told(&mut self) -> Result<usize, String> {
        self.rounds += 1;
        let due = self.members.len() * self.rounds as usize;
        let begun = now();
        while self.told < due {
            self.turn(begun)?;
        }
        Ok(self.members.len())
    }

    /// The last push as it came over the wire.
    pub(super) fn last_frame(&self) -> &[u8] {
        &self.frame
    }

    /// Takes what is there.
    pub(super) fn look(&mut self) -> Result<(), String> {
        self.take_events(Duration::ZERO)
    }

    fn turn(&mut self, begun: Instant) -> Result<(), String> {
        if begun.elapsed() > PATIENCE {
            return Err(format!(
                "{} of {} clients are ready, {} pushes have come, and no more",
                self.ready,
                self.members.len(),
                self.told
            ));
        }
        self.take_events(Duration::from_millis(100))
    }

    fn take_events(&mut self, limit: Duration) -> Result<(), String> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(limit)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(words(error)),
            _ => {}
        }
        for event in &events {
            let Token(number) = event.token();
            if event.is_writable() && self.members[number].stage == Stage::New {
                self.ask(number)?;
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.readable(number)?;
            }
        }
        self.events = events;
        Ok(())
    }

    fn ask(&mut self, number: usize) -> Result<(), String> {
        let member = &mut self.members[number];
        if let Some(error) = member.stream.take_error().map_err(words)? {
            return Err(format!("not connected: {error}"));
        }
        // It fails for a connection that is gone already, which the next read tells.
        let _ = member.stream.set_nodelay(true);
        member.stage = Stage::Asked;
        let request = std::mem::take(&mut member.request);
        member.say(&request)
    }

    fn readable(&mut self, number: usize) -> Result<(), String> {
        loop {
            let mut read = std::mem::take(&mut self.read);
            let count = self.members[number].stream.read(&mut read);
            let taken = match &count {
                Ok(0) => Err(format!("client {number} was ended")),
                Ok(count) => self.take(number, &read[..*count]),
                Err(_) => Ok(()),
            };
            self.read = read;
            taken?;
            match count {
                Ok(count) if count < READ => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(words(error)),
            }
        }
    }

    /// Takes what was read, with what was left before.
    fn take(&mut self, number: usize, read: &[u8]) -> Result<(), String> {
        let mut kept = std::mem::take(&mut self.members[number].input);
        let bytes = match kept.is_empty() {
            true => read,
            false => {
                kept.extend_from_slice(read);
                &kept
            }
        };
        let mut at = 0;
        if self.members[number].stage == Stage::Asked {
            let Some(end) = memmem::find(bytes, b"\r\n\r\n") else {
                self.members[number].input = bytes.to_vec();
                return Ok(());
            };
            if !bytes.starts_with(b"HTTP/1.1 101 ") {
                return Err(format!("no 101: {}", String::from_utf8_lossy(bytes)));
            }
            at = end + 4;
            self.members[number].stage = Stage::Open;
        }
        while let Some(found) = frames::find(&bytes[at..]) {
            let whole = &bytes[at..at + found.payload.end];
            at += found.payload.end;
            match found.opcode {
                TEXT => self.told(number, whole, found.payload.start)?,
                PING => {
                    let pong = Frame::new(PONG, &whole[found.payload.start..]);
                    self.members[number].say(&pong.masked(MASK).bytes())?;
                }
                opcode => return Err(format!("a frame of opcode {opcode} came")),
            }
        }
        self.members[number].input = bytes[at..].to_vec();
        Ok(())
    }

    fn told(&mut self, number: usize, frame: &[u8], payload: usize) -> Result<(), String> {
        let text = &frame[payload..];
        if let Some(push) = text.strip_prefix(b"{\"op\":\"push\",\"seq\":") {
            return self.pushed(number, frame, push);
        }
        if text.starts_with(b"{\"op\":\"ping\"") {
            return self.members[number].say_text("{\"op\":\"pong\"}");
        }
        if text.starts_with(b"{\"op\":\"presence\"") {
            return Ok(());
        }
        let is_welcome = memmem::find(text, b"\"op\":\"welcome\"").is_some();
        let member = &mut self.members[number];
        match member.stage {
            Stage::Open if is_welcome && self.part == Part::Joins => {
                member.stage = Stage::Joining;
                member.say_text(&format!("{{\"op\":\"sub\",\"id\":1,\"room\":\"{ROOM}\"}}"))?;
            }
            Stage::Open if is_welcome => self.is_ready(number),
            Stage::Joining if text.starts_with(b"{\"id\":1,\"status\":200,") => {
                self.is_ready(number);
            }
            stage => {
                let text = String::from_utf8_lossy(text);
                return Err(format!("to a client that is {stage:?} came {text}"));
            }
        }
        Ok(())
    }

    fn is_ready(&mut self, number: usize) {
        self.members[number].stage = Stage::Ready;
        self.ready += 1;
    }

    /// A push, from its number on: the next one, which is the same for everybody but for its cursor.
    fn pushed(&mut self, number: usize, frame: &[u8], push: &[u8]) -> Result<(), String> {
        let end = push.iter().position(|byte| *byte == b',').unwrap_or(0);
        let seq = str::from_utf8(&push[..end]).ok();
        let seq = seq.and_then(|digits| digits.parse::<u64>().ok());
        let tail = without_cursor(&push[end..]);
        let member = &mut self.members[number];
        // What the loop writes has the number of somebody else.
        let is_next = self.part == Part::Reads || seq == Some(member.count + 1);
        let is_first = self.told.is_multiple_of(self.ready);
        if is_first {
            self.frame = frame.to_vec();
            self.tail = tail.to_vec();
        }
        if !is_next || self.tail != tail {
            return Err(format!(
                "client {number} was told another push behind {}: {}",
                member.count,
                String::from_utf8_lossy(frame)
            ));
        }
        member.count += 1;
        self.told += 1;
        if self.part != Part::Reads && member.count.is_multiple_of(ACKED) {
            member.say_text(&format!("{{\"op\":\"ack\",\"seq\":{}}}", member.count))?;
        }
        Ok(())
    }
}

/// What stands behind a cursor, which each user has of its own.
fn without_cursor(tail: &[u8]) -> &[u8] {
    let cursor = tail.strip_prefix(b",\"cursor\":\"");
    let behind = cursor.and_then(|cursor| Some(&cursor[memchr::memchr(b'"', cursor)? + 1..]));
    behind.unwrap_or(tail)
}

impl Member {
    fn say_text(&mut self, text: &str) -> Result<(), String> {
        self.say(&Frame::text(text).masked(MASK).bytes())
    }

    /// Little is said, and the kernel takes it.
    fn say(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self.stream.write(bytes) {
            Ok(count) if count == bytes.len() => Ok(()),
            Ok(_) => Err("the kernel takes no more".to_owned()),
            Err(error) => Err(format!("cannot send: {error}")),
        }
    }
}
