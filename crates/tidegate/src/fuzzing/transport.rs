//! Stands in for `transport/`: the same stream, in memory.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fuzzing::memory::{self, Stream};
use crate::tls::Secured;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) taken: u64,
    pub(crate) is_all: bool,
}

/// No stream here speaks TLS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("the connection ended within the handshake: {0}")]
    Lost(io::Error),
    #[error("the client speaks HTTP without TLS")]
    PlainHttp,
    #[error("{0}")]
    Refused(#[from] rustls::Error),
}

#[derive(Debug)]
pub(crate) struct Transport(Stream);

/// Every endpoint is in memory.
pub(crate) async fn connect(_source: IpAddr, _target: SocketAddr) -> io::Result<Transport> {
    memory::connect().await.map(Transport)
}

/// Nor does one listen.
pub(crate) fn set_options(_socket: &socket2::SockRef<'_>) {}

impl Transport {
    /// No socket is ever accepted here.
    pub(crate) fn accepted(_stream: TcpStream) -> Self {
        unreachable!("fuzz targets open no socket")
    }

    pub(crate) const fn in_memory(stream: Stream) -> Self {
        Self(stream)
    }

    pub(crate) async fn accept_tls(
        &mut self,
        _config: Arc<ServerConfig>,
    ) -> Result<(), HandshakeError> {
        Err(HandshakeError::PlainHttp)
    }

    pub(crate) async fn connect_tls(
        &mut self,
        _config: Arc<ClientConfig>,
        _name: ServerName<'static>,
    ) -> Result<(), HandshakeError> {
        Err(HandshakeError::Lost(io::ErrorKind::Unsupported.into()))
    }

    pub(crate) const fn secured(&self) -> Option<Secured> {
        None
    }

    pub(crate) const fn holds_unsent(&self) -> bool {
        false
    }

    pub(crate) const fn unsent(&self) -> usize {
        0
    }

    pub(crate) fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([10, 0, 0, 1], 80)))
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    pub(crate) fn was_reset(&self) -> bool {
        self.0.was_reset()
    }

    pub(crate) fn delivery(&self) -> Option<Delivery> {
        let (taken, is_all) = self.0.delivery();
        Some(Delivery { taken, is_all })
    }

    /// No kernel gives anything up.
    pub(crate) const fn outlast(&self, _stall: std::time::Duration) {}

    /// There is room for everything.
    pub(crate) const fn make_room(&self, _bytes: usize) {}

    pub(crate) fn abort(self) {
        self.0.set_abort(true);
    }

    pub(crate) fn set_abort_on_drop(&mut self, abort: bool) {
        self.0.set_abort(abort);
    }
}

pub(crate) fn is_reset(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::BrokenPipe
}

impl AsyncRead for Transport {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(buffer, cx)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.poll_write(bytes, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut written = 0;
        for slice in slices.iter().filter(|slice| !slice.is_empty()) {
            match self.0.poll_write(slice, cx) {
                Poll::Ready(Ok(size)) => written += size,
                Poll::Ready(Err(error)) if written == 0 => return Poll::Ready(Err(error)),
                Poll::Pending if written == 0 => return Poll::Pending,
                Poll::Ready(Err(_)) | Poll::Pending => break,
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.shutdown();
        Poll::Ready(Ok(()))
    }
}
