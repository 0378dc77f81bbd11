//! The client's connection, as a session with a handler has it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Buf as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::filtered::Filtered;
use crate::transport::Transport;

/// The most that is taken at once of what a session says, where filters watch it.
const WORD: usize = 64 * 1024;

/// A client's leg. Dropped before either side has ended it, it is reset, so that nobody takes half for
/// the whole.
#[derive(Debug)]
pub(super) struct Leg {
    transport: Transport,
    /// One of the two has said that it will say no more.
    is_over: bool,
    /// Where filters watch its frames.
    filtered: Option<Box<Filtered>>,
}

impl Leg {
    pub(super) const fn new(transport: Transport, filtered: Option<Box<Filtered>>) -> Self {
        Self {
            transport,
            is_over: false,
            filtered,
        }
    }

    fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = ready!(Pin::new(&mut self.transport).poll_read(cx, buffer));
        self.is_over |= room > 0 && buffer.filled().len() == before;
        Poll::Ready(read)
    }

    /// Sends on what filters have let pass.
    fn poll_passing(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(filtered) = &mut self.filtered else {
            return Poll::Ready(Ok(()));
        };
        let passing = &mut filtered.outward.passing;
        while !passing.is_empty() {
            let written = ready!(Pin::new(&mut self.transport).poll_write(cx, passing))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            passing.advance(written);
        }
        *passing = bytes::BytesMut::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Leg {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.filtered.is_none() {
            return self.poll_bytes(cx, buffer);
        }
        loop {
            if let Some(filtered) = &mut self.filtered {
                let passing = &mut filtered.inward.passing;
                if !passing.is_empty() {
                    let fits = passing.len().min(buffer.remaining());
                    buffer.put_slice(&passing.split_to(fits));
                    return Poll::Ready(Ok(()));
                }
                *passing = bytes::BytesMut::new();
            }
            let before = buffer.filled().len();
            ready!(self.poll_bytes(cx, buffer))?;
            if buffer.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            if let Some(filtered) = &mut self.filtered {
                filtered.take_in(&buffer.filled()[before..]);
                buffer.set_filled(before);
            }
        }
    }
}

impl AsyncWrite for Leg {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_passing(cx))?;
        let Some(filtered) = &mut self.filtered else {
            return Pin::new(&mut self.transport).poll_write(cx, bytes);
        };
        let word = &bytes[..bytes.len().min(WORD)];
        filtered.take_out(word);
        // What does not go on now waits for the next call.
        if let Poll::Ready(Err(error)) = self.poll_passing(cx) {
            return Poll::Ready(Err(error));
        }
        Poll::Ready(Ok(word.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.filtered.is_none() {
            return Pin::new(&mut self.transport).poll_write_vectored(cx, slices);
        }
        let first = slices.iter().find(|slice| !slice.is_empty());
        self.poll_write(cx, first.map_or(&[], |slice| slice))
    }

    fn is_write_vectored(&self) -> bool {
        self.filtered.is_none() && self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_passing(cx))?;
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_passing(cx))?;
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
