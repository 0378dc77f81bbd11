//! One open WebSocket.
//!
//! [`run`] gives a [`WebSocketHandler`](crate::WebSocketHandler) a [`WebSocketSession`] and looks
//! after it until it is over. There is no task, no channel and no boxed future behind it: one future
//! polls the handler and then, in the same task, a driver over the same connection, which answers
//! pings, keeps the times, writes what the handler sent and does the closing handshake. What is
//! received and sent goes no way around by the driver: `receive` reads, and what was sent in one poll
//! of the handler is written at once behind it.
//!
//! # What a session holds
//!
//! - Idle: about 1 KB, with its task and the future of a small handler, without what the handshake
//!   told. Buffers are those of its thread.
//! - While nobody receives: one message, and what one read of at most 32 KiB brought with it. Control
//!   frames right behind that message are still served; then the connection is not read.
//! - A message under way: at most twice what came of it. So does one that is kept pin at most twice
//!   its size.
//! - To be written: [`SessionConfig::outbox`] and one message. Of pings that wait for an answer the
//!   latest is kept (RFC 6455 section 5.5.3).
//!
//! # When it ends
//!
//! | what happens | code |
//! |---|---|
//! | the handler returns | 1000 |
//! | it returns an error, or panics: that ends no other session | 1011 |
//! | the peer closes | the peer's own |
//! | the peer's stream ends without a close frame | 1006, and none is sent |
//! | the peer breaks a rule | 1002 |
//! | text that is not UTF-8, data that cannot be inflated | 1007 |
//! | too many control frames | 1008 |
//! | a frame or message that is too big, or has too many parts | 1009 |
//! | idle for too long, no sign of life | 1001 |
//! | the peer takes nothing of what waits for it | 1013, which it is not told |
//!
//! A peer whose stream ended may still read: a handler is given what it said, and may answer for as
//! long as it would be let run on.
//!
//! What came first counts, and is told by [`Ending`]. Times are kept by one timer of tokio's, made
//! when it is first needed, or by an embedder ([`Observer::keeps_time`]).
//!
//! # Halves, and other tasks
//!
//! A [`SendHalf`] may be cloned and sent anywhere. As long as all is polled by the handler's own task,
//! an operation takes one lock that nobody else wants, and no waker is cloned. Once another task
//! polls, the connection wakes all who wait.

mod alarm;
mod buffers;
mod closing;
mod config;
mod driver;
mod ending;
mod halves;
mod info;
mod inner;
mod outbox;
mod polls;
mod reading;
mod shared;
mod timers;
mod waiting;
mod writing;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use futures_sink::Sink;
use tokio::io::{AsyncRead, AsyncWrite};

pub use self::config::{KeepAlive, Observer, Opening, SessionConfig};
pub use self::driver::{Control, Driver, run};
pub use self::ending::{Cause, Ending, Initiator};
pub use self::halves::{ReceiveHalf, SendHalf};
pub use self::info::HandshakeInfo;
use self::inner::Inner;
use self::shared::Shared;
use crate::error::SessionError;
use crate::message::Message;

/// One open WebSocket, whatever it runs over.
///
/// Pings are answered, and pings and pongs are not received unless
/// [`SessionConfig::deliver_control`] asks for them. A session that [`run`] drives is looked after
/// also while the handler awaits something else. One that stands alone ([`WebSocketSession::new`])
/// is served while one of its futures is polled, and keeps no times but that of [`close`](Self::close).
#[derive(Debug)]
pub struct WebSocketSession {
    receiver: ReceiveHalf,
}

