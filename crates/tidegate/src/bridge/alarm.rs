//! The timer of a session.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::session::clock::Clock;
use crate::session::handle::Handle;

/// What is farther away is left to the worker's clock, which costs an idle session nothing.
const NEAR: Duration = Duration::from_secs(2);

/// The one timer of a session, there while its time is near. It is set anew where it would ring too late;
/// where it rings too early it goes on, so that nothing is done to it for each message.
#[derive(Default)]
pub(super) struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Ready once it is `time`; without one, never. The session of `handle` polls it again whenever that
    /// is told that it is overdue.
    pub(super) fn poll(
        &mut self,
        time: Option<Instant>,
        (handle, clock): (&Handle, &Clock),
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let Some(time) = time else {
            return Poll::Pending;
        };
        let now = Instant::now();
        if let Some(near) = time.checked_sub(NEAR).filter(|near| *near > now) {
            self.0 = None;
            handle.bring_forward(clock.second_of(near));
            return Poll::Pending;
        }
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
