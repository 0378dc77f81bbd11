//! One accepted or dialled byte stream: a socket, with TLS over it or without.
//!
//! What holds for one holds for the other. A peer's end is a FIN, over TLS a `close_notify`; a FIN
//! without it is an error as a reset is, because what came before may not be all. Our own end says
//! `close_notify`, an abort does not. While nothing moves neither holds a buffer.

mod engine;
mod handshake;
#[cfg_attr(fuzzing, path = "../fuzzing/socket.rs")]
mod socket;
mod tls;

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

pub(crate) use self::handshake::HandshakeError;
use self::socket::Socket;
pub(crate) use self::socket::{Delivery, is_reset, set_options};
use self::tls::Tls;
use crate::tls::Secured;

/// A connected byte stream.
#[derive(Debug)]
pub(crate) struct Transport {
    socket: Socket,
    tls: Option<Box<Tls>>,
}

/// Connects to `target` from a local address; an unspecified one leaves the choice to the system.
pub(crate) async fn connect(source: IpAddr, target: SocketAddr) -> io::Result<Transport> {
    let socket = socket::connect(source, target).await?;
    Ok(Transport { socket, tls: None })
}

impl Transport {
    /// Takes a stream that was accepted by a socket with the options of all streams.
    pub(crate) fn accepted(stream: TcpStream) -> Self {
        Self {
            socket: Socket::accepted(stream),
            tls: None,
        }
    }

    /// Takes a stream in memory.
    #[cfg(fuzzing)]
    pub(crate) const fn in_memory(stream: crate::fuzzing::memory::Stream) -> Self {
        Self {
            socket: Socket::in_memory(stream),
            tls: None,
        }
    }

    /// Shakes hands as a server. What the client says behind its handshake is kept.
    pub(crate) async fn accept_tls(
        &mut self,
        config: Arc<ServerConfig>,
    ) -> Result<(), HandshakeError> {
        self.shake_hands(Tls::server(config)?).await
    }

    /// Shakes hands as a client, with a server that must be `name`.
    pub(crate) async fn connect_tls(
        &mut self,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<(), HandshakeError> {
        self.shake_hands(Tls::client(config, name)?).await
    }

    /// What was agreed upon; `None` without TLS. To be asked once: the name is given away.
    pub(crate) fn secured(&mut self) -> Option<Secured> {
        self.tls.as_mut().map(|tls| tls.secured())
    }

    /// Keeps the kernel from giving up a peer that takes nothing before its user does, who waits for
    /// `stall`.
    pub(crate) fn outlast(&self, stall: Duration) {
        self.socket.outlast(stall);
    }

    /// Our own address.
    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        self.socket.local_address()
    }

    /// Whether the peer has ended its side, or the stream has failed, as far as has been told;
    /// nothing is read.
    pub(crate) fn has_ended(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.has_ended()) || self.socket.has_ended()
    }

    /// Whether the peer has reset the stream without having ended it before, as far as the kernel
    /// has told. It is told once; nothing is read.
    pub(crate) fn was_reset(&self) -> bool {
        self.socket.was_reset()
    }

    /// What has become of what was written, where the kernel tells.
    pub(crate) fn delivery(&self) -> Option<Delivery> {
        let delivery = self.socket.delivery()?;
        Some(Delivery {
            is_all: delivery.is_all && !self.holds_unsent(),
            ..delivery
        })
    }

    /// Whether something that was written waits for a flush.
    pub(crate) fn holds_unsent(&self) -> bool {
        self.unsent() > 0
    }

    /// How many bytes that is, as they are sealed.
    pub(crate) fn unsent(&self) -> usize {
        self.tls.as_ref().map_or(0, |tls| tls.unsent())
    }

    /// Lets the kernel hold so much of what the peer sends and nobody reads, where it agrees.
    pub(crate) fn make_room(&self, bytes: usize) {
        self.socket.make_room(bytes);
    }

    /// Makes the end of this stream a reset, so that the peer cannot take what it got for the whole.
    pub(crate) fn abort(mut self) {
        self.set_abort_on_drop(true);
    }

    /// Whether dropping this stream resets it.
    pub(crate) fn set_abort_on_drop(&mut self, abort: bool) {
        self.socket.set_abort_on_drop(abort);
        if let Some(tls) = &mut self.tls {
            tls.set_abort(abort);
        }
    }
}

/// Whoever is dropped by a panic has not finished what it said.
impl Drop for Transport {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.set_abort_on_drop(true);
        } else if let Some(tls) = &mut self.tls {
            tls.say_goodbye(&self.socket);
        }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, tls } = &mut *self;
        match tls {
            None => Pin::new(socket).poll_read(cx, buffer),
            Some(tls) => tls.poll_read(socket, buffer, cx),
        }
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, tls } = &mut *self;
        match tls {
            None => Pin::new(socket).poll_write(cx, bytes),
            Some(tls) => tls.poll_write(socket, &[IoSlice::new(bytes)], cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { socket, tls } = &mut *self;
        match tls {
            None => Pin::new(socket).poll_write_vectored(cx, slices),
            Some(tls) => tls.poll_write(socket, slices, cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, tls } = &mut *self;
        match tls {
            None => Pin::new(socket).poll_flush(cx),
            Some(tls) => tls.poll_flush(socket, cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { socket, tls } = &mut *self;
        match tls {
            None => Pin::new(socket).poll_shutdown(cx),
            Some(tls) => tls.poll_shutdown(socket, cx),
        }
    }
}
