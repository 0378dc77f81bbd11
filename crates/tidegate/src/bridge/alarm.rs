//! The timer of a session.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// The one timer of a session, made when it is first needed. It is set anew where it would ring too late;
/// where it rings too early it goes on, so that nothing is done to it for each message.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once it is `time`; without one, never.
    pub(super) fn poll(&mut self, time: Option<Instant>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(time) = time else {
            return Poll::Pending;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(time)));
        if sleep.deadline() > time {
            sleep.as_mut().reset(time);
        }
        while sleep.deadline() < time {
            ready!(sleep.as_mut().poll(cx));
            sleep.as_mut().reset(time);
        }
        sleep.as_mut().poll(cx)
    }
}
