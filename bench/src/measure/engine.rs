//! The loop: one epoll, on which the clients and the upstream's connections lie side by side.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use slab::Slab;

use super::client::{Client, Load};
use super::order::Order;
use super::upstream::Upstream;
use super::{now, words};

const LISTENER: Token = Token(usize::MAX);
const TIMER: Token = Token(usize::MAX - 1);
/// One read: a message of 64 KiB and its header, and then some.
const READ: usize = 256 * 1024;
/// Connections that are being opened at one time.
const OPENING: usize = 32;
/// How long opening may take without a step ahead.
const PATIENCE: Duration = Duration::from_secs(20);

/// What becomes of a connection once it has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    Close,
}

#[derive(Debug)]
enum Side {
    Client(Client),
    Upstream(Upstream),
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    side: Side,
    /// Read, and not whole yet.
    input: Vec<u8>,
    /// What the kernel did not take.
    output: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Engine {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    timer: Option<TimerFd>,
    connections: Slab<Connection>,
    scratch: Vec<u8>,
    /// What one read is answered with, in one write.
    reply: Vec<u8>,
    gateway: SocketAddr,
    pub(super) load: Load,
}

impl Engine {
    pub(super) fn new(order: &Order) -> Result<Self, String> {
        let poll = Poll::new().map_err(words)?;
        let mut listener = TcpListener::bind(order.upstream)
            .map_err(|error| format!("upstream on {}: {error}", order.upstream))?;
        let registered = poll
            .registry()
            .register(&mut listener, LISTENER, Interest::READABLE);
        registered.map_err(words)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(1024),
            listener,
            timer: None,
            connections: Slab::new(),
            scratch: vec![0; READ],
            reply: Vec::new(),
            gateway: order.gateway,
            load: Load::new(order),
        })
    }

    /// Opens so many clients, a few at a time, and waits until they are ready.
    pub(super) fn open(&mut self, count: usize) -> Result<Vec<usize>, String> {
        let mut clients = Vec::new();
        let (mut ready, mut moved) = (self.load.ready, now());
        let target = ready + count;
        while self.load.ready < target {
            let before = target - count;
            while clients.len() < count && clients.len() + before < self.load.ready + OPENING {
                clients.push(self.connect()?);
            }
            self.turn(Duration::from_millis(20))?;
            if self.load.ready > ready {
                (ready, moved) = (self.load.ready, now());
            }
            if moved.elapsed() > PATIENCE {
                return Err(format!(
                    "{ready} of {target} clients are ready, and no more"
                ));
            }
        }
        Ok(clients)
    }

    /// Begins a connection to the gateway.
    pub(super) fn connect(&mut self) -> Result<usize, String> {
        let stream = TcpStream::connect(self.gateway).map_err(words)?;
        self.load.begun += 1;
        self.add(stream, Side::Client(Client::default()))
    }

    /// Has a client send what it has to send next.
    pub(super) fn send(&mut self, client: usize) -> Result<(), String> {
        let connection = &mut self.connections[client];
        connection.write(self.load.message())
    }

    /// Has a client send a message that was due at `intended`.
    pub(super) fn send_paced(&mut self, client: usize, intended: Instant) -> Result<(), String> {
        let connection = &mut self.connections[client];
        if let Side::Client(client) = &mut connection.side {
            client.expect(intended);
        }
        connection.write(self.load.message())
    }

    /// From now on a turn ends at every such `step`, whatever else there is.
    pub(super) fn tick(&mut self, step: Duration) -> Result<(), String> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags).map_err(words)?;
        let every = Expiration::Interval(step.into());
        let set = timer.set(every, TimerSetTimeFlags::empty());
        set.map_err(words)?;
        let fd = std::os::fd::AsRawFd::as_raw_fd(&std::os::fd::AsFd::as_fd(&timer));
        let registry = self.poll.registry();
        let registered = registry.register(&mut SourceFd(&fd), TIMER, Interest::READABLE);
        registered.map_err(words)?;
        self.timer = Some(timer);
        Ok(())
    }

    /// Turns until `time` has passed, and does `each` after every turn.
    pub(super) fn run_for(
        &mut self,
        time: Duration,
        mut each: impl FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let end = now() + time;
        loop {
            let left = end.saturating_duration_since(now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left.min(Duration::from_millis(20)))?;
            each(self)?;
        }
    }

    /// Waits for something to happen, `limit` at most, and does what is to be done then.
    pub(super) fn turn(&mut self, limit: Duration) -> Result<(), String> {
        let mut events = std::mem::replace(&mut self.events, Events::with_capacity(0));
        match self.poll.poll(&mut events, Some(limit)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(words(error)),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => self.accept()?,
                // Only the waking matters: what is due is told by the clock.
                TIMER => drop(self.timer.as_ref().map(TimerFd::wait)),
                Token(id) => self.event(id, event)?,
            }
        }
        self.events = events;
        Ok(())
    }

    fn event(&mut self, id: usize, event: &mio::event::Event) -> Result<(), String> {
        let Some(connection) = self.connections.get_mut(id) else {
            return Ok(());
        };
        let mut next = Next::Wait;
        if event.is_writable() {
            connection.writable(&self.load)?;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let buffers = (&mut self.scratch[..], &mut self.reply);
            next = connection.readable(event.is_read_closed(), buffers, &mut self.load)?;
        }
        if next == Next::Close {
            self.connections.remove(id);
        }
        Ok(())
    }

    fn accept(&mut self) -> Result<(), String> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => self.add(stream, Side::Upstream(Upstream::default()))?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("upstream cannot accept: {error}")),
            };
        }
    }

    fn add(&mut self, mut stream: TcpStream, side: Side) -> Result<usize, String> {
        // It fails for a connection that is gone already, which the next read tells.
        let _ = stream.set_nodelay(true);
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = registry.register(&mut stream, Token(id), both);
        registered.map_err(words)?;
        entry.insert(Connection {
            stream,
            side,
            input: Vec::new(),
            output: Vec::new(),
        });
        Ok(id)
    }
}

