//! A network in memory: streams that end, reset and push back as TCP's do, and upstreams that are
//! dialled there.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

thread_local! {
    static ACTIVITY: Cell<u64> = const { Cell::new(0) };
    static NETWORK: RefCell<Network> = RefCell::default();
}

/// Moves whenever the gateway touches a stream; while it stands still nothing goes on.
#[must_use]
pub fn activity() -> u64 {
    ACTIVITY.get()
}

fn touch() {
    ACTIVITY.set(ACTIVITY.get() + 1);
}

/// One direction of a stream.
#[derive(Debug, Default)]
struct Flow {
    bytes: VecDeque<u8>,
    /// How many bytes may wait in it.
    room: usize,
    /// How many bytes its reader has taken.
    taken: usize,
    ended: bool,
    reset: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Flow {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

type Shared = Arc<Mutex<Flow>>;

fn with<T>(flow: &Shared, work: impl FnOnce(&mut Flow) -> T) -> T {
    work(&mut flow.lock().unwrap())
}

/// The gateway's end of a stream.
#[derive(Debug)]
pub(crate) struct Stream {
    incoming: Shared,
    outgoing: Shared,
    abort: AtomicBool,
}

/// The other end, which a script plays.
#[derive(Debug)]
pub struct Peer {
    to_gateway: Shared,
    from_gateway: Shared,
}

/// How the gateway left a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// It has not.
    Open,
    /// With a clean end.
    Ended,
    /// With a reset.
    Reset,
}

/// A stream on which `room` bytes may wait for the peer.
pub(crate) fn pair(room: usize) -> (Stream, Peer) {
    let flow = |room| {
        let flow = Flow {
            room,
            ..Flow::default()
        };
        Arc::new(Mutex::new(flow))
    };
    let (incoming, outgoing) = (flow(usize::MAX), flow(room.max(1)));
    let peer = Peer {
        to_gateway: Arc::clone(&incoming),
        from_gateway: Arc::clone(&outgoing),
    };
    let stream = Stream {
        incoming,
        outgoing,
        abort: AtomicBool::new(false),
    };
    (stream, peer)
}

impl Stream {
    pub(crate) fn poll_read(
        &self,
        into: &mut tokio::io::ReadBuf<'_>,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        touch();
        with(&self.incoming, |flow| {
            let size = into.remaining().min(flow.bytes.len());
            if size > 0 {
                let bytes: Vec<u8> = flow.bytes.drain(..size).collect();
                into.put_slice(&bytes);
                flow.taken += size;
                Poll::Ready(Ok(()))
            } else if flow.reset {
                Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
            } else if flow.ended {
                Poll::Ready(Ok(()))
            } else {
                flow.reader = Some(cx.waker().clone());
                Poll::Pending
            }
        })
    }

    pub(crate) fn poll_write(&self, bytes: &[u8], cx: &Context<'_>) -> Poll<io::Result<usize>> {
        touch();
        with(&self.outgoing, |flow| {
            if flow.reset || flow.ended {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            let size = flow.room.saturating_sub(flow.bytes.len()).min(bytes.len());
            if size == 0 && !bytes.is_empty() {
                flow.writer = Some(cx.waker().clone());
                return Poll::Pending;
            }
            flow.bytes.extend(&bytes[..size]);
            Poll::Ready(Ok(size))
        })
    }

    pub(crate) fn shutdown(&self) {
        touch();
        with(&self.outgoing, |flow| flow.ended = true);
    }

    pub(crate) fn has_ended(&self) -> bool {
        with(&self.incoming, |flow| flow.ended || flow.reset)
    }

    pub(crate) fn was_reset(&self) -> bool {
        with(&self.incoming, |flow| flow.reset)
    }

    /// How many bytes the peer has taken, and whether that is all.
    pub(crate) fn delivery(&self) -> (u64, bool) {
        with(&self.outgoing, |flow| {
            (flow.taken as u64, flow.bytes.is_empty())
        })
    }

    pub(crate) fn set_abort(&self, abort: bool) {
        self.abort.store(abort, Ordering::Relaxed);
    }
}

/// As the kernel does it: a reset where it was asked for or where something was left unread.
impl Drop for Stream {
    fn drop(&mut self) {
        touch();
        let unread = with(&self.incoming, |flow| {
            flow.reset = true;
            !flow.bytes.is_empty()
        });
        with(&self.outgoing, |flow| {
            flow.reset |= unread || self.abort.load(Ordering::Relaxed);
            flow.ended = true;
        });
    }
}

impl Peer {
    /// Sends; what the gateway does not take waits.
    pub fn send(&self, bytes: &[u8]) {
        with(&self.to_gateway, |flow| {
            if !flow.ended && !flow.reset {
                flow.bytes.extend(bytes);
            }
            flow.wake();
        });
    }

