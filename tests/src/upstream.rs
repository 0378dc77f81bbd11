//! Upstreams that do as a case tells them, and remember what they were asked.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::frame::{CLOSE, Frame, PING, PONG};
use crate::head::Head;
use crate::link::Link;
use crate::time::{eventually, within};
use crate::tls::{self, Loopback, is_over_tls, is_spoken_at};
use crate::wire::{Wire, switching};

/// A listener on the loopback.
///
/// [`ScriptedUpstream::bind`] gives the accepted connections to the case, one by one;
/// [`ScriptedUpstream::serve`] hands each to a script. A script that panics fails the case.
#[derive(Debug)]
pub struct ScriptedUpstream {
    address: SocketAddr,
    seen: Arc<Seen>,
    accepted: mpsc::UnboundedReceiver<Wire>,
    acceptor: tokio::task::JoinHandle<()>,
    /// Bound to the same address, never listening: an upstream that refuses keeps its port, which
    /// would otherwise go to the next case that asks for one.
    _reservation: Socket,
}

#[derive(Debug, Default)]
struct Seen {
    connections: AtomicUsize,
    /// Scripts that have not ended.
    running: AtomicUsize,
    heads: Arc<Mutex<Vec<Head>>>,
    failures: Mutex<Vec<String>>,
}

impl ScriptedUpstream {
    /// Listens on 127.0.0.1; the case takes connections with [`Self::accept`].
    pub async fn bind() -> Self {
        Self::bind_to((Ipv4Addr::LOCALHOST, 0).into()).await
    }

    /// Listens on `address`; the case takes connections with [`Self::accept`].
    pub async fn bind_to(address: SocketAddr) -> Self {
        let (give, accepted) = mpsc::unbounded_channel();
        Self::listen(address, accepted, move |wire| {
            give.send(wire).ok();
        })
        .await
    }

