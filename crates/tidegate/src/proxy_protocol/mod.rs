//! Whom a connection is from, where a balancer made it for somebody else: HAProxy's PROXY protocol. Its
//! header stands before everything, TLS too, and is taken from the socket to its last byte and no
//! further, so that whoever reads next finds nothing of it.

mod crc32c;
pub(crate) mod parse;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use nix::sys::socket::{MsgFlags, recv};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use self::parse::{HeaderError, LONGEST, Parsed, Source, parse};
use crate::config::plan::{ListenerPlan, ProxyProtocolPlan};
use crate::connection::FIRST_WORDS;
use crate::limits::{Gauge, Permits};
use crate::listener::{Admission, refuse_unheard};
use crate::worker::Worker;

/// As long as nearly all headers are.
const USUAL: usize = 536;

/// What it takes to admit a connection once it is known whom it is from.
#[derive(Debug)]
pub(crate) struct Unnamed {
    /// Its listener's connections, where they are capped.
    pub(crate) gauge: Option<Arc<Gauge>>,
    /// How many refused connections its worker tells so at a time.
    pub(crate) refusals: Arc<Gauge>,
}

/// Why it is not known whom a connection is from.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotNamed {
    #[error("there is no PROXY header")]
    Absent,
    #[error("the connection failed: {0}")]
    Failed(#[from] io::Error),
    #[error("the connection ended before its PROXY header did")]
    Over,
    #[error("the PROXY header is wrong: {0}")]
    Refused(#[from] HeaderError),
    #[error("the PROXY header did not come in time")]
    Slow,
}

impl NotNamed {
    /// Whether the peer did something wrong, besides being gone.
    pub(crate) const fn is_wrong(&self) -> bool {
        matches!(self, Self::Absent | Self::Refused(_) | Self::Slow)
    }
}

impl Unnamed {
    /// Reads for whom `peer` speaks. From then on that is the peer, and the connection counts for it;
    /// `None`: the connection is over.
    pub(crate) async fn name(
        self,
        stream: TcpStream,
        peer: SocketAddr,
        permits: Permits,
        listener: &ListenerPlan,
        worker: &Worker,
    ) -> Option<(TcpStream, SocketAddr, Admission)> {
        let plan = listener.proxy_protocol.as_ref()?;
        let caps = worker.caps();
        let read = tokio::select! {
            biased;
            read = timeout(listener.limits.head_timeout, read(&stream, plan)) => read,
            // As with a first request that does not come.
            () = closed_for_a_moment(worker) => return None,
        };
        let source = match read.unwrap_or(Err(NotNamed::Slow)) {
            Ok(source) => source,
            Err(error) => {
                if error.is_wrong() {
                    caps.note_nameless();
                }
                tracing::debug!(listener = &*listener.name, %peer, %error, "not served");
                return None;
            }
        };
        let client = match source {
            Source::Client(client) => client,
            Source::Local | Source::Unknown => peer,
        };
        // A balancer that looks whether we live counts for nobody, lest its clients crowd it out.
        if source == Source::Local {
            return Some((stream, client, Admission::In(permits)));
        }
        let overload = match caps.admit_client(permits, self.gauge.as_ref(), client.ip()) {
            Ok(permits) => return Some((stream, client, Admission::In(permits))),
            Err(overload) => overload,
        };
        caps.note_refusal(overload.status_and_label().1);
        if let Some(taken) = self.refusals.take() {
            return Some((stream, client, Admission::Refused(overload, taken)));
        }
        if let Ok(stream) = stream.into_std() {
            refuse_unheard(stream, &overload.into(), listener.tls.is_some());
        }
        None
    }
}

async fn closed_for_a_moment(worker: &Worker) {
    worker.drain.closed().await;
    sleep(FIRST_WORDS).await;
}

/// Takes the header.
async fn read(stream: &TcpStream, plan: &ProxyProtocolPlan) -> Result<Source, NotNamed> {
    let mut room = vec![0; USUAL];
    loop {
        let ready = stream.ready(Interest::READABLE).await?;
        let looked = stream.try_io(Interest::READABLE, || look(stream, &mut room));
        let size = match looked {
            Ok(verdict) => match verdict? {
                Parsed::Header(source, size) => {
                    take(stream, room.get_mut(..size).unwrap_or_default())?;
                    return Ok(source);
                }
                Parsed::NoHeader if plan.is_optional => return Ok(Source::Unknown),
                Parsed::NoHeader => return Err(NotNamed::Absent),
                Parsed::NeedMore => LONGEST,
            },
            // What is there is too little; the next look is at more.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if ready.is_read_closed() {
                    return Err(NotNamed::Over);
                }
                continue;
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(NotNamed::Over);
            }
            Err(error) => return Err(error.into()),
        };
        room.resize(size, 0);
    }
}

/// Looks at what has come, and leaves it there. `NeedMore`: there may be more than `room` has.
fn look(stream: &TcpStream, room: &mut [u8]) -> io::Result<Result<Parsed, HeaderError>> {
    let size = recv(stream.as_raw_fd(), room, MsgFlags::MSG_PEEK)?;
    let verdict = parse(room.get(..size).unwrap_or_default());
    match verdict {
        Ok(Parsed::NeedMore) if size == 0 => Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(Parsed::NeedMore) if size < room.len() => Err(io::ErrorKind::WouldBlock.into()),
        verdict => Ok(verdict),
    }
}

/// Takes what was looked at.
fn take(stream: &TcpStream, mut header: &mut [u8]) -> io::Result<()> {
    while !header.is_empty() {
        let size = stream.try_read(header)?;
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        header = header.get_mut(size..).unwrap_or_default();
    }
    Ok(())
}
