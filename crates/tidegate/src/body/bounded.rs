//! A body that is cut when it is longer, or takes longer, than allowed.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::{Body, Part, Pulled, Stream};
use crate::http1::body::BodyFailure;

/// A body of at most so many bytes, and maybe of so much time.
pub(crate) struct Bounded {
    inner: Body,
    left: u64,
    limit: u64,
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Bounded {
    /// At most `limit` bytes of `inner`.
    pub(crate) const fn new(inner: Body, limit: u64) -> Self {
        Self {
            inner,
            left: limit,
            limit,
            deadline: None,
        }
    }

    /// All of it must have come after so long from now.
    pub(crate) fn within(mut self, time: Duration) -> Self {
        self.deadline = Some(Box::pin(sleep(time)));
        self
    }

    /// The body without its bounds.
    pub(crate) fn into_inner(self) -> Body {
        self.inner
    }
}

impl Stream for Bounded {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let Poll::Ready(part) = self.inner.poll_part(cx) else {
            let Some(deadline) = &mut self.deadline else {
                return Poll::Pending;
            };
            ready!(deadline.as_mut().poll(cx));
            return Poll::Ready(Some(Err(BodyFailure::Slow.into())));
        };
        if let Some(Ok(Part::Data(data))) = &part {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    let limit = self.limit;
                    return Poll::Ready(Some(Err(BodyFailure::TooLarge { limit }.into())));
                }
            }
        }
        Poll::Ready(part)
    }

    fn poll_aside(&mut self, cx: &mut Context<'_>) {
        self.inner.poll_aside(cx);
    }

    fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_settle(cx)
    }

    fn length(&self) -> Option<u64> {
        self.inner.length()
    }
}