    /// Listens on 127.0.0.1; every connection runs `script`.
    pub async fn serve<S, F>(script: S) -> Self
    where
        S: Fn(Wire) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::serve_on((Ipv4Addr::LOCALHOST, 0).into(), script).await
    }

    /// Listens on `address`; every connection runs `script`.
    pub async fn serve_on<S, F>(address: SocketAddr, script: S) -> Self
    where
        S: Fn(Wire) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let (_nobody, accepted) = mpsc::unbounded_channel();
        let seen = Arc::new(Seen::default());
        let kept = Arc::clone(&seen);
        let run = move |wire| {
            let seen = Arc::clone(&kept);
            seen.running.fetch_add(1, Ordering::SeqCst);
            let task = tokio::spawn(AssertUnwindSafe(script(wire)).0);
            tokio::spawn(async move {
                if let Err(failure) = task.await
                    && failure.is_panic()
                {
                    let words = failure.into_panic();
                    let words = words.downcast_ref::<String>().cloned();
                    let words = words.unwrap_or_else(|| "a script panicked".to_owned());
                    seen.failures.lock().unwrap().push(words);
                }
                seen.running.fetch_sub(1, Ordering::SeqCst);
            });
        };
        Self::listen_with(address, accepted, seen, run).await
    }

    /// An upstream whose answer to any request is the head that it saw: status 200, `X-Mirror`,
    /// and the head's bytes as the body. Handshakes it accepts, and echoes their messages.
    pub async fn mirror() -> Self {
        Self::serve(mirror).await
    }

    /// As [`Self::mirror`], on `address`.
    pub async fn mirror_on(address: SocketAddr) -> Self {
        Self::serve_on(address, mirror).await
    }

    /// An upstream whose answer to any request is `bytes`, framing and all.
    pub async fn answering(bytes: impl AsRef<[u8]>) -> Self {
        let bytes: Arc<[u8]> = bytes.as_ref().into();
        Self::serve(move |mut wire| {
            let bytes = Arc::clone(&bytes);
            async move {
                while let Ok(head) = wire.read_head_or_end().await {
                    if wire.read_body(&head).await.is_err() || wire.try_send(&bytes).await.is_err()
                    {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Listens on 127.0.0.1 with TLS; the case takes connections with [`Self::accept`].
    pub async fn bind_tls(config: Arc<ServerConfig>) -> Self {
        let (give, accepted) = mpsc::unbounded_channel();
        let take = move |wire| {
            give.send(wire).ok();
        };
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        Self::listen_over(address, Some(config), accepted, Arc::default(), take).await
    }

    /// As [`Self::mirror`], with TLS.
    pub async fn mirror_tls(config: Arc<ServerConfig>) -> Self {
        let (_nobody, accepted) = mpsc::unbounded_channel();
        let address = (Ipv4Addr::LOCALHOST, 0).into();
        let run = |wire| {
            tokio::spawn(mirror(wire));
        };
        Self::listen_over(address, Some(config), accepted, Arc::default(), run).await
    }

    /// An address of the IPv6 loopback.
    #[must_use]
    pub fn ipv6() -> SocketAddr {
        (Ipv6Addr::LOCALHOST, 0).into()
    }

    async fn listen(
        address: SocketAddr,
        accepted: mpsc::UnboundedReceiver<Wire>,
        take: impl Fn(Wire) + Send + Sync + 'static,
    ) -> Self {
        Self::listen_with(address, accepted, Arc::default(), take).await
    }

    async fn listen_with(
        address: SocketAddr,
        accepted: mpsc::UnboundedReceiver<Wire>,
        seen: Arc<Seen>,
        take: impl Fn(Wire) + Send + Sync + 'static,
    ) -> Self {
        let tls = is_over_tls().then(|| Loopback::now().server());
        Self::listen_over(address, tls, accepted, seen, take).await
    }

    async fn listen_over(
        address: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        accepted: mpsc::UnboundedReceiver<Wire>,
        seen: Arc<Seen>,
        take: impl Fn(Wire) + Send + Sync + 'static,
    ) -> Self {
        let take = Arc::new(take);
        let reservation = reserve(address);
        let address = reservation.local_addr().unwrap().as_socket().unwrap();
        let listener = reserve(address);
        listener.listen(4096).unwrap();
        let listener = TcpListener::from_std(listener.into()).unwrap();
        let kept = Arc::clone(&seen);
        let acceptor = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                seen.connections.fetch_add(1, Ordering::SeqCst);
                let Some(tls) = &tls else {
                    take(Wire::recording(
                        Link::Plain(stream),
                        Arc::clone(&seen.heads),
                    ));
                    continue;
                };
                let (take, tls) = (Arc::clone(&take), Arc::clone(tls));
                let heads = Arc::clone(&seen.heads);
                tokio::spawn(async move {
                    if let Ok(stream) = tls::accept(stream, &tls).await {
                        take(Wire::recording(Link::tls(stream), heads));
                    }
                });
            }
        });
        is_spoken_at(address, is_over_tls());
        Self {
            address,
            seen: kept,
            accepted,
            acceptor,
            _reservation: reservation,
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection, which the gateway makes sooner or later.
    pub async fn accept(&mut self) -> Wire {
        within("a connection of the gateway", self.accepted.recv())
            .await
            .unwrap()
    }

    /// How many connections it has accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    /// How many scripts are still running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.seen.running.load(Ordering::SeqCst)
    }

    /// The head of every request so far, in the order of arrival.
    #[must_use]
    pub fn heads(&self) -> Vec<Head> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// Takes the heads so far out of the memory.
    #[must_use]
    pub fn take_heads(&self) -> Vec<Head> {
        std::mem::take(&mut self.seen.heads.lock().unwrap())
    }

    /// The only request so far, waited for.
    pub async fn only_head(&self) -> Head {
        eventually("the upstream has a request", || !self.heads().is_empty()).await;
        let mut heads = self.heads();
        assert_eq!(heads.len(), 1, "{heads:?}");
        heads.remove(0)
    }

    /// Expects that nobody has connected. Connections are accepted in order, so one more of ours
    /// flushes out whatever was on its way.
    pub async fn was_left_alone(&self) {
        let before = self.connections();
        let _sentinel = Wire::connect(self.address).await;
        eventually("the sentinel is accepted", || self.connections() > before).await;
        let others = self.connections() - 1;
        assert_eq!(others, 0, "the upstream saw {:?}", self.heads());
    }

    /// Stops listening: from now on connections are refused. Accepted ones go on.
    pub async fn refuse(&self) {
        self.acceptor.abort();
        // A process that another case starts just now holds the listener a moment longer.
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for ScriptedUpstream {
    fn drop(&mut self) {
        self.acceptor.abort();
        is_spoken_at(self.address, false);
        let failures = self.seen.failures.lock().unwrap();
        assert!(
            failures.is_empty() || std::thread::panicking(),
            "the upstream's script failed: {failures:?}"
        );
    }
}

fn reserve(address: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.bind(&address.into()).unwrap();
    socket
}

async fn mirror(mut wire: Wire) {
    while let Ok(head) = wire.read_head_or_end().await {
        if head.is_upgrade() {
            wire.send(switching(&head, &[])).await;
            return echo(wire).await;
        }
        if wire.read_body(&head).await.is_err() {
            return;
        }
        let length = head.raw.len();
        let answer = format!("HTTP/1.1 200 OK\r\nX-Mirror: 1\r\nContent-Length: {length}\r\n\r\n");
        let mut answer = answer.into_bytes();
        if head.method() != "HEAD" {
            answer.extend_from_slice(&head.raw);
        }
        if wire.try_send(answer).await.is_err() {
            return;
        }
    }
}

/// Answers every frame with its like, until a close frame or the end.
pub async fn echo(mut wire: Wire) {
    while let Ok(mut frame) = wire.read_frame_or_end().await {
        let is_close = frame.opcode == CLOSE;
        frame.mask = None;
        if frame.opcode == PING {
            frame = Frame::new(PONG, frame.payload);
        }
        if wire.try_send(frame.bytes()).await.is_err() || is_close {
            return;
        }
    }
}
