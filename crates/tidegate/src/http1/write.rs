//! Messages onto the wire: heads made anew from parsed parts, bodies framed as they came.

use std::collections::VecDeque;
use std::io::{self, IoSlice, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::head::Framing;
use crate::body::{Body, BodyError, Part};
use crate::headers::Headers;

/// How many bytes are queued before a write is tried.
const WRITE_SIZE: usize = 64 * 1024;

/// Bytes on their way into a connection.
#[derive(Debug, Default)]
pub(crate) struct Outbound {
    queue: VecDeque<Bytes>,
    size: usize,
}

impl Outbound {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.size += bytes.len();
            self.queue.push_back(bytes);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Writes all that is queued; `progress` is set when anything went out.
    pub(crate) fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        transport: &mut T,
        progress: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.queue.is_empty() {
            let mut slices = [IoSlice::new(&[]); 16];
            for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
                *slice = IoSlice::new(bytes);
            }
            let filled = self.queue.len().min(slices.len());
            let written =
                ready!(Pin::new(&mut *transport).poll_write_vectored(cx, &slices[..filled]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress = true;
            self.advance(written);
        }
        Pin::new(transport).poll_flush(cx)
    }

    fn advance(&mut self, mut written: usize) {
        self.size -= written;
        while let Some(first) = self.queue.front_mut() {
            if written < first.len() {
                first.advance(written);
                return;
            }
            written -= first.len();
            self.queue.pop_front();
        }
    }
}

/// What [`MessageWriter::fill`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filled {
    /// The queue is full: write it, then fill again.
    Enough,
    /// The body has nothing more for now: write what there is, then wait for it.
    Waiting,
    /// The message is queued to its end.
    Done,
}

/// One message on its way out: its head, then its body.
#[derive(Debug)]
pub(crate) struct MessageWriter {
    pub(crate) outbound: Outbound,
    framing: Framing,
    done: bool,
    /// Bytes of the body so far, those that are queued too.
    body: u64,
}

/// A body whose length is not the one that was announced.
#[derive(Debug, thiserror::Error)]
#[error("the body is not as long as was announced")]
struct WrongLength;

impl MessageWriter {
    pub(crate) fn new(head: BytesMut, framing: Framing) -> Self {
        let mut outbound = Outbound::default();
        outbound.push(head.freeze());
        Self {
            outbound,
            framing,
            done: framing == Framing::Length(0),
            body: 0,
        }
    }

    /// Bytes of the body that went out; amid a message its framing may count as some that did not.
    pub(crate) const fn written(&self) -> u64 {
        self.body.saturating_sub(self.outbound.size as u64)
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.done
    }

    /// Moves the body into the queue, as far as both allow.
    pub(crate) fn fill(
        &mut self,
        body: &mut Body,
        cx: &mut Context<'_>,
    ) -> Result<Filled, BodyError> {
        while !self.done {
            if self.outbound.size >= WRITE_SIZE {
                return Ok(Filled::Enough);
            }
            match body.poll_part(cx) {
                Poll::Pending => return Ok(Filled::Waiting),
                Poll::Ready(None) => self.end(&Headers::new())?,
                Poll::Ready(Some(part)) => match part? {
                    Part::Data(data) => self.data(data)?,
                    Part::Trailers(trailers) => self.end(&trailers)?,
                },
            }
        }
        Ok(Filled::Done)
    }

    fn data(&mut self, data: Bytes) -> Result<(), BodyError> {
        self.body += data.len() as u64;
        match &mut self.framing {
            Framing::UntilClose => self.outbound.push(data),
            // An empty chunk would end the body.
            Framing::Chunked if data.is_empty() => {}
            Framing::Chunked => {
                let mut size = BytesMut::with_capacity(18);
                hex_line(&mut size, data.len());
                self.outbound.push(size.freeze());
                self.outbound.push(data);
                self.outbound.push(Bytes::from_static(b"\r\n"));
            }
            Framing::Length(remaining) => {
                *remaining = remaining
                    .checked_sub(data.len() as u64)
                    .ok_or(WrongLength)?;
                self.done = *remaining == 0;
                self.outbound.push(data);
            }
        }
        Ok(())
    }

    fn end(&mut self, trailers: &Headers) -> Result<(), BodyError> {
        match self.framing {
            Framing::Length(0) | Framing::UntilClose => {}
            Framing::Length(_) => return Err(WrongLength.into()),
            Framing::Chunked => {
                let mut end = BytesMut::from(&b"0\r\n"[..]);
                fields(&mut end, trailers);
                end.extend_from_slice(b"\r\n");
                self.outbound.push(end.freeze());
            }
        }
        self.done = true;
        Ok(())
    }
}

fn hex_line(into: &mut BytesMut, size: usize) {
    // Writing into memory does not fail.
    let _ = write!(Text(into), "{size:x}\r\n");
}

/// Writes one field line.
pub(crate) fn field(into: &mut BytesMut, name: &[u8], value: &[u8]) {
    into.extend_from_slice(name);
    into.extend_from_slice(b": ");
    into.extend_from_slice(value);
    into.extend_from_slice(b"\r\n");
}

/// Writes all field lines of `headers`.
pub(crate) fn fields(into: &mut BytesMut, headers: &Headers) {
    for line in headers.iter() {
        field(into, line.name.as_str().as_bytes(), line.value.as_bytes());
    }
}

/// Writes the field that announces where the body ends; none for a request without one.
pub(crate) fn framing_field(into: &mut BytesMut, framing: Framing) {
    match framing {
        Framing::Chunked => field(into, b"Transfer-Encoding", b"chunked"),
        Framing::Length(length) => {
            let _ = write!(Text(into), "Content-Length: {length}\r\n");
        }
        Framing::UntilClose => {}
    }
}

/// Formats into a buffer.
pub(crate) struct Text<'a>(pub(crate) &'a mut BytesMut);

impl io::Write for Text<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
