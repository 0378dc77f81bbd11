//! What looks after a session while its handler runs.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker, ready};

use tokio::io::{AsyncRead, AsyncWrite};

use super::alarm::Alarm;
use super::config::{Opening, SessionConfig};
use super::ending::{Cause, Ending, Initiator};
use super::inner::Inner;
use super::shared::Shared;
use super::timers::Due;
use super::{SendHalf, WebSocketSession};
use crate::error::BoxError;
use crate::handler::WebSocketHandler;
use crate::message::Close;

/// Runs `handler` on a session over `io`, and looks after the session until it is over: pings are
/// answered, timeouts kept, the closing handshake done, whatever the handler awaits.
///
/// When the handler returns, the session closes with 1000, after an error or a panic with 1011.
/// When the session ends first, the handler may run on for
/// [`SessionConfig::handler_grace`].
///
/// Dropped, it drops the handler and the connection.
pub fn run<I, O, H>(
    io: I,
    opening: O,
    config: Arc<SessionConfig>,
    handler: H,
) -> impl Future<Output = Ending> + Send
where
    O: Into<Opening>,
    I: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    H: WebSocketHandler,
{
    let (session, mut driver) = Driver::start(io, opening, config);
    // What is captured is used where it is: the session goes into the handler's future, which is
    // there once.
    async move {
        let mut future = pin!(driver.begin(|| handler.handle(session)));
        poll_fn(|cx| driver.poll(future.as_mut(), cx)).await
    }
}

/// What looks after a session. Dropped, it drops the connection.
#[derive(Debug)]
pub struct Driver {
    shared: Arc<Shared>,
    alarm: Alarm,
    /// The one that the session has.
    waker: Option<Waker>,
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
        shared.locked(Inner::begin_to_be_driven);
        let alarm = Alarm::default();
        let driver = Self {
            shared,
            alarm,
            waker: None,
        };
        (session, driver)
    }

    /// The means to end the session from elsewhere.
    #[must_use]
    pub fn control(&self) -> Control {
        Control {
            shared: Arc::downgrade(&self.shared),
        }
    }

    /// As [`run`], with what the handler does.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn would hold its arguments twice"
    )]
    pub fn run<F, H>(mut self, handle: H) -> impl Future<Output = Ending>
    where
        F: Future<Output = Result<(), BoxError>>,
        H: FnOnce() -> F,
    {
        async move {
            let mut future = pin!(self.begin(handle));
            poll_fn(|cx| self.poll(future.as_mut(), cx)).await
        }
    }

    fn begin<F>(&self, handle: impl FnOnce() -> F) -> Option<F> {
        let future = catch_unwind(AssertUnwindSafe(handle)).ok();
        if future.is_none() {
            self.handler_ended(Cause::HandlerPanicked);
        }
        future
    }

    fn poll<F>(&mut self, mut handler: Pin<&mut Option<F>>, cx: &mut Context<'_>) -> Poll<Ending>
    where
        F: Future<Output = Result<(), BoxError>>,
    {
        self.poll_handler(handler.as_mut(), cx);
        Poll::Ready(match ready!(self.poll_session(handler.is_none(), cx)) {
            Some(ending) => ending,
            None => {
                // Its session is over, and so is its time.
                handler.set(None);
                self.shared.locked(|inner| inner.final_ending())
            }
        })
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
            Ok(Poll::Ready(Err(error))) => {
                let observer = self.shared.locked(|inner| inner.observer.clone());
                if let Some(observer) = observer {
                    observer.failed(&*error);
                }
                Cause::HandlerFailed
            }
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
        self.shared
            .locked(|inner| inner.close(close, Initiator::Handler, cause));
    }

    /// Ready with how the session ended; with nothing, if the handler has outlived it for too long.
    fn poll_session(&mut self, is_alone: bool, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        let is_tidy = self.shared.end_turn();
        let is_new = !self
            .waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()));
        if is_tidy && !is_new && !is_alone && !self.alarm.rings() {
            return Poll::Pending;
        }
        let (alarm, known) = (&mut self.alarm, &mut self.waker);
        let mut spent = None;
        let mut old = None;
        self.shared.locked(|inner| {
            if is_new {
                *known = Some(cx.waker().clone());
                old = inner.driver.replace(cx.waker().clone());
            }
            let foreign = inner.waiting.enter_driver(cx, &mut spent);
            let waker = foreign.as_ref().unwrap_or(cx.waker());
            loop {
                let over = inner.drive(&mut Context::from_waker(waker));
                if over.is_ready() && is_alone {
                    return Poll::Ready(Some(inner.final_ending()));
                }
                match ready!(alarm.poll(inner, is_new, cx)) {
                    Due::Grace => return Poll::Ready(None),
                    due => inner.overdue(due),
                }
            }
        })
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let spent = self.shared.locked(|inner| {
            if !inner.is_over() {
                inner.dropped();
            }
            (inner.driver.take(), inner.waiting.leave_driver())
        });
        drop(spent);
    }
}

impl Inner {
    fn drive(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let received = std::mem::take(&mut self.received);
        if self.is_over() {
            return Poll::Ready(());
        }
        if self.close_sent {
            return self.poll_end(cx);
        }
        // The receiver found nothing in this turn, and waits; or it is elsewhere.
        if !received {
            self.read_ahead(cx);
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
    /// was ending already. Codes are those of [`WebSocketSession::close`].
    pub fn end(&self, code: u16, reason: &str) -> bool {
        let Some(shared) = self.shared.upgrade() else {
            return false;
        };
        let close = Close::new(code, reason.to_owned());
        shared.locked(|inner| {
            let is_first = inner.ending.is_none() && inner.broken.is_none();
            inner.close(close, Initiator::Embedder, Cause::Ended);
            is_first
        })
    }

    /// How the session ended, once its end has begun, and while somebody holds it.
    #[must_use]
    pub fn ending(&self) -> Option<Ending> {
        self.shared.upgrade()?.locked(|inner| inner.ending())
    }

    /// Has the session look at the clock: the time that [`super::Observer::deadline`] told has come.
    pub fn wake(&self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.locked(|inner| {
                inner.look = true;
                inner.calls.driver();
            });
        }
    }

    /// A half that sends, while there is a session.
    #[must_use]
    pub fn sender(&self) -> Option<SendHalf> {
        let shared = self.shared.upgrade()?;
        Some(SendHalf::new(shared))
    }
}
