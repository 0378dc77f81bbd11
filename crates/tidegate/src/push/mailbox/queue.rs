//! Pushes of one session, in the order of their numbers.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use crate::config::plan::BridgePush;
use crate::push::parcel::Parcel;

/// So many times what may wait may do so for a moment: a client that reads is not slow because much comes
/// at once.
pub(super) const RUSH: u64 = 8;

/// Items in the order of their numbers. Without any it holds nothing, and there is next to nothing of it.
#[derive(Debug, Default)]
pub(super) struct Queue(Option<Box<Full>>);

#[derive(Debug, Default)]
struct Full {
    items: VecDeque<Item>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) seq: u64,
    pub(super) parcel: Arc<Parcel>,
    /// When it was left, or sent.
    pub(super) since: Instant,
    pub(super) ack: Ack,
}

/// What its client has said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// Nobody waits for that.
    Untold,
    /// Nothing yet.
    Open,
    /// It has it.
    Acked,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |full| full.items.len())
    }

    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |full| full.bytes)
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Item> {
        self.0.iter().flat_map(|full| &full.items)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Item> {
        self.0.iter_mut().flat_map(|full| &mut full.items)
    }

    pub(super) fn front(&self) -> Option<&Item> {
        self.0.as_ref()?.items.front()
    }

    pub(super) fn back(&self) -> Option<&Item> {
        self.0.as_ref()?.items.back()
    }

    /// The first behind this number.
    pub(super) fn behind(&mut self, seq: u64) -> Option<&mut Item> {
        let items = &mut self.0.as_mut()?.items;
        let place = items.partition_point(|item| item.seq <= seq);
        items.get_mut(place)
    }

    /// Whether one more makes its client a slow one: it is too much, and has been for long, or it is far
    /// too much. One is taken whatever its size, when nothing waits.
    pub(super) fn is_late_for(&self, parcel: &Parcel, plan: &BridgePush) -> bool {
        let bytes = (self.bytes() + parcel.size()) as u64;
        let Some(oldest) = self.front().filter(|_| bytes > plan.outbox) else {
            return false;
        };
        bytes > plan.outbox.saturating_mul(RUSH) || oldest.since.elapsed() >= plan.slow_after
    }

    pub(super) fn push(&mut self, item: Item) {
        let full = self.0.get_or_insert_default();
        full.bytes += item.parcel.size();
        full.items.push_back(item);
    }

    pub(super) fn pop(&mut self) -> Option<Item> {
        self.take(0)
    }

    pub(super) fn pop_up_to(&mut self, seq: u64) -> Option<Item> {
        self.front().filter(|item| item.seq <= seq)?;
        self.pop()
    }

    /// Whoever waits for word from its client waits in vain.
    pub(super) fn expect_nothing(&mut self) {
        self.iter_mut().for_each(Item::settle);
    }

    /// Throws away what is of no use later.
    pub(super) fn forget_live(&mut self) {
        if let Some(full) = &mut self.0 {
            full.items.retain(|item| item.parcel.is_kept());
            full.bytes = full.items.iter().map(|item| item.parcel.size()).sum();
        }
        self.shrink();
    }

    /// Throws away the one that `parcel` replaces; whether there was one.
    pub(super) fn forget_for(&mut self, parcel: &Parcel) -> bool {
        let place = self
            .iter()
            .position(|item| item.parcel.is_replaced_by(parcel));
        place.and_then(|place| self.take(place)).is_some()
    }

    fn take(&mut self, place: usize) -> Option<Item> {
        let full = self.0.as_mut()?;
        let item = full.items.remove(place)?;
        full.bytes = full.bytes.saturating_sub(item.parcel.size());
        self.shrink();
        Some(item)
    }

    /// An idle session keeps nothing.
    fn shrink(&mut self) {
        self.0.take_if(|full| full.items.is_empty());
    }
}

impl IntoIterator for Queue {
    type Item = Item;
    type IntoIter = std::collections::vec_deque::IntoIter<Item>;

    fn into_iter(self) -> Self::IntoIter {
        let full = self.0.unwrap_or_default();
        full.items.into_iter()
    }
}

impl Item {
    fn settle(&mut self) {
        if let Some(acks) = self
            .parcel
            .acks
            .as_ref()
            .filter(|_| self.ack != Ack::Untold)
        {
            acks.settle(self.ack == Ack::Acked);
        }
        self.ack = Ack::Untold;
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        self.settle();
    }
}
