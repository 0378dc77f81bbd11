//! From senders to the connection.

use std::task::{Context, Poll, ready};

use super::inner::{Inner, opcode_of};
use crate::error::SessionError;
use crate::message::Message;

/// So many bytes are written at once, rather than when the turn is over.
const BATCH: usize = 16 << 10;

/// So many sinks may have been told that there is room, at once.
const TURNS: u8 = 16;

impl Inner {
    /// Whether a message would be taken now.
    pub(super) fn has_room(&self) -> Result<bool, SessionError> {
        if self.close_sent || self.is_over() || self.broken.is_some() {
            return Err(SessionError::Closed);
        }
        Ok(self.outbox.len() < self.config.outbox)
    }

    /// Whether a flush has something to do, an answer of ours among it.
    pub(super) fn has_to_write(&self) -> bool {
        self.pong.is_some() || !self.outbox.is_done()
    }

    /// Waits until a message would be taken.
    pub(super) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        if self.has_room()? {
            return Poll::Ready(Ok(()));
        }
        let _ = self.poll_flush(cx);
        if self.has_room()? {
            return Poll::Ready(Ok(()));
        }
        // Whoever makes room tells those who wait for it.
        self.wants_room = true;
        Poll::Pending
    }

    /// Waits for room and for one of a few turns: who has one may send later, whoever has sent in
    /// between, so that there must not be any number of them.
    pub(super) fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        ready!(self.poll_room(cx))?;
        if self.turns == TURNS {
            self.wants_room = true;
            return Poll::Pending;
        }
        self.turns += 1;
        Poll::Ready(Ok(()))
    }

    /// A turn was used, or will not be.
    pub(super) const fn give_turn_back(&mut self) {
        self.turns = self.turns.saturating_sub(1);
        self.call_for_room();
    }

    /// Takes a message as a whole, and writes what is much.
    #[inline]
    pub(super) fn push(
        &mut self,
        message: &mut Option<Message>,
        in_turn: bool,
        cx: &mut Context<'_>,
    ) -> Result<(), SessionError> {
        self.take(message)?;
        // In its turn the driver writes.
        if !in_turn || self.outbox.len() >= BATCH {
            let _ = self.poll_flush(cx);
        }
        Ok(())
    }

    /// Takes a message as a whole from where it is, and leaves it to others to write it.
    #[inline]
    pub(super) fn take(&mut self, place: &mut Option<Message>) -> Result<(), SessionError> {
        let Some(message) = place else { return Ok(()) };
        let is_control = message.is_control();
        let told = self
            .observer
            .is_some()
            .then(|| (opcode_of(message), message.payload().len()));
        if self.takes_payload(message) {
            if let Some(message) = place.take() {
                self.outbox.set_body(message.into_payload());
            }
        } else {
            self.encoder.encode(message, self.outbox.tail())?;
            *place = None;
        }
        if !is_control {
            self.timers.moved();
        }
        if let Some((observer, (opcode, length))) = self.observer.as_ref().zip(told) {
            observer.sent(opcode, length);
        }
        Ok(())
    }

    /// Whether the payload of `message` may wait where it is; its header is written, if so.
    #[inline]
    fn takes_payload(&mut self, message: &Message) -> bool {
        self.outbox.takes_body(message.payload())
            && self.io.as_ref().is_some_and(|io| io.is_write_vectored())
            && self.encoder.header_of(message, self.outbox.tail())
    }

    /// Writes what waits, and the answer to a ping behind it.
    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.outbox.is_empty() {
                self.stage_pong();
            }
            let Some(io) = &mut self.io else {
                return Poll::Ready(());
            };
            if self.outbox.is_done() {
                return Poll::Ready(());
            }
            let mut progress = false;
            let polled = self.outbox.poll_flush(io, cx, &mut progress);
            if progress {
                self.timers.wrote();
                if self.outbox.len() < self.config.outbox {
                    self.call_for_room();
                }
            }
            match polled {
                Poll::Ready(Ok(())) => self.timers.write_done(),
                Poll::Ready(Err(error)) => self.write_failed(error),
                Poll::Pending => {
                    self.timers.write_waits();
                    return Poll::Pending;
                }
            }
        }
    }
}