impl Connection {
    fn writable(&mut self, load: &Load) -> Result<(), String> {
        if let Side::Client(client) = &mut self.side
            && client.is_new()
        {
            if let Some(error) = self.stream.take_error().map_err(words)? {
                return Err(format!("not connected: {error}"));
            }
            client.has_asked();
            return self.write(load.request());
        }
        let output = std::mem::take(&mut self.output);
        if output.is_empty() {
            return Ok(());
        }
        self.write(&output)
    }

    /// Writes what the kernel takes, and keeps the rest.
    fn write(&mut self, bytes: &[u8]) -> Result<(), String> {
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
    fn readable(
        &mut self,
        has_ended: bool,
        (scratch, reply): (&mut [u8], &mut Vec<u8>),
        load: &mut Load,
    ) -> Result<Next, String> {
        loop {
            let count = match self.stream.read(scratch) {
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
            let next = self.take(&scratch[..count], reply, load)?;
            if next == Next::Close || (count < scratch.len() && !has_ended) {
                return Ok(next);
            }
        }
    }

    fn take(&mut self, bytes: &[u8], reply: &mut Vec<u8>, load: &mut Load) -> Result<Next, String> {
        let mut kept = std::mem::take(&mut self.input);
        let all = if kept.is_empty() {
            bytes
        } else {
            kept.extend_from_slice(bytes);
            &kept[..]
        };
        reply.clear();
        let (taken, next) = match &mut self.side {
            Side::Client(client) => client.take(all, reply, load)?,
            Side::Upstream(upstream) => upstream.take(all, reply, load)?,
        };
        if taken < all.len() {
            if kept.is_empty() {
                kept.extend_from_slice(&bytes[taken..]);
            } else {
                kept.drain(..taken);
            }
            self.input = kept;
        }
        self.write(reply)?;
        Ok(next)
    }

    fn ended(&self, load: &mut Load) -> Result<Next, String> {
        if let Side::Client(client) = &self.side {
            client.ended(load)?;
        }
        Ok(Next::Close)
    }
}
