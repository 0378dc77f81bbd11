//! The bound sockets and the one acceptor: it hands each accepted socket to the worker with the
//! least to do, where the connection stays for good.

mod bound;

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use nix::libc::EMFILE;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use self::bound::Bound;
use crate::access_log::AccessLog;
use crate::config::plan::{Bind, ListenerPlan};
use crate::connection;
use crate::drain::Drain;
use crate::error::{GatewayError, UpstreamError, is_shortage};
use crate::limits::descriptors::is_reserved;
use crate::limits::{Gauge, Overload, Permits, Taken};
use crate::proxy_protocol::Unnamed;
use crate::worker::{Core, Present, Worker};

/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 4096;
/// How long accepting pauses when the system has no descriptor or memory left.
const PAUSE: Duration = Duration::from_millis(100);
/// Connections that one listener may have accepted before the next one has its turn.
const TURN: usize = 64;
/// What is read of a connection that is refused unheard, at most, in steps of so many bytes.
const UNHEARD: usize = 16;
const STEP: usize = 4096;
/// How long it pauses when no worker takes a connection.
const HANDOVER_PAUSE: Duration = Duration::from_millis(5);

/// An accepted socket on its way to a worker.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: Arc<ListenerPlan>,
    pub(crate) admission: Admission,
    /// Whom it is from is told by its PROXY header.
    pub(crate) unnamed: Option<Unnamed>,
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
    pub(crate) bound: Bind,
    socket: Bound,
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
    let socket = Bound::bind(&plan.bind)?;
    let bound = socket.place(&plan.bind)?;
    Ok(Listener {
        plan: Arc::new(plan.clone()),
        bound,
        socket,
        gauge: Gauge::up_to(plan.limits.max_connections),
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
    /// Where it is written who was refused unheard.
    pub(crate) access_log: Option<AccessLog>,
    /// Accepted, while no worker takes it.
    waiting: Option<Offered>,
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
            listener.socket.register(poll.registry(), Token(place))?;
        }
        drain.wakes(Waker::new(poll.registry(), Token(listeners.len()))?);
        Ok(Self {
            poll,
            listeners,
            seats,
            core,
            drain,
            access_log: None,
            waiting: None,
        })
    }

    /// Accepts until the gateway's drain has it end, and takes with it what the kernel has completed
    /// by then.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        // Readiness is told once, so a listener stays in here until it has nothing more to accept.
        let mut ready: Vec<usize> = Vec::new();
        let mut patience = None;
        loop {
            let left = self.drain.accepts_for();
            if left.is_zero() {
                break;
            }
            if left < Duration::MAX {
                patience = Some(patience.map_or(left, |patience: Duration| patience.min(left)));
            }
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
            patience = self.take_turns(&mut ready);
        }
        self.accept_the_rest();
    }

    /// Accepts what the kernel has completed already: closing a listener would reset it. Workers that
    /// take nothing for a second are not waited for.
    fn accept_the_rest(&mut self) {
        let mut pauses = 200;
        for listener in &mut self.listeners {
            listener.socket.hide();
        }
        for place in 0..self.listeners.len() {
            for _ in 0..BACKLOG {
                while let Some(waiting) = self.waiting.take() {
                    let Err(back) = self.hand_over(waiting) else {
                        break;
                    };
                    if pauses == 0 {
                        return;
                    }
                    pauses -= 1;
                    self.waiting = Some(back);
                    thread::sleep(HANDOVER_PAUSE);
                }
                if let Some(Left::None | Left::Short) = self.accept_one(place) {
                    break;
                }
            }
        }
    }

    /// Lets each ready listener accept some; how long to wait for events then.
    fn take_turns(&mut self, ready: &mut Vec<usize>) -> Option<Duration> {
        let mut patience = None;
        let mut wait = |most: Duration| {
            patience = Some(patience.map_or(most, |least: Duration| least.min(most)));
        };
        // Every worker has a thousand that it has not looked at yet: nobody else is accepted.
        if let Some(waiting) = self.waiting.take()
            && let Err(back) = self.hand_over(waiting)
        {
            self.waiting = Some(back);
        }
        ready.retain(|&place| {
            if self.waiting.is_some() {
                return true;
            }
            let left = self.accept_some(place);
            match left {
                Left::None => {}
                Left::Some => wait(Duration::ZERO),
                Left::Short => wait(PAUSE),
            }
            left != Left::None
        });
        if self.waiting.is_some() {
            patience = Some(HANDOVER_PAUSE);
        }
        patience
    }

    /// Accepts what waits at one listener, as many as one turn allows.
    fn accept_some(&mut self, place: usize) -> Left {
        for _ in 0..TURN {
            if self.drain.accepts_for().is_zero() {
                return Left::None;
            }
            if let Some(left) = self.accept_one(place) {
                return left;
            }
        }
        Left::Some
    }

    /// Accepts one; where there is none to be accepted, whether one may still wait.
    fn accept_one(&mut self, place: usize) -> Option<Left> {
        let listener = &mut self.listeners[place];
        match listener.socket.accept() {
            Ok((stream, peer)) => {
                self.waiting = self.admit(place, stream, peer);
                self.waiting.is_some().then_some(Left::Some)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                listener.goes_on();
                Some(Left::None)
            }
            Err(error) if is_shortage(&error) && !self.core.make_room() => {
                listener.pause(&error);
                Some(Left::Short)
            }
            // The client was gone before it was accepted, or there is room for it now.
            Err(error) => {
                tracing::debug!(listener = &*listener.plan.name, %error, "not accepted");
                None
            }
        }
    }

    /// Finds a worker for a connection, be it only to be told that it cannot be served. Where even
    /// that would be too much, it is told at once and not heard. It comes back where it may be served
    /// and no worker takes it yet.
    fn admit(&self, place: usize, stream: TcpStream, peer: SocketAddr) -> Option<Offered> {
        let listener = &self.listeners[place];
        let caps = self.core.caps();
        if is_reserved(stream.as_raw_fd()) && !self.core.make_room() {
            let short = UpstreamError::Shortage(io::Error::from_raw_os_error(EMFILE));
            caps.note_refusal(short.label());
            self.refuse_unheard(listener, stream, peer, &short.into());
            return None;
        }
        let plan = &listener.plan;
        let balancers = plan.proxy_protocol.as_ref();
        let is_unnamed = balancers.is_some_and(|balancers| balancers.trusts(peer));
        let gauge = listener.gauge.as_ref();
        let offered = Offered {
            stream,
            peer,
            listener: Arc::clone(plan),
            admitted: if is_unnamed {
                caps.admit_unnamed(gauge)
            } else {
                caps.admit_connection(gauge, peer.ip())
            },
            unnamed: is_unnamed.then(|| gauge.cloned()),
        };
        if let Err(overload) = &offered.admitted {
            caps.note_refusal(overload.status_and_label().1);
        }
        let back = self.hand_over(offered).err()?;
        if let Err(overload) = back.admitted {
            self.refuse_unheard(listener, back.stream, back.peer, &overload.into());
            return None;
        }
        Some(back)
    }

    fn refuse_unheard(
        &self,
        listener: &Listener,
        stream: TcpStream,
        peer: SocketAddr,
        error: &GatewayError,
    ) {
        if let Some(log) = &self.access_log {
            log.refused(None, peer.ip(), error.status().as_u16(), error.label());
        }
        refuse_unheard(stream, error, listener.plan.tls.is_some());
    }

    /// Gives a connection to the worker with the least to do of those that take one.
    fn hand_over(&self, mut offered: Offered) -> Result<(), Offered> {
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
                listener: Arc::clone(&offered.listener),
                admission,
                unnamed: offered.unnamed.clone().map(|gauge| Unnamed {
                    gauge,
                    refusals: Arc::clone(&seat.refusals),
                }),
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
#[derive(Debug)]
struct Offered {
    stream: TcpStream,
    peer: SocketAddr,
    listener: Arc<ListenerPlan>,
    admitted: Result<Permits, Overload>,
    /// Whom it is from is told by a PROXY header; then its listener's connections, where they are capped.
    unnamed: Option<Option<Arc<Gauge>>>,
}

/// Answers a connection without waiting for its request, and ends it. A fresh socket has room for so
/// little. What has come meanwhile is taken, before and after, lest the answer be lost to a reset.
/// To one who expects TLS nothing can be said.
pub(crate) fn refuse_unheard(mut stream: TcpStream, error: &GatewayError, is_tls: bool) {
    if !is_tls && stream.set_nonblocking(true).is_ok() {
        drain(&mut stream);
        let _ = stream.write(&connection::refusal(&error.answer(None)));
        let _ = stream.shutdown(Shutdown::Write);
        drain(&mut stream);
    }
}

/// Takes what is at hand.
fn drain(stream: &mut TcpStream) {
    let mut step = [0; STEP];
    for _ in 0..UNHEARD {
        if !matches!(stream.read(&mut step), Ok(STEP)) {
            return;
        }
    }
}

/// Whether connections still wait at a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    None,
    Some,
    /// They do, and there is no descriptor for them.
    Short,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_refused_unheard_can_read_why() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(&[b'x'; 5 * STEP]).unwrap();
        let (stream, _peer) = listener.accept().unwrap();
        refuse_unheard(stream, &Overload::GatewayFull.into(), false);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(answer.contains("gateway_full"), "{answer}");
    }
}
