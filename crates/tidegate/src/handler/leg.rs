//! The client's connection, as a session with a handler has it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::transport::Transport;

/// A client's leg. Dropped before either side has ended it, it is reset, so that nobody takes half for
/// the whole.
#[derive(Debug)]
pub(super) struct Leg {
    transport: Transport,
    /// One of the two has said that it will say no more.
    is_over: bool,
}

impl Leg {
    pub(super) const fn new(transport: Transport) -> Self {
        Self {
            transport,
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
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = ready!(Pin::new(&mut self.transport).poll_read(cx, buffer));
        self.is_over |= room > 0 && buffer.filled().len() == before;
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
