//! What a client missed elsewhere is left in its mailbox at once, ahead of all that waits there.

use std::sync::Arc;

use tokio::time::Instant;

use super::queue::{Ack, Item};
use super::{Inner, Mailbox, Replayed};
use crate::bus::Position;
use crate::push::parcel::Parcel;

impl Mailbox {
    /// Leaves `parcels`, which are all that stands in its user's history up to `end` and its client has
    /// not, and the next that is sent. What waits of them already, or comes yet, is left out; the rest of
    /// what waits comes behind them.
    pub(crate) fn replay(&self, parcels: &[Arc<Parcel>], end: Position) {
        let mut inner = self.lock();
        let waiting = std::mem::take(&mut inner.waiting);
        // What was not sent has a number that nobody knows.
        if let Some(first) = waiting.front() {
            inner.seq = first.seq - 1;
        }
        let ids = parcels.iter().map(|parcel| parcel.id).collect();
        inner.rare.get_or_insert_default().replayed = Some(Replayed { end, ids });
        let (mut known, others): (Vec<_>, Vec<_>) = waiting
            .into_iter()
            .partition(|item| inner.has_replayed(&item.parcel));
        for parcel in parcels {
            let is_it = |item: &Item| item.parcel.id == parcel.id;
            // Whoever waits for word of it goes on to.
            let mut item = match known.iter().position(is_it) {
                Some(place) => known.swap_remove(place),
                None => Item {
                    seq: 0,
                    parcel: Arc::clone(parcel),
                    since: Instant::now(),
                    ack: Ack::Untold,
                },
            };
            item.seq = inner.next_seq();
            // They are sent as what is sent again: their bound is another than that of what waits.
            inner.unacked.push(item);
        }
        for mut item in others {
            item.seq = inner.next_seq();
            inner.waiting.push(item);
        }
        let waker = inner.waker.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Inner {
    /// Whether it was left here with what its client had missed.
    pub(super) fn has_replayed(&self, parcel: &Parcel) -> bool {
        let replayed = self.rare.as_ref().and_then(|rare| rare.replayed.as_ref());
        replayed.is_some_and(|replayed| {
            let is_before = |place| place <= &replayed.end;
            parcel.position().is_some_and(is_before) || replayed.ids.contains(&parcel.id)
        })
    }

    const fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }
}
