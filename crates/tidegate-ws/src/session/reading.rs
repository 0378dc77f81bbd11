//! From the connection to the receiver.

use std::io;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{BufMut as _, Bytes, BytesMut};
use tokio::io::{AsyncRead as _, AsyncReadExt as _, ReadBuf};

use super::buffers::{READ, give_read, lend_read, take_read};
use super::inner::Inner;
use super::shared::Io;
use crate::error::SessionError;
use crate::message::Message;

/// So much is moved so that a payload need not be.
const MOVED: usize = 4 << 10;

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

    /// Reads behind what is held, which is the beginning of a frame or nothing.
    fn poll_fill(&mut self, io: &mut Box<dyn Io>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buffer = take_read();
        let held = self.to - self.from;
        if let Some(front) = buffer.get_mut(..held) {
            front.copy_from_slice(self.bytes());
        }
        let mut into = ReadBuf::new(buffer.get_mut(held..READ).unwrap_or_default());
        let polled = Pin::new(io).poll_read(cx, &mut into);
        let count = into.filled().len();
        if count > 0 {
            (self.from, self.to) = (0, held + count);
            self.buffer = buffer;
        } else {
            give_read(buffer);
        }
        polled.map_ok(|()| count)
    }

    /// Takes the payload at `place`, and goes on behind it. One that fills half the buffer takes
    /// the buffer with it, unless much would have to be copied out of there.
    #[inline(always)]
    fn take(&mut self, place: Range<usize>) -> Bytes {
        let rest = self.to - self.from - place.end;
        if place.len() >= READ / 2 && self.buffer.len() == READ && rest <= MOVED {
            return self.lend(place);
        }
        let end = place.end;
        let payload = self.bytes().get(place).unwrap_or_default();
        let payload = Bytes::copy_from_slice(payload);
        self.used(end);
        payload
    }

    /// Gives the buffer away for the payload at `place`, and keeps what is behind it.
    #[cold]
    fn lend(&mut self, place: Range<usize>) -> Bytes {
        let place = self.from + place.start..self.from + place.end;
        let rest = Self::new(self.buffer.get(place.end..self.to).unwrap_or_default());
        let Self { buffer, .. } = std::mem::replace(self, rest);
        lend_read(buffer, place)
    }

    #[inline]
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
    #[inline]
    pub(super) fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, SessionError>>> {
        loop {
            if self.is_plain()
                && let Some(message) = self.at_once()
            {
                return Poll::Ready(Some(Ok(message)));
            }
            if let Some(told) = self.otherwise() {
                return Poll::Ready(told);
            }
            if !self.decode() {
                ready!(self.poll_read(cx));
            }
        }
    }

    /// Whether nothing waits to be received, and more may come.
    #[inline]
    const fn is_plain(&self) -> bool {
        self.ready.is_none() && self.failure.is_none() && !self.peer_done
    }

    /// What else is to be told at once.
    fn otherwise(&mut self) -> Option<Option<Result<Message, SessionError>>> {
        if let Some(message) = self.ready.take() {
            return Some(Some(Ok(message)));
        }
        if let Some(failure) = self.failure.take() {
            return Some(Some(Err(*failure)));
        }
        self.peer_done.then_some(None)
    }

    /// A message of one frame that was read as a whole: the way that most go.
    #[inline]
    fn at_once(&mut self) -> Option<Message> {
        if self.unread.from == self.unread.to || self.close_sent {
            return None;
        }
        match self.decoder.in_place(self.unread.bytes()) {
            Ok(found) => {
                let found = found?;
                let payload = self.unread.take(found.payload.clone());
                let message = found.message(payload);
                self.on_data(&message);
                Some(message)
            }
            Err(violation) => {
                self.violated(violation);
                None
            }
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

    /// Reads while nobody receives: up to one message, and the control frames behind it.
    pub(super) fn read_ahead(&mut self, cx: &mut Context<'_>) {
        let before = self.ready.is_some() || self.peer_done;
        while !self.peer_done && (self.ready.is_none() || self.is_control_next()) {
            if !self.decode() && self.poll_read(cx).is_pending() {
                break;
            }
        }
        if !before && (self.peer_done || self.ready.is_some()) {
            // It may have been waiting, though it was not polled in this turn.
            self.calls.all();
        }
    }

    /// Whether the next event is that of a control frame, as far as can be told.
    fn is_control_next(&mut self) -> bool {
        const CONTROL: u8 = 0b1000;
        !self.config.deliver_control
            && self
                .unread
                .bytes()
                .first()
                .is_none_or(|first| first & CONTROL != 0)
    }

    /// Decodes one event of what was read; `false`: more must be read first.
    pub(super) fn decode(&mut self) -> bool {
        if self.unread.from == self.unread.to && !self.decoder.has_filled() {
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

    /// Reads once.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(io) = &mut self.io else {
            self.peer_done = true;
            return Poll::Ready(());
        };
        let polled = match self.decoder.room() {
            Some((payload, most)) => poll_payload(io, payload, most, cx),
            None => self.unread.poll_fill(io, cx),
        };
        match ready!(polled) {
            Ok(count) if count > 0 => self.timers.heard(),
            Ok(_) => self.left(),
            Err(error) => self.lost(Some(error)),
        }
        Poll::Ready(())
    }
}

/// Reads the payload of a large message to where it is to be.
fn poll_payload(
    io: &mut Box<dyn Io>,
    payload: &mut BytesMut,
    most: usize,
    cx: &mut Context<'_>,
) -> Poll<io::Result<usize>> {
    // The future keeps nothing between polls.
    let mut into = payload.limit(most);
    pin!(io.read_buf(&mut into)).poll(cx)
}
