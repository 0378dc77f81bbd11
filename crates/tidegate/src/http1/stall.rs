//! How long a peer may take nothing of what is written to it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use crate::transport::Delivery;

/// How often within its time a peer that takes nothing is looked after.
const LOOKS: u32 = 4;

/// A stall that may be under way. It is up to one look longer than the time that it is given.
#[derive(Debug)]
pub(super) struct Stall {
    time: Duration,
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    delivery: Option<Delivery>,
    timer: Pin<Box<Sleep>>,
}

impl Stall {
    /// A peer that may take nothing for `time`.
    pub(super) const fn new(time: Duration) -> Self {
        Self {
            time,
            waiting: None,
        }
    }

    /// The peer has taken something.
    pub(super) fn is_over(&mut self) {
        self.waiting = None;
    }

    /// Whether the peer has taken nothing for too long, as far as `delivery` tells.
    pub(super) fn poll_end(
        &mut self,
        delivery: impl Fn() -> Option<Delivery>,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let look = self.time / LOOKS;
        let waiting = self.waiting.get_or_insert_with(|| Waiting {
            since: Instant::now(),
            delivery: delivery(),
            timer: Box::pin(sleep(look)),
        });
        loop {
            ready!(waiting.timer.as_mut().poll(cx));
            let now = Instant::now();
            let delivery = delivery();
            if delivery != waiting.delivery {
                (waiting.since, waiting.delivery) = (now, delivery);
            } else if now - waiting.since >= self.time {
                return Poll::Ready(());
            }
            waiting.timer.as_mut().reset(now + look);
        }
    }
}
