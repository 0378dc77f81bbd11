//! A link that can be cut, held and mended, between whoever connects to it and a port of this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::sieve::Sieve;

/// How the link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Whole,
    /// Connections stay, and nothing passes.
    Held,
    /// New connections are reset.
    Cut,
}

/// How the link is, and how often it has been cut: nobody survives a cut that is mended at once.
#[derive(Debug, Clone, Copy)]
struct Now {
    state: State,
    cuts: usize,
    /// Kafka's requests of these kinds are lost on connections with a lower number.
    lost: (&'static [i16], usize),
}

/// The link. It works from a thread of its own, whatever the case that uses it is waiting for, and ends
/// with this value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    now: watch::Sender<Now>,
    open: Arc<AtomicUsize>,
    /// How many connections there have been.
    taken: Arc<AtomicUsize>,
}

impl Proxy {
    /// A link to `target`, whether anybody listens there yet or not.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to(target: SocketAddr) -> Self {
        Self::start(target, false)
    }

    /// The same where Kafka's protocol is spoken in the clear, requests of which may be lost.
    ///
    /// # Panics
    /// When it cannot listen.
    #[must_use]
    pub fn to_kafka(target: SocketAddr) -> Self {
        Self::start(target, true)
    }

    fn start(target: SocketAddr, is_kafka: bool) -> Self {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let state = State::Whole;
        let (now, changes) = watch::channel(Now {
            state,
            cuts: 0,
            lost: (&[], 0),
        });
        let (open, taken) = (Arc::<AtomicUsize>::default(), Arc::default());
        let counted = (Arc::clone(&open), Arc::clone(&taken));
        std::thread::spawn(move || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            let runtime = builder.enable_all().build().unwrap();
            runtime.block_on(serve(listener, (target, is_kafka), changes, counted));
        });
        Self {
            address,
            now,
            open,
            taken,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port where it listens.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.address.port()
    }

    /// How many connections lead through it.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Acquire)
    }

    /// Resets what leads through it, and whatever comes until it is mended.
    pub fn cut(&self) {
        self.now.send_modify(|now| {
            now.state = State::Cut;
            now.cuts += 1;
        });
    }

    /// Lets nothing pass, in neither direction, and ends nothing, as a lost route does. Connections
    /// that come meanwhile are taken and hear nothing.
    pub fn hold(&self) {
        self.now.send_modify(|now| now.state = State::Held);
    }

    /// Loses Kafka's requests of these kinds (see [`to_kafka`](Self::to_kafka)) until it is mended: the client
    /// waits in vain.
    pub fn lose(&self, kinds: &'static [i16]) {
        self.now.send_modify(|now| now.lost = (kinds, usize::MAX));
    }

    /// The same of those connections alone that are there now.
    pub fn lose_of_open(&self, kinds: &'static [i16]) {
        let taken = self.taken.load(Ordering::Acquire);
        self.now.send_modify(|now| now.lost = (kinds, taken));
    }

    /// All is well again; what was held goes on.
    pub fn mend(&self) {
        self.now.send_modify(|now| {
            now.state = State::Whole;
            now.lost = (&[], 0);
        });
    }
}

async fn serve(
    listener: std::net::TcpListener,
    target: (SocketAddr, bool),
    mut changes: watch::Receiver<Now>,
    (open, taken): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            // Its sender is the proxy itself.
            changed = changes.changed() => if changed.is_err() { return },
            accepted = listener.accept() => if let Ok((near, _)) = accepted {
                let number = taken.fetch_add(1, Ordering::AcqRel);
                let passage = Passage::new(changes.clone(), number);
                tokio::spawn(join(near, target, passage, Counted::new(&open)));
            }
        }
    }
}

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(open: &Arc<AtomicUsize>) -> Self {
        open.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(open))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Both directions of one connection, until both have ended or the link is cut.
async fn join(
    mut near: TcpStream,
    (target, is_kafka): (SocketAddr, bool),
    mut passage: Passage,
    _counted: Counted,
) {
    let is_open = passage.is_open().await;
    let (Ok(()), Ok(mut far)) = (is_open, TcpStream::connect(target).await) else {
        near.set_zero_linger().ok();
        return;
    };
    for socket in [&near, &far] {
        socket.set_nodelay(true).ok();
    }
    let ((near_reads, near_writes), (far_reads, far_writes)) = (near.split(), far.split());
    let sieve = is_kafka.then(Sieve::default);
    let there = pump(near_reads, far_writes, passage.clone(), sieve);
    let back = pump(far_reads, near_writes, passage.clone(), None);
    let ended = tokio::select! {
        () = passage.is_cut() => Err(Broken),
        ended = async { tokio::try_join!(there, back) } => ended.map(drop),
    };
    if ended.is_err() {
        near.set_zero_linger().ok();
        far.set_zero_linger().ok();
    }
}

/// A connection that does not end as it should.
struct Broken;

/// What a connection knows of the link: how it is, and the cuts that were before its time.
#[derive(Clone)]
struct Passage {
    changes: watch::Receiver<Now>,
    cuts: usize,
    number: usize,
}

impl Passage {
    fn new(changes: watch::Receiver<Now>, number: usize) -> Self {
        let cuts = changes.borrow().cuts;
        Self {
            changes,
            cuts,
            number,
        }
    }

    /// The kinds of requests that are lost here.
    fn lost(&self) -> &'static [i16] {
        let (kinds, before) = self.changes.borrow().lost;
        if self.number < before { kinds } else { &[] }
    }

    /// Waits until bytes may pass, unless it is cut or there is no proxy any more.
    async fn is_open(&mut self) -> Result<(), Broken> {
        let cuts = self.cuts;
        let either = |now: &Now| now.state != State::Held || now.cuts != cuts;
        match self.changes.wait_for(either).await {
            Ok(now) if now.state == State::Whole && now.cuts == cuts => Ok(()),
            _ => Err(Broken),
        }
    }

    async fn is_cut(&mut self) {
        let cuts = self.cuts;
        self.changes.wait_for(|now| now.cuts != cuts).await.ok();
    }
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut passage: Passage,
    mut sieve: Option<Sieve>,
) -> Result<(), Broken> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await.map_err(|_| Broken)?;
        passage.is_open().await?;
        if count == 0 {
            return to.shutdown().await.map_err(|_| Broken);
        }
        let bytes = &buffer[..count];
        let written = match &mut sieve {
            Some(sieve) => to.write_all(&sieve.pass(bytes, passage.lost())).await,
            None => to.write_all(bytes).await,
        };
        written.map_err(|_| Broken)?;
    }
}
