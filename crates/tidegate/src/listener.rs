//! The bound sockets and the one acceptor: it hands each accepted socket to the worker with the
//! least to do, where the connection stays for good.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token, Waker};
use nix::libc::EMFILE;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::config::plan::ListenerPlan;
use crate::connection;
use crate::drain::Drain;
use crate::error::{GatewayError, UpstreamError, is_shortage};
use crate::limits::descriptors::is_reserved;
use crate::limits::{Gauge, Overload, Permits, Taken, gauge};
use crate::worker::{Core, Present, Worker};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when the system has no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(100);
/// How long it pauses when no worker takes a connection.
const HANDOVER_PAUSE: Duration = Duration::from_millis(5);

/// An accepted socket on its way to a worker.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Arc<ListenerPlan>,
    pub(crate) admission: Admission,
    /// Counts it in the worker's load from now on.
    pub(crate) present: Present,
}

/// Whether a connection may be served.
#[derive(Debug)]
pub(crate) enum Admission {
    /// It may, and holds this meanwhile.
    In(Permits),
    /// It is told this; one of the few whom its worker tells so at a time.
    Refused(Overload, Taken),
}

/// A bound socket.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) plan: Arc<ListenerPlan>,
    pub(crate) address: SocketAddr,
    socket: TcpListener,
    /// Its connections, where they are capped.
    gauge: Option<Arc<Gauge>>,
    /// Accepting pauses for want of descriptors, and that was logged.
    pauses: bool,
}

/// A worker as the acceptor knows it.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) worker: Arc<Worker>,
    pub(crate) accepted: mpsc::Sender<Accepted>,
    /// How many refused connections it tells so at a time.
    pub(crate) refusals: Arc<Gauge>,
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
    let address = socket.local_addr()?;
    Ok(Listener {
        plan: Arc::new(plan.clone()),
        address,
        socket,
        gauge: gauge(plan.limits.max_connections),
        pauses: false,
    })
}

/// The acceptor: a thread of its own that waits for all listeners.
#[derive(Debug)]
pub(crate) struct Acceptor {
    poll: Poll,
    listeners: Vec<Listener>,
    seats: Vec<Seat>,
    core: Arc<Core>,
    drain: Arc<Drain>,
}

impl Acceptor {
    /// An acceptor, which `drain` wakes when it begins.
    pub(crate) fn new(
        mut listeners: Vec<Listener>,
        seats: Vec<Seat>,
        core: Arc<Core>,
        drain: Arc<Drain>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (place, listener) in listeners.iter_mut().enumerate() {
            poll.registry()
                .register(&mut listener.socket, Token(place), Interest::READABLE)?;
        }
        drain.wakes(Waker::new(poll.registry(), Token(listeners.len()))?);
        Ok(Self {
            poll,
            listeners,
            seats,
            core,
            drain,
        })
    }

