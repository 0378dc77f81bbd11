//! What a session and its halves do, each under one lock.

use std::fmt;
use std::future::poll_fn;
use std::ops::Deref;
use std::task::{Context, Poll, ready};

use super::ending::{Cause, Ending, Initiator};
use super::inner::Inner;
use super::shared::Shared;
use super::waiting::Ticket;
use crate::error::SessionError;
use crate::message::{Close, Message};

/// One who polls, and leaves nothing behind when it is dropped.
pub(super) struct Wait<S: Deref<Target = Shared>> {
    shared: S,
    ticket: Ticket,
}

impl<S: Deref<Target = Shared>> Wait<S> {
    pub(super) fn new(shared: S) -> Self {
        Self {
            shared,
            ticket: Ticket::default(),
        }
    }

    pub(super) const fn shared(&self) -> &S {
        &self.shared
    }

    /// Has the one who has `ticket`, of which there is one, poll, and leaves it what that left.
    fn the<T>(ticket: Ticket, shared: S, poll: impl FnOnce(&mut Self) -> T) -> T {
        let ticket = ticket.blank();
        let mut wait = Self { shared, ticket };
        let polled = poll(&mut wait);
        wait.ticket.forget();
        polled
    }

    #[inline]
    pub(super) fn poll_receive(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Message, SessionError>>> {
        self.poll(cx, |shared, inner, in_turn, cx| {
            let polled = inner.poll_receive(cx);
            // Elsewhere it may be given up at any time, and then the driver reads.
            inner.received = in_turn && polled.is_pending();
            // What waits goes out with what was polled last.
            if polled.is_pending() || !in_turn && inner.has_to_write() {
                let is_flushed = inner.poll_flush(cx).is_ready();
                let is_tidy = in_turn && is_flushed && inner.is_quiet();
                // What the driver does not see must not stand when it looks next.
                inner.received &= !is_tidy;
                shared.tidy(is_tidy && polled.is_pending());
            }
            polled
        })
    }

    /// Waits for room, and takes the message.
    #[inline]
    fn poll_send(
        &mut self,
        message: &mut Option<Message>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), SessionError>> {
        self.poll(cx, |shared, inner, in_turn, cx| {
            ready!(inner.poll_room(cx))?;
            shared.tidy(false);
            Poll::Ready(inner.push(message, in_turn, cx))
        })
    }

    /// Waits for room, and for a turn to use it.
    pub(super) fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<Result<(), SessionError>> {
        self.poll(cx, |_, inner, _, cx| inner.poll_turn(cx))
    }

    pub(super) fn poll_flush(&mut self, cx: &Context<'_>) -> Poll<Result<(), SessionError>> {
        self.poll(cx, |_, inner, _, cx| {
            ready!(inner.poll_flush(cx));
            if inner.is_over() || inner.broken.is_some() {
                return Poll::Ready(Err(SessionError::Closed));
            }
            Poll::Ready(Ok(()))
        })
    }

    pub(super) fn poll_end(&mut self, cx: &Context<'_>) -> Poll<Ending> {
        self.poll(cx, |_, inner, _, cx| {
            ready!(inner.poll_end(cx));
            Poll::Ready(inner.final_ending())
        })
    }

    #[inline(always)]
    fn poll<T>(
        &mut self,
        cx: &Context<'_>,
        poll: impl FnOnce(&Shared, &mut Inner, bool, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let Self { shared, ticket } = self;
        let mut spent = None;
        shared.locked(|inner| {
            let foreign = if inner.waiting.is_for(cx) {
                None
            } else {
                let driver = inner.driver.as_ref();
                inner.waiting.enter(ticket, driver, cx, &mut spent)
            };
            let in_turn = shared.is_in_turn() && inner.is_driver(cx);
            let waker = foreign.as_ref().unwrap_or(cx.waker());
            let polled = poll(shared, inner, in_turn, &mut Context::from_waker(waker));
            if foreign.is_some() && polled.is_ready() {
                spent = inner.waiting.leave(ticket).or(spent.take());
            }
            if !in_turn && inner.timers.is_stale() {
                // A time of it has moved.
                inner.calls.driver();
            }
            polled
        })
    }
}

impl<S: Deref<Target = Shared>> Drop for Wait<S> {
    #[inline]
    fn drop(&mut self) {
        if !self.ticket.is_blank() {
            let ticket = &mut self.ticket;
            drop(self.shared.locked(|inner| inner.waiting.leave(ticket)));
        }
    }
}

impl<S: Deref<Target = Shared>> fmt::Debug for Wait<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl Shared {
    /// What a stream does, which is no future of its own.
    pub(super) fn poll_next(
        &self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Message, SessionError>>> {
        Wait::the(Ticket::RECEIVER, self, |wait| wait.poll_receive(cx))
    }

    /// What a session does that is used as a sink.
    pub(super) fn sink<T>(&self, poll: impl FnOnce(&mut Wait<&Self>) -> T) -> T {
        Wait::the(Ticket::SINK, self, poll)
    }

    /// There is no receiver any more, or no sink.
    pub(super) fn leave(&self, mut ticket: Ticket) {
        drop(self.locked(|inner| inner.waiting.leave(&mut ticket)));
    }

    pub(super) fn receive(
        &self,
    ) -> impl Future<Output = Option<Result<Message, SessionError>>> + Send {
        let ticket = Ticket::RECEIVER.blank();
        let shared = self;
        let mut wait = Wait { shared, ticket };
        poll_fn(move |cx| wait.poll_receive(cx))
    }

    pub(super) fn send(
        &self,
        message: Message,
    ) -> impl Future<Output = Result<(), SessionError>> + Send {
        let mut wait = Wait::new(self);
        let mut message = Some(message);
        poll_fn(move |cx| wait.poll_send(&mut message, cx))
    }

    pub(super) fn try_send(&self, message: Message) -> Result<Option<Message>, SessionError> {
        self.locked(|inner| {
            if !inner.has_room()? {
                return Ok(Some(message));
            }
            // Who writes is the driver, or whoever polls next.
            self.tidy(false);
            inner.take(&mut Some(message))?;
            inner.calls.all();
            Ok(None)
        })
    }

    /// Takes a message of a sink: one that has a turn may use it though others have filled the
    /// outbox since.
    pub(super) fn feed(&self, message: Message, has_turn: bool) -> Result<(), SessionError> {
        self.locked(|inner| {
            let has_room = inner.has_room();
            if has_turn {
                inner.give_turn_back();
            }
            if !has_room? && !has_turn {
                return Err(SessionError::NotReady);
            }
            self.tidy(false);
            inner.take(&mut Some(message))
        })
    }

    pub(super) fn flush(&self) -> impl Future<Output = Result<(), SessionError>> + Send {
        let mut wait = Wait::new(self);
        poll_fn(move |cx| wait.poll_flush(cx))
    }

    pub(super) fn begin_close(&self, code: u16, reason: &str) {
        let close = Close::new(code, reason.to_owned());
        self.locked(|inner| inner.close(close, Initiator::Handler, Cause::Closed));
    }

    pub(super) fn end(&self) -> impl Future<Output = Ending> + Send {
        let mut wait = Wait::new(self);
        poll_fn(move |cx| wait.poll_end(cx))
    }
}
