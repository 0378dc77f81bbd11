//! A session in two parts, for two tasks.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;

use super::ending::Ending;
use super::inner::Inner;
use super::polls::Wait;
use super::shared::Shared;
use super::waiting::Ticket;
use super::{HandshakeInfo, WebSocketSession};
use crate::error::SessionError;
use crate::message::Message;

/// The half that receives. There is one.
#[derive(Debug)]
pub struct ReceiveHalf {
    pub(super) shared: Arc<Shared>,
    pub(super) info: Option<Box<HandshakeInfo>>,
}

impl ReceiveHalf {
    /// As [`WebSocketSession::receive`]. Cancel-safe.
    pub fn receive(
        &mut self,
    ) -> impl Future<Output = Option<Result<Message, SessionError>>> + Send {
        self.shared.receive()
    }

    /// What the handshake told, unless it was taken.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeInfo> {
        self.info.as_deref()
    }

    /// How the session ended, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.shared.locked(|inner| inner.ending())
    }

    /// The whole again.
    #[must_use]
    pub fn unsplit(self) -> WebSocketSession {
        WebSocketSession { receiver: self }
    }
}

/// A half that sends. Clones share one outbox.
///
/// As a [`Sink`] it has a turn from when it was ready until it sends or is dropped. At most 16 clones
/// have one at a time, whatever room there is, so that the outbox holds
/// [`SessionConfig::outbox`](super::SessionConfig::outbox) and 17 messages at most.
#[derive(Debug)]
pub struct SendHalf {
    wait: Wait<Arc<Shared>>,
    /// As a sink it was told that there is room.
    has_turn: bool,
}

impl SendHalf {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            wait: Wait::new(shared),
            has_turn: false,
        }
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        self.wait.shared()
    }

    /// As [`WebSocketSession::send`]. Cancel-safe.
    ///
    /// # Errors
    /// As there.
    pub fn send(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SessionError>> + Send {
        self.shared().send(message.into())
    }

    /// Sends, if there is room at once; gives the message back otherwise.
    ///
    /// # Errors
    /// [`SessionError::Closed`], or a control message that is too long.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Option<Message>, SessionError> {
        self.shared().try_send(message.into())
    }

    /// As [`WebSocketSession::flush`]. Cancel-safe.
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&self) -> Result<(), SessionError> {
        self.shared().flush().await
    }

    /// As [`WebSocketSession::close`]. Cancel-safe.
    pub async fn close(&self, code: u16, reason: &str) -> Ending {
        self.shared().close(code, reason).await
    }

    /// Begins to close, and does not wait for the peer: the driver goes on with it, or whoever polls.
    /// Codes are those of [`WebSocketSession::close`].
    pub fn begin_close(&self, code: u16, reason: &str) {
        self.shared().begin_close(code, reason);
    }
}

impl Clone for SendHalf {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(self.shared()))
    }
}

impl Drop for SendHalf {
    fn drop(&mut self) {
        if self.has_turn {
            self.shared().locked(Inner::give_turn_back);
        }
    }
}

impl Drop for ReceiveHalf {
    fn drop(&mut self) {
        self.shared.leave_sink();
        self.shared.leave(Ticket::RECEIVER);
    }
}

impl Stream for ReceiveHalf {
    type Item = Result<Message, SessionError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.shared.poll_next(cx)
    }
}

impl Sink<Message> for SendHalf {
    type Error = SessionError;

    fn poll_ready(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SessionError>> {
        if !self.has_turn {
            ready!(self.wait.poll_turn(cx))?;
            self.has_turn = true;
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), SessionError> {
        let has_turn = std::mem::take(&mut self.has_turn);
        self.shared().feed(message, has_turn)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SessionError>> {
        self.wait.poll_flush(cx)
    }

    fn poll_close(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), SessionError>> {
        self.begin_close(1000, "");
        self.wait.poll_end(cx).map(|_ending| Ok(()))
    }
}
