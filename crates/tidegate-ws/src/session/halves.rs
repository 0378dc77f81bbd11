//! A session in two parts, for two tasks.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_sink::Sink;

use super::ending::Ending;
use super::shared::Shared;
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
    /// As [`WebSocketSession::receive`].
    pub fn receive(
        &mut self,
    ) -> impl Future<Output = Option<Result<Message, SessionError>>> + Send {
        poll_fn(|cx| self.shared.poll_receive(cx))
    }

    /// What the handshake told, unless it was taken.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeInfo> {
        self.info.as_deref()
    }

    /// How the session ended, once it has.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.shared.lock().ending()
    }

    /// The whole again.
    #[must_use]
    pub fn unsplit(self) -> WebSocketSession {
        WebSocketSession { receiver: self }
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
    pub fn send(
        &self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SessionError>> + Send {
        self.shared.send(message.into())
    }

    /// Sends, if there is room at once; gives the message back otherwise.
    ///
    /// # Errors
    /// [`SessionError::Closed`], or a control message that is too long.
    pub fn try_send(&self, message: impl Into<Message>) -> Result<Option<Message>, SessionError> {
        self.shared.try_send(message.into())
    }

    /// As [`WebSocketSession::flush`].
    ///
    /// # Errors
    /// As there.
    pub async fn flush(&self) -> Result<(), SessionError> {
        poll_fn(|cx| self.shared.poll_flush(cx)).await
    }

    /// As [`WebSocketSession::close`].
    pub async fn close(&self, code: u16, reason: &str) -> Ending {
        self.shared.close(code, reason).await
    }

    /// Begins to close, and does not wait for the peer: the driver goes on with it, or whoever polls.
    /// Codes are those of [`WebSocketSession::close`].
    pub fn begin_close(&self, code: u16, reason: &str) {
        self.shared.begin_close(code, reason);
    }
}

impl Stream for ReceiveHalf {
    type Item = Result<Message, SessionError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.shared.poll_receive(cx)
    }
}

impl Sink<Message> for SendHalf {
    type Error = SessionError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.shared.poll_room(cx)
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SessionError> {
        self.shared.feed(message)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.shared.poll_flush(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.begin_close(1000, "");
        self.shared.poll_end(cx).map(|_ending| Ok(()))
    }
}
