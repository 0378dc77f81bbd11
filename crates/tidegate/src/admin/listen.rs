//! Accepting for the admin listener: few connections, short ones, and descriptors in reserve.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{interval, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::error::is_shortage;

/// Connections at one time. For one more, the oldest is cut: whoever holds them all keeps nobody out.
pub(super) const CONNECTIONS: usize = 64;
/// Descriptors that are held for nothing but to be given up when there are no others.
pub(super) const RESERVE: usize = 8;
/// How long a request's head may take.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last, its one answer included.
const LIFETIME: Duration = Duration::from_secs(30);
/// The most bytes and fields of a head.
const MAX_HEAD: usize = 16 * 1024;
const MAX_FIELDS: usize = 100;
/// Connections that the kernel completes before they are accepted.
const BACKLOG: i32 = 128;
/// How long accepting pauses when not even the reserve has a descriptor.
const PAUSE: Duration = Duration::from_millis(10);
/// How long answers under way have when the gateway has ended.
const FAREWELL: Duration = Duration::from_secs(1);

/// Binds the listener.
pub(super) fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Descriptors in reserve.
pub(super) struct Reserve(Vec<File>);

impl Reserve {
    /// A full reserve.
    pub(super) fn full() -> io::Result<Self> {
        let spares = (0..RESERVE).map(|_| File::open("/dev/null"));
        Ok(Self(spares.collect::<io::Result<_>>()?))
    }

    /// Takes back what it can have.
    fn fill(&mut self) {
        while self.0.len() < RESERVE {
            let Ok(spare) = File::open("/dev/null") else {
                return;
            };
            self.0.push(spare);
        }
    }

    /// Gives one up, for a socket to take its place; `false` when there is none left.
    fn give_up(&mut self) -> bool {
        self.0.pop().is_some()
    }
}

/// Accepts and answers until the gateway has ended.
pub(super) async fn serve(
    listener: TcpListener,
    mut reserve: Reserve,
    router: Router,
    ended: CancellationToken,
) {
    let mut open = JoinSet::new();
    // The oldest first; some may have ended.
    let mut order: VecDeque<AbortHandle> = VecDeque::new();
    let mut second = interval(Duration::from_secs(1));
    loop {
        tokio::select! {
            () = ended.cancelled() => break,
            // At once, before somebody else takes the descriptor that has become free.
            Some(_ended) = open.join_next() => reserve.fill(),
            _ = second.tick() => reserve.fill(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _peer)) => {
                    order.retain(|connection| !connection.is_finished());
                    if order.len() >= CONNECTIONS {
                        cut_oldest(&mut order);
                    }
                    order.push_back(open.spawn(answer(stream, router.clone())));
                }
                Err(error) if is_shortage(&error) => {
                    if !reserve.give_up() {
                        order.retain(|connection| !connection.is_finished());
                        cut_oldest(&mut order);
                        sleep(PAUSE).await;
                    }
                }
                // The caller was gone before it was accepted.
                Err(error) => tracing::debug!(%error, "not accepted"),
            }
        }
    }
    drop(listener);
    let last_words = async { while open.join_next().await.is_some() {} };
    let _in_time = timeout(FAREWELL, last_words).await;
}

fn cut_oldest(order: &mut VecDeque<AbortHandle>) {
    if let Some(oldest) = order.pop_front() {
        oldest.abort();
    }
}

/// One request, and its answer.
async fn answer(stream: TcpStream, router: Router) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .keep_alive(false)
        .max_headers(MAX_FIELDS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match timeout(LIFETIME, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "admin connection failed"),
        Err(_elapsed) => tracing::debug!("admin connection took too long"),
    }
}
