//! The loop: one epoll, on which the clients and the upstream's connections lie side by side.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use slab::Slab;

use super::client::{Client, Load};
use super::connection::{Buffers, Connection, Next, Side};
use super::order::Order;
use super::secure::{Secrets, Tls};
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

#[derive(Debug)]
pub(super) struct Engine {
    poll: Poll,
    events: Events,
    listener: TcpListener,
    timer: Option<TimerFd>,
    connections: Slab<Connection>,
    buffers: Buffers,
    secrets: Secrets,
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
            buffers: Buffers::new(READ),
            secrets: Secrets::load(order)?,
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
        let tls = self.secrets.client()?;
        self.add(stream, Side::Client(Client::default()), tls)
    }

    /// Has a client send what it has to send next.
    pub(super) fn send(&mut self, client: usize) -> Result<(), String> {
        let connection = &mut self.connections[client];
        connection.write(self.load.message(), &mut self.buffers)
    }

    /// Has a client send a message that was due at `intended`.
    pub(super) fn send_paced(&mut self, client: usize, intended: Instant) -> Result<(), String> {
        let connection = &mut self.connections[client];
        if let Side::Client(client) = &mut connection.side {
            client.expect(intended);
        }
        connection.write(self.load.message(), &mut self.buffers)
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
            connection.writable(id, &self.load, &mut self.buffers)?;
        }
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            let buffers = &mut self.buffers;
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
                Ok((stream, _)) => {
                    let tls = self.secrets.upstream()?;
                    self.add(stream, Side::Upstream(Upstream::default()), tls)?
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(format!("upstream cannot accept: {error}")),
            };
        }
    }

    fn add(
        &mut self,
        mut stream: TcpStream,
        side: Side,
        tls: Option<Tls>,
    ) -> Result<usize, String> {
        // It fails for a connection that is gone already, which the next read tells.
        let _ = stream.set_nodelay(true);
        let entry = self.connections.vacant_entry();
        let id = entry.key();
        let both = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = registry.register(&mut stream, Token(id), both);
        registered.map_err(words)?;
        entry.insert(Connection::new(stream, side, tls));
        Ok(id)
    }
}
