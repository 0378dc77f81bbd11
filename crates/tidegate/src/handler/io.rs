//! The client's connection as its session reads it: what came behind the request comes first.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;

/// A client's leg. Dropped in the middle of what it says, it is reset, so that nobody takes half for
/// the whole.
#[derive(Debug)]
pub(super) struct Leg {
    transport: Transport,
    /// What came behind the request, and was not read yet.
    early: BytesMut,
    /// One of the two has said that it will say no more.
    is_over: bool,
}

impl Leg {
    pub(super) fn new((transport, early): (Transport, BytesMut)) -> Self {
        Self {
            transport,
            early,
            is_over: false,
        }
    }
}

impl AsyncRead for Leg {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.early.is_empty() {
            let fits = self.early.len().min(buffer.remaining());
            buffer.put_slice(&self.early[..fits]);
            self.early.advance(fits);
            if self.early.is_empty() {
                self.early = BytesMut::new();
            }
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.transport).poll_read(cx, buffer));
        self.is_over |= buffer.filled().len() == before;
        Poll::Ready(read)
    }
}

impl AsyncWrite for Leg {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = ready!(Pin::new(&mut self.transport).poll_shutdown(cx));
        self.is_over = true;
        Poll::Ready(ended)
    }
}

impl Drop for Leg {
    fn drop(&mut self) {
        if !self.is_over {
            self.transport.set_abort_on_drop(true);
        }
    }
}
