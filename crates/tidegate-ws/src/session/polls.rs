//! What a session and its halves do, each under one lock.

use std::task::{Context, Poll, ready};

use super::ending::{Cause, Ending, Initiator};
use super::inner::Inner;
use super::shared::{Seat, Shared};
use crate::error::SessionError;
use crate::message::{Close, Message};

impl Shared {
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, SessionError>>> {
        self.with(Seat::Receiver, cx, |inner, in_turn, cx| {
            let polled = inner.poll_receive(cx);
            // What waits goes out with what was polled last, unless the driver sees to it.
            if polled.is_pending() {
                inner.received = true;
                if !in_turn {
                    let _ = inner.poll_flush(cx);
                }
            } else if inner.peer_done && !inner.is_driven {
                let _ = inner.poll_flush(cx);
            }
            polled
        })
    }

    pub(super) fn poll_send(
        &self,
        message: &Message,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SessionError>> {
        self.with(Seat::Sender, cx, |inner, in_turn, cx| {
            ready!(inner.poll_room(cx))?;
            Poll::Ready(inner.push(message, in_turn, cx))
        })
    }

    pub(super) fn try_send(&self, message: Message) -> Result<Option<Message>, SessionError> {
        let mut inner = self.lock();
        if !inner.has_room()? {
            return Ok(Some(message));
        }
        // Who writes is the driver, or whoever polls next.
        inner.take(&message)?;
        inner.wake_all();
        Ok(None)
    }

    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.with(Seat::Sender, cx, |inner, _, cx| inner.poll_room(cx))
    }

    /// Takes a message whether there is room or not: a sink has asked before.
    pub(super) fn feed(&self, message: &Message) -> Result<(), SessionError> {
        let mut inner = self.lock();
        inner.has_room()?;
        inner.take(message)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.with(Seat::Sender, cx, |inner, _, cx| {
            ready!(inner.poll_flush(cx));
            if inner.is_over() {
                return Poll::Ready(Err(SessionError::Closed));
            }
            Poll::Ready(Ok(()))
        })
    }

    pub(super) fn begin_close(&self, code: u16, reason: &str) {
        let close = Close::new(code, reason.to_owned());
        self.lock().close(&close, Initiator::Handler, Cause::Closed);
    }

    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.with(Seat::Sender, cx, |inner, _, cx| {
            ready!(inner.poll_end(cx));
            Poll::Ready(inner.ending.clone().unwrap_or_else(Ending::lost))
        })
    }

    fn with<T>(
        &self,
        seat: Seat,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Inner, bool, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut inner = self.lock();
        let in_turn = self.is_in_turn();
        match inner.waiting.enter(seat, cx) {
            None => poll(&mut inner, in_turn, cx),
            Some(waker) => {
                let polled = poll(&mut inner, in_turn, &mut Context::from_waker(&waker));
                if polled.is_ready() {
                    inner.waiting.leave(seat, cx);
                }
                polled
            }
        }
    }
}
