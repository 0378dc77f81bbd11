//! What looks after a session while its handler runs.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use super::config::{Opening, SessionConfig};
use super::ending::{Cause, Ending, Initiator};
use super::shared::{Seat, Shared};
use super::{SendHalf, WebSocketSession};
use crate::error::BoxError;
use crate::handler::WebSocketHandler;
use crate::message::Close;

/// Runs `handler` on a session over `io`, and looks after the session until it is over: pings are
/// answered, timeouts kept, the closing handshake done, whatever the handler awaits.
///
/// When the handler returns, the session closes with 1000, after an error or a panic with 1011 (row
/// D-007). When the session ends first, the handler may run on for
/// [`SessionConfig::handler_grace`].
///
/// Dropped, it drops the handler and the connection.
pub async fn run<I, H>(
    io: I,
    opening: impl Into<Opening>,
    config: Arc<SessionConfig>,
    handler: H,
) -> Ending
where
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: WebSocketHandler,
{
    let (session, driver) = Driver::start(io, opening, config);
    driver.run(|| handler.handle(session)).await
}

/// What looks after a session.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
}

impl Driver {
    /// A session over `io`, and what looks after it.
    #[must_use]
    pub fn start<I>(
        io: I,
        opening: impl Into<Opening>,
        config: Arc<SessionConfig>,
    ) -> (WebSocketSession, Self)
    where
        I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let session = WebSocketSession::new(io, opening, config);
        let shared = Arc::clone(&session.receiver.shared);
        shared.lock().is_driven = true;
        (session, Self { shared })
    }

    /// The means to end the session from elsewhere.
    #[must_use]
    pub fn control(&self) -> Control {
        Control {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// As [`run`], with what the handler does.
    pub async fn run<F>(self, handle: impl FnOnce() -> F) -> Ending
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        let mut handler = pin!(catch_unwind(AssertUnwindSafe(handle)).ok());
        if handler.is_none() {
            self.handler_ended(Cause::HandlerPanicked);
        }
        poll_fn(|cx| {
            self.poll_handler(handler.as_mut(), cx);
            self.poll_session(handler.is_none(), cx)
        })
        .await
    }

    fn poll_handler<F>(&self, mut handler: Pin<&mut Option<F>>, cx: &mut Context<'_>)
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        let Some(future) = handler.as_mut().as_pin_mut() else {
            return;
        };
        self.shared.begin_turn();
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(cx)));
        let cause = match polled {
            Ok(Poll::Pending) => return,
            Ok(Poll::Ready(Ok(()))) => Cause::HandlerDone,
            Ok(Poll::Ready(Err(_error))) => Cause::HandlerFailed,
            Err(_panic) => Cause::HandlerPanicked,
        };
        handler.set(None);
        self.handler_ended(cause);
    }

    fn handler_ended(&self, cause: Cause) {
        let close = if cause == Cause::HandlerDone {
            Close::new(1000, "")
        } else {
            Close::new(1011, "internal")
        };
        let mut inner = self.shared.lock();
        inner.close(&close, Initiator::Handler, cause);
    }

    fn poll_session(&self, handler_is_done: bool, cx: &mut Context<'_>) -> Poll<Ending> {
        self.shared.end_turn();
        let mut inner = self.shared.lock();
        if !inner
            .driver
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            inner.driver = Some(cx.waker().clone());
        }
        let foreign = inner.waiting.enter(Seat::Driver, cx);
        let waker = foreign.as_ref().unwrap_or(cx.waker());
        let over = inner.drive(&mut Context::from_waker(waker));
        if over.is_ready() && handler_is_done {
            return Poll::Ready(inner.ending.clone().unwrap_or_else(Ending::lost));
        }
        Poll::Pending
    }
}

impl super::inner::Inner {
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let received = std::mem::take(&mut self.received);
        if self.is_over() {
            return Poll::Ready(());
        }
        if self.close_sent {
            return self.poll_end(cx);
        }
        // The receiver found nothing in this turn, and waits; or it is elsewhere.
        while !received && self.ready.is_none() && !self.peer_done {
            if self.poll_event(cx).is_pending() {
                break;
            }
            if self.ready.is_some() || self.peer_done {
                self.waiting.wake();
            }
        }
        if self.close_sent {
            return self.poll_end(cx);
        }
        let _ = self.poll_flush(cx);
        if self.is_over() {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

/// The means to reach a driven session from elsewhere. It does not keep the session.
#[derive(Debug, Clone)]
pub struct Control {
    shared: Weak<Shared>,
}

impl Control {
    /// Ends the session with `code` and `reason` behind what waits to be written; `false` when it
    /// was ending already.
    pub fn end(&self, code: u16, reason: &str) -> bool {
        let Some(shared) = self.shared.upgrade() else {
            return false;
        };
        let mut inner = shared.lock();
        let is_first = inner.ending.is_none();
        let close = Close::new(code, reason.to_owned());
        inner.close(&close, Initiator::Embedder, Cause::Ended);
        is_first
    }

    /// Has the session look at the clock: the time that [`super::Observer::deadline`] told has come.
    pub fn wake(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.lock().wake_driver();
        }
    }

    /// How the session ends, once its end has begun.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.shared.upgrade()?.lock().ending.clone()
    }

    /// A half that sends, while there is a session.
    #[must_use]
    pub fn sender(&self) -> Option<SendHalf> {
        let shared = self.shared.upgrade()?;
        Some(SendHalf { shared })
    }
}
