//! What a session and its halves do, each under one lock.

use std::future::poll_fn;
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
            // Elsewhere it may be given up at any time, and then the driver reads.
            inner.received = in_turn && polled.is_pending();
            // What waits goes out with what was polled last.
            if polled.is_pending() || !in_turn && inner.has_to_write() {
                let is_flushed = inner.poll_flush(cx).is_ready();
                let is_tidy = in_turn && is_flushed && inner.is_quiet();
                // What the driver does not see must not stand when it looks next.
                inner.received &= !is_tidy;
                self.tidy(is_tidy && polled.is_pending());
            }
            polled
        })
    }

    /// Waits for room, and takes `message`.
    pub(super) fn send(
        &self,
        message: Message,
    ) -> impl Future<Output = Result<(), SessionError>> + Send {
        let mut message = Some(message);
        poll_fn(move |cx| {
            self.with(Seat::Sender, cx, |inner, in_turn, cx| {
                ready!(inner.poll_room(cx))?;
                self.tidy(false);
                let taken = message
                    .take()
                    .map(|message| inner.push(message, in_turn, cx));
                Poll::Ready(taken.unwrap_or(Ok(())))
            })
        })
    }

    pub(super) fn try_send(&self, message: Message) -> Result<Option<Message>, SessionError> {
        let mut inner = self.lock();
        if !inner.has_room()? {
            return Ok(Some(message));
        }
        // Who writes is the driver, or whoever polls next.
        self.tidy(false);
        inner.take(message)?;
        inner.wake_all();
        Ok(None)
    }

    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.with(Seat::Sender, cx, |inner, _, cx| inner.poll_room(cx))
    }

    /// Takes a message whether there is room or not: a sink has asked before.
    pub(super) fn feed(&self, message: Message) -> Result<(), SessionError> {
        let mut inner = self.lock();
        inner.has_room()?;
        self.tidy(false);
        inner.take(message)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.with(Seat::Sender, cx, |inner, _, cx| {
            ready!(inner.poll_flush(cx));
            if inner.is_over() || inner.broken.is_some() {
                return Poll::Ready(Err(SessionError::Closed));
            }
            Poll::Ready(Ok(()))
        })
    }

    pub(super) fn begin_close(&self, code: u16, reason: &str) {
        let close = Close::new(code, reason.to_owned());
        self.lock().close(close, Initiator::Handler, Cause::Closed);
    }

    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.with(Seat::Sender, cx, |inner, _, cx| {
            ready!(inner.poll_end(cx));
            Poll::Ready(inner.final_ending())
        })
    }

    fn with<T>(
        &self,
        seat: Seat,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut Inner, bool, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut inner = self.lock();
        let in_turn = self.is_in_turn()
            && inner
                .driver
                .as_ref()
                .is_some_and(|driver| driver.will_wake(cx.waker()));
        let polled = match inner.waiting.enter(seat, cx) {
            None => poll(&mut inner, in_turn, cx),
            Some(waker) => {
                let polled = poll(&mut inner, in_turn, &mut Context::from_waker(&waker));
                if polled.is_ready() {
                    inner.waiting.leave(seat, cx);
                }
                polled
            }
        };
        if !in_turn && inner.timers.is_stale() {
            // A time of it has moved.
            inner.wake_driver();
        }
        polled
    }
}
