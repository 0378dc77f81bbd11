//! From the connection to the receiver.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead as _, ReadBuf};

use super::buffers::{READ, give_read, take_read};
use super::inner::Inner;
use crate::error::SessionError;
use crate::message::Message;

/// What was read and is not decoded yet.
#[derive(Debug, Default)]
pub(super) struct Unread {
    buffer: Box<[u8]>,
    from: usize,
    to: usize,
}

impl Unread {
    pub(super) fn new(leftover: &[u8]) -> Self {
        Self {
            buffer: leftover.into(),
            from: 0,
            to: leftover.len(),
        }
    }

    fn bytes(&mut self) -> &mut [u8] {
        self.buffer.get_mut(self.from..self.to).unwrap_or_default()
    }

    fn used(&mut self, count: usize) {
        self.from += count;
        if self.from >= self.to {
            self.clear();
        }
    }

    /// Keeps the beginning of a frame alone, and gives the buffer back.
    fn shrink(&mut self) {
        if self.from < self.to && self.buffer.len() == READ {
            let held = Self::new(self.bytes());
            self.clear();
            *self = held;
        }
    }

    pub(super) fn clear(&mut self) {
        (self.from, self.to) = (0, 0);
        give_read(std::mem::take(&mut self.buffer));
    }
}

impl Inner {
    /// The next message; `None` once there will be none.
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, SessionError>>> {
        loop {
            if let Some(message) = self.ready.take() {
                return Poll::Ready(Some(Ok(message)));
            }
            if let Some(failure) = self.failure.take() {
                return Poll::Ready(Some(Err(failure)));
            }
            if self.peer_done {
                return Poll::Ready(None);
            }
            ready!(self.poll_event(cx));
        }
    }

    /// Decodes one event, reading if there is nothing to decode.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.decode() {
                return Poll::Ready(());
            }
            ready!(self.poll_read(cx));
            if self.peer_done {
                return Poll::Ready(());
            }
        }
    }

    /// Decodes one event of what was read; `false`: more must be read first.
    pub(super) fn decode(&mut self) -> bool {
        if self.unread.from == self.unread.to {
            return false;
        }
        match self.decoder.decode(self.unread.bytes()) {
            Ok(decoded) => {
                self.unread.used(decoded.used);
                let Some(event) = decoded.event else {
                    self.unread.shrink();
                    return false;
                };
                self.on_event(event);
            }
            Err(violation) => self.violated(violation),
        }
        true
    }

    /// Reads once. What is left over of the last read is the beginning of a frame.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(io) = &mut self.io else {
            self.peer_done = true;
            return Poll::Ready(());
        };
        let mut buffer = take_read();
        let held = self.unread.to - self.unread.from;
        if let Some(front) = buffer.get_mut(..held) {
            front.copy_from_slice(self.unread.bytes());
        }
        let mut into = ReadBuf::new(buffer.get_mut(held..READ).unwrap_or_default());
        let polled = Pin::new(io).poll_read(cx, &mut into);
        let count = into.filled().len();
        match polled {
            Poll::Pending => {
                give_read(buffer);
                return Poll::Pending;
            }
            Poll::Ready(Ok(())) if count > 0 => {
                self.timers.heard();
                self.unread = Unread {
                    buffer,
                    from: 0,
                    to: held + count,
                };
            }
            Poll::Ready(result) => {
                give_read(buffer);
                self.lost(result.err());
            }
        }
        Poll::Ready(())
    }
}
