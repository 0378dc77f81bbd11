//! The client that is pushed to, and clients that come and go.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;

use memchr::memmem;
use tidegate_tests::frame::{CLOSE, Frame, PING, PONG, TEXT};

use super::arrivals::{Arrivals, numbered};
use super::words;
use crate::measure::client::MASK;
use crate::measure::{bridge, frames};

/// Pushes after which it says that it has them.
const ACKED: u64 = 32;
const READ: usize = 16 * 1024;

/// A session of version 1, whose welcome has come.
#[derive(Debug)]
pub(super) struct Session {
    stream: TcpStream,
    input: Vec<u8>,
    buffer: Box<[u8]>,
}

impl Session {
    /// That of the user of this number.
    pub(super) fn open(to: SocketAddr, user: usize) -> Result<Self, String> {
        let mut stream = TcpStream::connect(to).map_err(words)?;
        stream.set_nodelay(true).map_err(words)?;
        let handshake = bridge::handshake(to, Some(user));
        stream.write_all(&handshake).map_err(words)?;
        let mut session = Self {
            stream,
            input: Vec::new(),
            buffer: vec![0; READ].into(),
        };
        let end = loop {
            if let Some(at) = memmem::find(&session.input, b"\r\n\r\n") {
                break at + 4;
            }
            session.read()?;
        };
        let head = session.input.drain(..end).collect::<Vec<_>>();
        if !head.starts_with(b"HTTP/1.1 101 ") {
            return Err(format!("no 101: {}", String::from_utf8_lossy(&head)));
        }
        let welcome = session.next()?;
        match memmem::find(&welcome, b"\"op\":\"welcome\"") {
            Some(_) => Ok(session),
            None => Err(format!("no welcome: {}", String::from_utf8_lossy(&welcome))),
        }
    }

    /// Leaves, and waits until the gateway has said so, too.
    pub(super) fn close(mut self) -> Result<(), String> {
        self.say(CLOSE, &1000_u16.to_be_bytes())?;
        let mut read = [0; 512];
        while self.stream.read(&mut read).map_err(words)? > 0 {}
        Ok(())
    }

    /// Notes each push that comes, for ever.
    pub(super) fn note(mut self, arrivals: Arc<Arrivals>) {
        thread::spawn(move || {
            let mut count = 0;
            let end = loop {
                let text = match self.next() {
                    Ok(text) => text,
                    Err(error) => break error,
                };
                if !text.starts_with(b"{\"op\":\"push\",") {
                    continue;
                }
                let Some((number, _)) = numbered(&text) else {
                    break format!("a push of nobody's: {}", String::from_utf8_lossy(&text));
                };
                arrivals.note(number);
                count += 1;
                if count % ACKED == 0
                    && let Err(error) = self.say(
                        TEXT,
                        format!("{{\"op\":\"ack\",\"seq\":{count}}}").as_bytes(),
                    )
                {
                    break error;
                }
            };
            arrivals.fail(end);
        });
    }

    /// The next text; whoever asks whether somebody is there is answered.
    fn next(&mut self) -> Result<Vec<u8>, String> {
        loop {
            let Some(found) = frames::find(&self.input) else {
                self.read()?;
                continue;
            };
            let whole: Vec<u8> = self.input.drain(..found.payload.end).collect();
            let payload = &whole[found.payload.start..];
            match found.opcode {
                TEXT if payload.starts_with(b"{\"op\":\"ping\"") => {
                    self.say(TEXT, b"{\"op\":\"pong\"}")?;
                }
                TEXT => return Ok(payload.to_vec()),
                PING => self.say(PONG, payload)?,
                opcode => return Err(format!("a frame of opcode {opcode} came")),
            }
        }
    }

    fn read(&mut self) -> Result<(), String> {
        let count = self.stream.read(&mut self.buffer).map_err(words)?;
        self.input.extend_from_slice(&self.buffer[..count]);
        match count {
            0 => Err("the session was ended".to_owned()),
            _ => Ok(()),
        }
    }

    fn say(&mut self, opcode: u8, payload: &[u8]) -> Result<(), String> {
        let frame = Frame::new(opcode, payload).masked(MASK).bytes();
        self.stream.write_all(&frame).map_err(words)
    }
}
