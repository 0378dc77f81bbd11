//! How a driver is woken when a time has come.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use super::inner::Inner;
use super::timers::Due;

/// The one deadline of a session: a timer of its own, made when it is first needed, or the
/// embedder's.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    at: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Alarm {
    /// Ready with what is due. It looks at the clock only if a time may have come, or a deadline may
    /// have moved.
    pub(super) fn poll(
        &mut self,
        inner: &mut Inner,
        is_new_waker: bool,
        cx: &mut Context<'_>,
    ) -> Poll<Due> {
        let rings = std::mem::take(&mut inner.look) | self.rings();
        if inner.timers.take_stale() | rings {
            let config = Arc::clone(&inner.config);
            if let Some(due) = inner.timers.review(Instant::now(), inner.state(&config)) {
                inner.timers.stale();
                return Poll::Ready(due);
            }
            let at = inner.timers.next(inner.state(&config));
            self.set(at, inner, cx);
        } else if is_new_waker && let Some(sleep) = &mut self.sleep {
            // Elapsed just now, it rings in the next turn.
            if sleep.as_mut().poll(cx).is_ready() {
                inner.calls.driver();
            }
        }
        Poll::Pending
    }

    /// Whether the time that was waited for has come.
    pub(super) fn rings(&self) -> bool {
        self.at.is_some() && self.sleep.as_ref().is_some_and(|sleep| sleep.is_elapsed())
    }

    fn set(&mut self, at: Option<Instant>, inner: &mut Inner, cx: &mut Context<'_>) {
        if at == self.at {
            return;
        }
        self.at = at;
        if let Some(observer) = &inner.observer
            && observer.keeps_time()
        {
            return observer.deadline(at.map(Instant::into_std));
        }
        let Some(at) = at else { return };
        let sleep = match &mut self.sleep {
            Some(sleep) => {
                sleep.as_mut().reset(at);
                sleep
            }
            none => none.insert(Box::pin(sleep_until(at))),
        };
        if sleep.as_mut().poll(cx).is_ready() {
            inner.calls.driver();
        }
    }
}
