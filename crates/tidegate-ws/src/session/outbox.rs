//! What waits to be written.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes, BytesMut};

use super::buffers::{give_write, take_write};
use super::shared::Io;

/// Payloads from here on are written from where they are, if the connection takes several slices.
const LARGE: usize = 4 << 10;

/// Frames in their order: those in front of a large payload, the payload, those behind it.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    front: BytesMut,
    /// So much of the front is written.
    at: usize,
    body: Bytes,
    back: BytesMut,
    /// Something was written that the connection may still hold.
    unflushed: bool,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        self.front.len() - self.at + self.body.len() + self.back.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a flush has something to do.
    pub(super) fn is_done(&self) -> bool {
        !self.unflushed && self.is_empty()
    }

    /// Where frames are appended.
    pub(super) fn tail(&mut self) -> &mut BytesMut {
        let tail = if self.body.is_empty() && self.back.is_empty() {
            &mut self.front
        } else {
            &mut self.back
        };
        if tail.capacity() == 0 {
            *tail = take_write();
        }
        tail
    }

    /// Whether `payload` could wait where it is.
    pub(super) fn takes_body(&self, payload: &Bytes) -> bool {
        payload.len() >= LARGE && self.body.is_empty() && self.back.is_empty()
    }

    /// A payload whose header was appended last.
    pub(super) fn set_body(&mut self, payload: Bytes) {
        self.body = payload;
    }

    /// Writes until nothing waits, and flushes.
    pub(super) fn poll_flush(
        &mut self,
        io: &mut dyn Io,
        cx: &mut Context<'_>,
        progress: &mut bool,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            let written = ready!(self.poll_write(io, cx))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *progress = true;
            self.unflushed = true;
            self.advance(written);
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&self, io: &mut dyn Io, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let front = self.front.get(self.at..).unwrap_or_default();
        let io = Pin::new(io);
        if self.body.is_empty() {
            let first = if front.is_empty() { &self.back } else { front };
            return io.poll_write(cx, first);
        }
        if !io.is_write_vectored() {
            let first = if front.is_empty() { &self.body } else { front };
            return io.poll_write(cx, first);
        }
        io.poll_write_vectored(
            cx,
            &[
                IoSlice::new(front),
                IoSlice::new(&self.body),
                IoSlice::new(&self.back),
            ],
        )
    }

    fn advance(&mut self, mut written: usize) {
        let front = written.min(self.front.len() - self.at);
        self.at += front;
        written -= front;
        let body = written.min(self.body.len());
        self.body.advance(body);
        written -= body;
        if self.at < self.front.len() || !self.body.is_empty() {
            return;
        }
        self.body = Bytes::new();
        self.at = written;
        let front = std::mem::replace(&mut self.front, std::mem::take(&mut self.back));
        if front.capacity() > 0 {
            give_write(front);
        }
        if self.at == self.front.len() && self.at > 0 {
            self.at = 0;
            give_write(std::mem::take(&mut self.front));
        }
    }
}
