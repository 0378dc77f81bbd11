//! The bound sockets and the one acceptor: it hands each accepted socket to the worker with the
//! least to do, where the connection stays for good.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::config::plan::ListenerPlan;
use crate::error::is_shortage;
use crate::worker::{Present, Worker};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when the system has no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(100);

/// An accepted socket on its way to a worker.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Arc<str>,
    /// Counts it in the worker's load from now on.
    pub(crate) present: Present,
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    socket: TcpListener,
}

/// A worker as the acceptor knows it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) worker: Arc<Worker>,
    pub(crate) accepted: mpsc::Sender<Accepted>,
}

/// Binds one listener.
pub(crate) fn bind(plan: &ListenerPlan) -> io::Result<Listener> {
    let socket = Socket::new(
        Domain::for_address(plan.bind),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if plan.bind.is_ipv6() {
        // `[::]` takes IPv4 too, wherever the system's default stands.
        socket.set_only_v6(false)?;
    }
    socket.bind(&plan.bind.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    let socket = TcpListener::from_std(socket.into());
    let (name, address) = (Arc::clone(&plan.name), socket.local_addr()?);
    Ok(Listener {
        name,
        address,
        socket,
    })
}

/// The acceptor: a thread of its own that waits for all listeners.
#[derive(Debug)]
pub(crate) struct Acceptor {
    poll: Poll,
    listeners: Vec<Listener>,
    seats: Vec<Seat>,
    stopping: CancellationToken,
}

impl Acceptor {
    /// An acceptor, and what wakes it when `stopping` is set.
    pub(crate) fn new(
        mut listeners: Vec<Listener>,
        seats: Vec<Seat>,
        stopping: CancellationToken,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        for (place, listener) in listeners.iter_mut().enumerate() {
            poll.registry()
                .register(&mut listener.socket, Token(place), Interest::READABLE)?;
        }
        let waker = Waker::new(poll.registry(), Token(listeners.len()))?;
        Ok((
            Self {
                poll,
                listeners,
                seats,
                stopping,
            },
            waker,
        ))
    }

    /// Accepts until the gateway stops.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        // Readiness is told once, so a listener stays in here until it has nothing more to accept.
        let mut ready: Vec<usize> = Vec::new();
        while !self.stopping.is_cancelled() {
            let patience = (!ready.is_empty()).then_some(PAUSE);
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(%error, "cannot wait for connections");
                thread::sleep(PAUSE);
            }
            for place in events.iter().map(|event| event.token().0) {
                if place < self.listeners.len() && !ready.contains(&place) {
                    ready.push(place);
                }
            }
            ready.retain(|&place| self.accept_some(&self.listeners[place]) == Left::Some);
        }
    }

    /// Accepts what waits at one listener.
    fn accept_some(&self, listener: &Listener) -> Left {
        while !self.stopping.is_cancelled() {
            match listener.socket.accept() {
                Ok((stream, peer)) => self.hand_over(listener, stream.into(), peer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Left::None,
                Err(error) if is_shortage(&error) => {
                    tracing::warn!(listener = &*listener.name, %error, "accepting pauses");
                    return Left::Some;
                }
                // The client was gone before it was accepted.
                Err(error) => tracing::debug!(listener = &*listener.name, %error, "not accepted"),
            }
        }
        Left::None
    }

    fn hand_over(&self, listener: &Listener, stream: TcpStream, peer: SocketAddr) {
        let least = self.seats.iter().min_by_key(|seat| seat.worker.load());
        if let Some(seat) = least {
            let listener = Arc::clone(&listener.name);
            let present = Present::new(&seat.worker);
            // A worker that has stopped takes none; the connection is dropped.
            let _ = seat.accepted.blocking_send(Accepted {
                stream,
                peer,
                listener,
                present,
            });
        }
    }
}

/// Whether connections still wait at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    None,
    Some,
}
