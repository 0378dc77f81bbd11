//! Stands in for `transport/socket.rs`: the same stream, in memory. What lies above it is what runs
//! everywhere.

use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fuzzing::memory::{self, Stream};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) taken: u64,
    pub(crate) is_all: bool,
}

#[derive(Debug)]
pub(super) struct Socket(Stream);

/// Every endpoint is in memory.
pub(super) async fn connect(_source: IpAddr, _target: SocketAddr) -> io::Result<Socket> {
    memory::connect().await.map(Socket)
}

/// None listens.
pub(crate) fn set_options(_socket: &socket2::SockRef<'_>) {}

impl Socket {
    /// No socket is ever accepted here.
    pub(super) fn accepted(_stream: TcpStream) -> Self {
        unreachable!("fuzz targets open no socket")
    }

    pub(super) const fn in_memory(stream: Stream) -> Self {
        Self(stream)
    }

    pub(super) fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([10, 0, 0, 1], 80)))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.0.has_ended()
    }

    pub(super) fn was_reset(&self) -> bool {
        self.0.was_reset()
    }

    pub(super) fn delivery(&self) -> Option<Delivery> {
        let (taken, is_all) = self.0.delivery();
        Some(Delivery { taken, is_all })
    }

    /// No kernel gives anything up.
    pub(super) const fn outlast(&self, _stall: Duration) {}

    /// There is room for everything.
    pub(super) const fn make_room(&self, _bytes: usize) {}

    /// All is acknowledged at once.
    pub(super) const fn acknowledge(&self) {}

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self
            .0
            .poll_write(bytes, &Context::from_waker(Waker::noop()))
        {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    pub(super) fn set_abort_on_drop(&self, abort: bool) {
        self.0.set_abort(abort);
    }
}

pub(crate) fn is_reset(error: &io::Error) -> bool {
    error.kind() != io::ErrorKind::BrokenPipe
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.poll_read(buffer, cx)
    }
}

impl AsyncWrite for Socket {
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