    /// Takes what has come.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
        with(&self.from_gateway, |flow| {
            flow.wake();
            flow.taken += flow.bytes.len();
            flow.bytes.drain(..).collect()
        })
    }

    /// Ends its own side.
    pub fn end(&self) {
        with(&self.to_gateway, |flow| {
            flow.ended = true;
            flow.wake();
        });
    }

    /// Resets the stream: what it sent before may still be read, nothing can be written.
    pub fn reset(&self) {
        for flow in [&self.to_gateway, &self.from_gateway] {
            with(flow, |flow| {
                flow.reset = true;
                flow.wake();
            });
        }
    }

    /// Whether it has ended or reset its side, or was left.
    #[must_use]
    pub fn is_over(&self) -> bool {
        with(&self.to_gateway, |flow| flow.ended || flow.reset)
    }

    /// How the gateway left the stream; a clean end shows behind the last byte.
    #[must_use]
    pub fn left(&self) -> Left {
        with(&self.from_gateway, |flow| {
            if flow.reset {
                Left::Reset
            } else if flow.ended && flow.bytes.is_empty() {
                Left::Ended
            } else {
                Left::Open
            }
        })
    }

    /// Whether the gateway has ended or reset the stream, whatever still waits in it.
    #[must_use]
    pub fn is_left(&self) -> bool {
        with(&self.from_gateway, |flow| flow.ended || flow.reset)
    }

    /// How many bytes the gateway has read off it, and how many it has written to it.
    #[must_use]
    pub fn moved(&self) -> (usize, usize) {
        (
            with(&self.to_gateway, |flow| flow.taken),
            with(&self.from_gateway, |flow| flow.taken + flow.bytes.len()),
        )
    }
}

/// What a dialled upstream does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dial {
    /// It accepts.
    #[default]
    Accept,
    /// It refuses.
    Refuse,
    /// It keeps silent.
    Hang,
}

/// The upstreams of this thread.
#[derive(Debug, Default)]
struct Network {
    verdict: Dial,
    room: usize,
    dialled: Vec<Peer>,
}

/// Begins anew: no upstream was dialled, each accepts and lets `room` bytes wait.
pub fn reset_network(room: usize) {
    NETWORK.set(Network {
        room,
        ..Network::default()
    });
}

/// Sets what upstreams that are dialled from now on do.
pub fn set_dial(verdict: Dial) {
    NETWORK.with_borrow_mut(|network| network.verdict = verdict);
}

/// Takes the upstreams that were dialled since this was asked last.
#[must_use]
pub fn dialled() -> Vec<Peer> {
    NETWORK.with_borrow_mut(|network| std::mem::take(&mut network.dialled))
}

pub(crate) async fn connect() -> io::Result<Stream> {
    touch();
    let connected = NETWORK.with_borrow_mut(|network| match network.verdict {
        Dial::Accept => {
            let (stream, peer) = pair(network.room);
            network.dialled.push(peer);
            Some(Ok(stream))
        }
        Dial::Refuse => Some(Err(io::ErrorKind::ConnectionRefused.into())),
        Dial::Hang => None,
    });
    match connected {
        Some(connected) => connected,
        None => std::future::pending().await,
    }
}
