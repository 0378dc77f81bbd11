//! A session in two parts, for two tasks.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;

use super::ending::{Cause, Ending, Initiator};
use super::shared::{Seat, Shared};
use super::{HandshakeInfo, WebSocketSession};
use crate::error::SessionError;
use crate::message::{Close, Message};

/// The half that receives. There is one.
#[derive(Debug)]
pub struct ReceiveHalf {
    pub(super) shared: Arc<Shared>,
    pub(super) info: Option<Box<HandshakeInfo>>,
}

impl ReceiveHalf {
    /// As [`WebSocketSession::receive`].
    pub async fn receive(&mut self) -> Option<Result<Message, SessionError>> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// What the handshake told, unless it was taken.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeInfo> {
        self.info.as_deref()
    }

    /// How the session ended, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.shared.lock().ending.clone()
    }

    /// The whole again.
    #[must_use]
    pub fn unsplit(self) -> WebSocketSession {
        WebSocketSession { receiver: self }
    }

    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, SessionError>>> {
        let mut inner = self.shared.lock();
        let foreign = inner.waiting.enter(Seat::Receiver, cx);
        let waker = foreign.as_ref().unwrap_or(cx.waker());
        let mut cx = Context::from_waker(waker);
        let polled = inner.poll_receive(&mut cx);
        if polled.is_pending() {
            inner.received = true;
            if !self.shared.is_in_turn() {
                let _ = inner.poll_flush(&mut cx);
            }
        } else if inner.peer_done && !inner.is_driven {
            // The answer to a close goes out with what was polled last.
            let _ = inner.poll_flush(&mut cx);
        }
        polled
    }
}

/// A half that sends. Clones share one outbox.
#[derive(Debug, Clone)]
pub struct SendHalf {
    pub(super) shared: Arc<Shared>,
}

impl SendHalf {
    /// As [`WebSocketSession::send`].
    ///
    /// # Errors
    /// As there.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SessionError> {
        let message = message.into();
        poll_fn(|cx| self.poll_send(&message, cx)).await
    }

    /// Sends, if there is room at once; gives the message back otherwise.
    ///
    /// # Errors
    /// [`SessionError::Closed`], or a control message that is too long.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Option<Message>, SessionError> {
        let message = message.into();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut inner = self.shared.lock();
        if inner.close_sent || inner.is_over() {
            return Err(SessionError::Closed);
        }
        if inner.outbox.len() >= inner.config.outbox {
            return Ok(Some(message));
        }
        // Who writes is the driver, or whoever polls next.
        inner.push(&message, true, &mut cx)?;
        inner.wake_all();
        Ok(None)
    }

    /// As [`WebSocketSession::flush`].
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&self) -> Result<(), SessionError> {
        poll_fn(|cx| self.poll_flush(cx)).await
    }

    /// As [`WebSocketSession::close`].
    pub async fn close(&self, code: u16, reason: &str) -> Ending {
        self.begin_close(code, reason);
        poll_fn(|cx| self.poll_end(cx)).await
    }

    /// Begins to close, and does not wait for the peer: the driver goes on with it, or whoever polls.
    pub fn begin_close(&self, code: u16, reason: &str) {
        let close = Close::new(code, reason.to_owned());
        let mut inner = self.shared.lock();
        inner.close(&close, Initiator::Handler, Cause::Closed);
    }

    fn poll_send(&self, message: &Message, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.with(cx, |inner, in_turn, cx| {
            ready!(inner.poll_room(cx))?;
            Poll::Ready(inner.push(message, in_turn, cx))
        })
    }

    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.with(cx, |inner, _, cx| inner.poll_room(cx))
    }

    pub(super) fn feed(&self, message: &Message) -> Result<(), SessionError> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut inner = self.shared.lock();
        if inner.close_sent || inner.is_over() {
            return Err(SessionError::Closed);
        }
        inner.push(message, true, &mut cx)
    }

    pub(super) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.with(cx, |inner, _, cx| {
            ready!(inner.poll_flush(cx));
            Poll::Ready(if inner.is_over() {
                Err(SessionError::Closed)
            } else {
                Ok(())
            })
        })
    }

    pub(super) fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Ending> {
        self.with(cx, |inner, _, cx| {
            ready!(inner.poll_end(cx));
            Poll::Ready(inner.ending.clone().unwrap_or_else(Ending::lost))
        })
    }

    fn with<T>(
        &self,
        cx: &mut Context<'_>,
        poll: impl FnOnce(&mut super::inner::Inner, bool, &mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        let mut inner = self.shared.lock();
        let foreign = inner.waiting.enter(Seat::Sender, cx);
        let waker = foreign.as_ref().unwrap_or(cx.waker());
        let in_turn = self.shared.is_in_turn();
        poll(&mut inner, in_turn, &mut Context::from_waker(waker))
    }
}

impl Stream for ReceiveHalf {
    type Item = Result<Message, SessionError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_receive(cx)
    }
}

impl Sink<Message> for SendHalf {
    type Error = SessionError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SessionError> {
        self.feed(&message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        Self::poll_flush(&self, cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.begin_close(1000, "");
        self.poll_end(cx).map(|_ending| Ok(()))
    }
}