    /// Accepts until the gateway's drain has it end, and takes with it what the kernel has completed
    /// by then.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        // Readiness is told once, so a listener stays in here until it has nothing more to accept.
        let mut ready: Vec<usize> = Vec::new();
        loop {
            let left = self.drain.accepts_for();
            if left.is_zero() {
                break;
            }
            let patience = match ready.is_empty() {
                true if left == Duration::MAX => None,
                true => Some(left),
                false => Some(left.min(PAUSE)),
            };
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
            ready.retain(|&place| self.accept_some(place) == Left::Some);
        }
        for place in 0..self.listeners.len() {
            (0..BACKLOG).find_map(|_| self.accept_one(place));
        }
    }

    /// Accepts what waits at one listener.
    fn accept_some(&mut self, place: usize) -> Left {
        while !self.drain.accepts_for().is_zero() {
            if let Some(left) = self.accept_one(place) {
                return left;
            }
        }
        Left::None
    }

    /// Accepts one; where there is none to be accepted, whether one may still wait.
    fn accept_one(&mut self, place: usize) -> Option<Left> {
        let listener = &mut self.listeners[place];
        match listener.socket.accept() {
            Ok((stream, peer)) => self.admit(place, stream.into(), peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                listener.goes_on();
                return Some(Left::None);
            }
            Err(error) if is_shortage(&error) => {
                listener.pause(&error);
                return Some(Left::Some);
            }
            // The client was gone before it was accepted.
            Err(error) => {
                tracing::debug!(listener = &*listener.plan.name, %error, "not accepted");
            }
        }
        None
    }

    /// Finds a worker for a connection, be it only to be told that it cannot be served. Where even
    /// that would be too much, it is told at once and not heard.
    fn admit(&self, place: usize, stream: TcpStream, peer: SocketAddr) {
        let listener = &self.listeners[place];
        let caps = self.core.caps();
        if is_reserved(stream.as_raw_fd()) {
            caps.note_refusal();
            let short = UpstreamError::Shortage(io::Error::from_raw_os_error(EMFILE));
            return refuse_unheard(stream, &short.into());
        }
        let mut offered = Offered {
            stream,
            peer,
            listener: &listener.plan,
            admitted: caps.admit_connection(listener.gauge.as_ref(), peer.ip()),
        };
        if offered.admitted.is_err() {
            caps.note_refusal();
        }
        loop {
            match self.hand_over(offered) {
                Ok(()) => return,
                Err(back) => offered = back,
            }
            if let Err(overload) = offered.admitted {
                return refuse_unheard(offered.stream, &overload.into());
            }
            if self.drain.accepts_for().is_zero() {
                return;
            }
            // Every worker has a thousand that it has not looked at yet.
            thread::sleep(HANDOVER_PAUSE);
        }
    }

    /// Gives a connection to the worker with the least to do of those that take one.
    fn hand_over<'l>(&self, mut offered: Offered<'l>) -> Result<(), Offered<'l>> {
        let mut seats: Vec<_> = self.seats.iter().collect();
        seats.sort_by_key(|seat| seat.worker.load());
        for seat in seats {
            let admission = match offered.admitted {
                Ok(permits) => Admission::In(permits),
                Err(overload) => match seat.refusals.take() {
                    Some(taken) => Admission::Refused(overload, taken),
                    None => continue,
                },
            };
            let sent = seat.accepted.try_send(Accepted {
                stream: offered.stream,
                peer: offered.peer,
                listener: Arc::clone(offered.listener),
                admission,
                present: Present::new(&seat.worker),
            });
            let (TrySendError::Full(back) | TrySendError::Closed(back)) = match sent {
                Ok(()) => return Ok(()),
                Err(refused) => refused,
            };
            offered.stream = back.stream;
            offered.admitted = match back.admission {
                Admission::In(permits) => Ok(permits),
                Admission::Refused(overload, _taken) => Err(overload),
            };
        }
        Err(offered)
    }
}

impl Drop for Acceptor {
    /// However it ends: nothing is accepted any more.
    fn drop(&mut self) {
        self.listeners.clear();
        let sessions = self.seats.iter().map(|seat| seat.worker.sessions.len());
        self.drain.close(sessions.sum());
    }
}

impl Listener {
    /// Logs once that it pauses, however often that is tried.
    fn pause(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.pauses, true) {
            tracing::warn!(listener = &*self.plan.name, %error, "accepting pauses");
        }
    }

    /// Nobody waits any more: if it paused, that is over. One that got in between is not the end of it.
    fn goes_on(&mut self) {
        if std::mem::take(&mut self.pauses) {
            tracing::info!(listener = &*self.plan.name, "accepting goes on");
        }
    }
}

/// A connection that nobody has taken yet.
struct Offered<'l> {
    stream: TcpStream,
    peer: SocketAddr,
    listener: &'l Arc<ListenerPlan>,
    admitted: Result<Permits, Overload>,
}

/// Answers a connection without waiting for its request, and ends it. A fresh socket has room for so
/// little; where the request has come meanwhile, it is taken, lest the answer be lost to a reset.
fn refuse_unheard(mut stream: TcpStream, error: &GatewayError) {
    if stream.set_nonblocking(true).is_ok() {
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write(&connection::refusal(&error.answer(None)));
        let _ = stream.shutdown(Shutdown::Write);
    }
}

/// Whether connections still wait at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    None,
    Some,
}
