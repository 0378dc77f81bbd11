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
    large: Option<Box<Large>>,
    /// Something was written that the connection may still hold.
    unflushed: bool,
}

/// A payload that waits where it is, and what was sent behind it.
#[derive(Debug)]
struct Large {
    body: Bytes,
    back: BytesMut,
}

impl Outbox {
    /// Bytes that wait.
    pub(super) fn len(&self) -> usize {
        let behind = self
            .large
            .as_ref()
            .map_or(0, |large| large.body.len() + large.back.len());
        self.front.len() - self.at + behind
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
        if self.large.is_none() {
            self.reclaim();
        }
        let tail = match &mut self.large {
            Some(large) => &mut large.back,
            None => &mut self.front,
        };
        if tail.capacity() == 0 {
            *tail = take_write();
        }
        tail
    }

    /// Makes room in place of what is written. It moves no more than that was, so that a byte is
    /// moved once at most for each that is written.
    fn reclaim(&mut self) {
        let waits = self.front.len() - self.at;
        if self.at > 0 && self.at >= waits {
            self.front.copy_within(self.at.., 0);
            self.front.truncate(waits);
            self.at = 0;
        }
    }

    /// Whether `payload` could wait where it is.
    pub(super) fn takes_body(&self, payload: &Bytes) -> bool {
        payload.len() >= LARGE && self.large.is_none()
    }

    /// A payload whose header was appended last.
    pub(super) fn set_body(&mut self, payload: Bytes) {
        let (body, back) = (payload, BytesMut::new());
        self.large = Some(Box::new(Large { body, back }));
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
        match &self.large {
            None => io.poll_write(cx, front),
            Some(large) if io.is_write_vectored() => {
                let parts = [front, &large.body, &large.back].map(IoSlice::new);
                io.poll_write_vectored(cx, &parts)
            }
            Some(large) if front.is_empty() => io.poll_write(cx, &large.body),
            Some(_) => io.poll_write(cx, front),
        }
    }

    fn advance(&mut self, mut written: usize) {
        let front = written.min(self.front.len() - self.at);
        self.at += front;
        written -= front;
        if let Some(large) = &mut self.large {
            let body = written.min(large.body.len());
            large.body.advance(body);
            written -= body;
        }
        if self.at < self.front.len() {
            return;
        }
        if let Some(large) = self.large.take_if(|large| large.body.is_empty()) {
            self.clear_front();
            (self.front, self.at) = (large.back, written);
        }
        if self.at == self.front.len() {
            self.clear_front();
        }
    }

    fn clear_front(&mut self) {
        self.at = 0;
        if self.front.capacity() > 0 {
            give_write(std::mem::take(&mut self.front));
        }
    }
}
