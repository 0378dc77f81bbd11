//! One connection of the load, a client's or the upstream's: its socket, and TLS where there is some.

use std::io::{ErrorKind, Read as _, Write as _};

use mio::net::TcpStream;

use super::client::{Client, Load};
use super::secure::Tls;
use super::upstream::Upstream;
use super::words;

/// What becomes of a connection once it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    Close,
}

#[derive(Debug)]
pub(super) enum Side {
    Client(Client),
    Upstream(Upstream),
}

/// What connections use one after another.
#[derive(Debug)]
pub(super) struct Buffers {
    /// What was read.
    read: Vec<u8>,
    /// The same without TLS.
    plain: Vec<u8>,
    /// What one read is answered with, in one write.
    reply: Vec<u8>,
    /// What is to be written, over TLS.
    wire: Vec<u8>,
}

impl Buffers {
    pub(super) fn new(read: usize) -> Self {
        Self {
            read: vec![0; read],
            plain: Vec::new(),
            reply: Vec::new(),
            wire: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    tls: Option<Box<Tls>>,
    pub(super) side: Side,
    /// Read, and not whole yet.
    input: Vec<u8>,
    /// What the kernel did not take.
    output: Vec<u8>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, side: Side, tls: Option<Tls>) -> Self {
        Self {
            stream,
            tls: tls.map(Box::new),
            side,
            input: Vec::new(),
            output: Vec::new(),
        }
    }

    pub(super) fn writable(
        &mut self,
        number: usize,
        load: &Load,
        buffers: &mut Buffers,
    ) -> Result<(), String> {
        if let Side::Client(client) = &mut self.side
            && client.is_new()
        {
            if let Some(error) = self.stream.take_error().map_err(words)? {
                return Err(format!("not connected: {error}"));
            }
            client.has_asked();
            return self.write(&load.request(number), buffers);
        }
        let output = std::mem::take(&mut self.output);
        if output.is_empty() {
            return Ok(());
        }
        self.push(&output)
    }

    /// Writes these bytes, over TLS with what that has to say.
    pub(super) fn write(&mut self, bytes: &[u8], buffers: &mut Buffers) -> Result<(), String> {
        let Some(tls) = &mut self.tls else {
            return self.push(bytes);
        };
        buffers.wire.clear();
        tls.seal(bytes, &mut buffers.wire)?;
        self.push(&buffers.wire)
    }

    /// Writes what the kernel takes, and keeps the rest.
    fn push(&mut self, bytes: &[u8]) -> Result<(), String> {
        let mut left = bytes;
        while self.output.is_empty() && !left.is_empty() {
            match self.stream.write(left) {
                Ok(count) => left = &left[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("cannot send: {error}")),
            }
        }
        self.output.extend_from_slice(left);
        Ok(())
    }

    /// Reads what there is; a read that is short has emptied the socket, unless its end has come.
    pub(super) fn readable(
        &mut self,
        has_ended: bool,
        buffers: &mut Buffers,
        load: &mut Load,
    ) -> Result<Next, String> {
        loop {
            let count = match self.stream.read(&mut buffers.read) {
                Ok(0) => return self.ended(load),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Next::Wait),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    return match &self.side {
                        Side::Client(_) => Err(format!("a client cannot read: {error}")),
                        Side::Upstream(_) => Ok(Next::Close),
                    };
                }
            };
            let next = self.take(count, buffers, load)?;
            if next == Next::Close || (count < buffers.read.len() && !has_ended) {
                return Ok(next);
            }
        }
    }

    /// Takes so many bytes that were read.
    fn take(
        &mut self,
        count: usize,
        buffers: &mut Buffers,
        load: &mut Load,
    ) -> Result<Next, String> {
        let read = &buffers.read[..count];
        let mut is_last = false;
        let bytes = match &mut self.tls {
            None => read,
            Some(tls) => {
                buffers.plain.clear();
                let opened = tls.open(read, &mut buffers.plain)?;
                let ends = match &mut self.side {
                    Side::Client(client) => {
                        opened.is_shaken && client.is_only_for_the_handshake(load)
                    }
                    Side::Upstream(_) => opened.is_last,
                };
                if ends {
                    tls.end();
                }
                is_last = opened.is_last;
                &buffers.plain[..]
            }
        };
        let mut kept = std::mem::take(&mut self.input);
        let all = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept[..]
        };
        buffers.reply.clear();
        let (taken, next) = match &mut self.side {
            Side::Client(client) => client.take(all, &mut buffers.reply, load)?,
            Side::Upstream(upstream) => upstream.take(all, &mut buffers.reply, load)?,
        };
        if taken < all.len() {
            if kept.is_empty() {
                kept.extend_from_slice(&bytes[taken..]);
            } else {
                kept.drain(..taken);
            }
            self.input = kept;
        }
        let reply = std::mem::take(&mut buffers.reply);
        let written = self.write(&reply, buffers);
        buffers.reply = reply;
        written?;
        // A client waits for the end of TCP.
        let is_over = is_last && matches!(self.side, Side::Upstream(_));
        Ok(if is_over { Next::Close } else { next })
    }

    fn ended(&self, load: &mut Load) -> Result<Next, String> {
        if let Side::Client(client) = &self.side {
            if load.is_of_handshakes() && !self.tls.as_ref().is_some_and(|tls| tls.is_taken()) {
                return Err("a handshake that its server did not take".to_owned());
            }
            client.ended(load)?;
        }
        Ok(Next::Close)
    }
}
