//! A mailbox that is not emptied on purpose.

use std::task::{Context, Poll};

use super::Mailbox;

impl Mailbox {
    /// Ready once so much waits that it has to be sent soon: half of what may. Else who polls is woken with
    /// the next that is left.
    pub(crate) fn poll_filling(&self, cx: &Context<'_>) -> Poll<()> {
        let mut inner = self.lock();
        let notices = inner.rare.as_ref().map_or(0, |rare| rare.bytes);
        let bytes = (inner.waiting.bytes() + notices) as u64;
        if bytes >= self.plan.push.outbox / 2 {
            return Poll::Ready(());
        }
        match &mut inner.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}
