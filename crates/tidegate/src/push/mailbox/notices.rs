//! Frames without a number: what is true now, and not kept.

use tidegate_ws::Message;

use super::queue::RUSH;
use super::{Inner, Mailbox, Offered};
use crate::session::Cause;

impl Mailbox {
    /// Whether little enough waits of what has no number that more may be left which is not urgent, or
    /// nothing is sent any more.
    pub(in crate::push) fn has_room_for_notices(&self) -> bool {
        let inner = self.lock();
        let held = inner.rare.as_ref().map_or(0, |rare| rare.bytes);
        inner.is_over || held as u64 <= self.plan.push.outbox / 2
    }

    /// Leaves a frame that has no number. None can be missed: where there is no room for one more, the
    /// session is ended.
    pub(in crate::push) fn notify(&self, notice: &Message) -> Offered {
        let mut inner = self.lock();
        if inner.is_over {
            return Offered::Closing;
        }
        let held = inner.rare.as_ref().map_or(0, |rare| rare.bytes);
        let bytes = held + notice.payload().len();
        if held > 0 && bytes as u64 > self.plan.push.outbox.saturating_mul(RUSH) {
            inner.is_over = true;
            if let Some(handle) = &inner.seat {
                handle.order(Cause::SlowConsumer);
            }
            return Offered::Overflowed;
        }
        let rare = inner.rare.get_or_insert_default();
        rare.bytes = bytes;
        rare.notices.push_back(notice.clone());
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
        Offered::Queued
    }
}

impl Inner {
    pub(super) fn has_notice(&self) -> bool {
        let rare = self.rare.as_ref();
        rare.is_some_and(|rare| !rare.notices.is_empty())
    }

    pub(super) fn take_notice(&mut self) -> Option<Message> {
        let rare = self.rare.as_mut()?;
        let frame = rare.notices.pop_front()?;
        rare.bytes = rare.bytes.saturating_sub(frame.payload().len());
        if rare.is_nothing() {
            self.rare = None;
        }
        Some(frame)
    }
}