impl WebSocketSession {
    /// A session over `io` that stands alone, after its handshake.
    #[must_use]
    pub fn new<I>(io: I, opening: impl Into<Opening>, config: Arc<SessionConfig>) -> Self
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut opening = opening.into();
        let inner = Inner::new(Box::new(io), &opening, config);
        let shared = Arc::new(Shared::new(inner, opening.id.take()));
        Self {
            receiver: ReceiveHalf {
                shared,
                info: opening.info,
            },
        }
    }

    /// Its name: 16 hexadecimal digits, unless it was given another.
    #[must_use]
    pub fn id(&self) -> &str {
        self.receiver.shared.id()
    }

    /// What the handshake told, unless it was taken.
    #[must_use]
    pub fn handshake(&self) -> Option<&HandshakeInfo> {
        self.receiver.handshake()
    }

    /// Takes what the handshake told; the session does not keep it.
    pub const fn take_handshake(&mut self) -> Option<Box<HandshakeInfo>> {
        self.receiver.info.take()
    }

    /// The next message; `None` once the peer has closed, or the session is over.
    ///
    /// While nobody receives, at most one message is read ahead, and what one read of at most 32 KiB
    /// brought with it. Pings among that and behind it are answered up to the next message.
    ///
    /// Cancel-safe: a message is either returned or still there.
    ///
    /// # Errors
    /// Once, before `None`: [`SessionError::Violation`] when the peer broke a rule,
    /// [`SessionError::Lost`] or [`SessionError::Io`] when the connection ended without a close (RFC 6455
    /// section 7.1.7). After `Lost` the peer may still be sent to.
    pub fn receive(
        &mut self,
    ) -> impl Future<Output = Option<Result<Message, SessionError>>> + Send {
        self.receiver.receive()
    }

    /// Puts a message into the outbox, once there is room for it. It is on its way when this
    /// returns: with what else the handler sends in its turn, or at once where nobody drives the
    /// session.
    ///
    /// Cancel-safe: the message is taken as a whole or not at all.
    ///
    /// # Errors
    /// [`SessionError::Closed`] once the session is closing or nothing can be written any more;
    /// [`SessionError::ControlTooLong`] for a ping or pong of more than 125 bytes.
    pub fn send(
        &mut self,
        message: impl Into<Message>,
    ) -> impl Future<Output = Result<(), SessionError>> + Send {
        self.receiver.shared.send(message.into())
    }

    /// Waits until all that was sent has been handed to the connection. Cancel-safe.
    ///
    /// # Errors
    /// [`SessionError::Closed`] once the session is over, or nothing can be written any more.
    pub async fn flush(&mut self) -> Result<(), SessionError> {
        self.receiver.shared.flush().await
    }

    /// Closes with `code` and `reason` (cut to 123 bytes) behind what was sent, and waits for the
    /// closing handshake (RFC 6455 section 7.1.2). What the peer still sends is thrown away.
    ///
    /// With 1005 the close frame is empty; any other code that must not stand on the wire
    /// ([`is_legal_on_wire`](crate::close::is_legal_on_wire)) is sent as 1011.
    ///
    /// After [`SessionConfig::close_timeout`] a peer that is silent is not waited for any more. Who
    /// closes as a [`Sink`] keeps time himself, unless [`run`] does.
    ///
    /// Cancel-safe: the closing has begun, and goes on whenever the session is polled.
    ///
    /// # Panics
    /// Where nobody drives the session, outside a tokio runtime with timers.
    pub async fn close(&mut self, code: u16, reason: &str) -> Ending {
        self.receiver.shared.close(code, reason).await
    }

    /// How the session ended, once it has, or once its end has begun.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.receiver.ending()
    }

    /// A half that sends, beside the session itself.
    #[must_use]
    pub fn sender(&self) -> SendHalf {
        SendHalf::new(Arc::clone(&self.receiver.shared))
    }

    /// The session in two parts, for two tasks.
    #[must_use]
    pub fn split(self) -> (ReceiveHalf, SendHalf) {
        self.receiver.shared.leave_sink();
        let sender = self.sender();
        (self.receiver, sender)
    }
}

impl Stream for WebSocketSession {
    type Item = Result<Message, SessionError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.receiver).poll_next(cx)
    }
}

impl Sink<Message> for WebSocketSession {
    type Error = SessionError;

    fn poll_ready(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let shared = &*self.receiver.shared;
        if !shared.sink_has_turn() {
            ready!(shared.sink(|wait| wait.poll_turn(cx)))?;
            shared.sink_takes_turn(true);
        }
        Poll::Ready(Ok(()))
    }

    fn start_send(self: Pin<&mut Self>, message: Message) -> Result<(), SessionError> {
        let shared = &*self.receiver.shared;
        shared.feed(message, shared.sink_takes_turn(false))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        self.receiver.shared.sink(|wait| wait.poll_flush(cx))
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        let shared = &*self.receiver.shared;
        shared.begin_close(1000, "");
        shared.sink(|wait| wait.poll_end(cx)).map(|_ending| Ok(()))
    }
}
