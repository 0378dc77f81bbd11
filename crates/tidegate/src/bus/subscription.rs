//! Events on their way to one who looks on: a queue with a bound, and a note where there was no room.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use super::{BusError, Event, Standing};

/// Events, and bytes of them, that wait for one subscriber.
const MOST_EVENTS: usize = 16_384;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// What a subscriber gets.
#[derive(Debug, Clone)]
pub enum Received {
    /// An event.
    Event(Arc<Event>),
    /// So many events were here for which there was no room.
    Missed(u64),
}

/// Where a subscriber receives. Dropped, nothing is kept for it any more.
#[derive(Debug)]
pub struct Subscription(Arc<Queue>);

/// How much was left for one subscriber.
#[derive(Debug)]
pub(crate) struct Backlog(Arc<Queue>);

/// Where a bus leaves events for one subscriber.
#[derive(Debug)]
pub struct Subscriber(Arc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<Received>,
    bytes: usize,
    /// Events that ever found room.
    left: u64,
    /// What finds no room is refused to who publishes it.
    holds_back: bool,
    /// Copies are received too.
    has_copies: bool,
    /// Nobody receives any more.
    is_left: bool,
    /// Nobody publishes any more.
    is_over: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Whether it is received here at all.
    fn wants(&self, event: &Event) -> bool {
        !self.is_left && (self.has_copies || event.standing != Standing::Copy)
    }

    fn has_room_for(&self, event: &Event) -> bool {
        // One that is larger than all room still finds some, if it is alone.
        let fits = self.bytes == 0 || self.bytes + event.size() <= MOST_BYTES;
        self.queue.len() < MOST_EVENTS && fits
    }
}

impl Subscription {
    /// Both ends of a new one, for a bus.
    #[must_use]
    pub fn channel() -> (Subscriber, Self) {
        let queue = Arc::new(Queue::default());
        (Subscriber(Arc::clone(&queue)), Self(queue))
    }

    /// From now on whatever finds no room here is refused to who publishes it
    /// ([`BusError::Full`]), and nobody sees it: for a subscriber who must not miss anything.
    #[must_use]
    pub fn holding_back(self) -> Self {
        self.0.lock().holds_back = true;
        self
    }

    /// From now on [copies](Standing::Copy) are received too, of which all but who tells users know
    /// nothing.
    #[must_use]
    pub fn with_copies(self) -> Self {
        self.0.lock().has_copies = true;
        self
    }

    /// What tells how much was left here.
    pub(crate) fn backlog(&self) -> Backlog {
        Backlog(Arc::clone(&self.0))
    }

    /// The next event, or how many there was no room for; `None` once the bus is gone and all that was
    /// left here has been received.
    ///
    /// Dropped before it is ready, nothing is lost.
    pub async fn receive(&mut self) -> Option<Received> {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// The same, as a poll.
    pub fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Option<Received>> {
        self.0.waker.register(cx.waker());
        self.try_receive().map_or_else(
            || match self.0.lock().is_over {
                true => Poll::Ready(None),
                false => Poll::Pending,
            },
            |received| Poll::Ready(Some(received)),
        )
    }

    /// What is there already.
    pub fn try_receive(&mut self) -> Option<Received> {
        let mut waiting = self.0.lock();
        let received = waiting.queue.pop_front()?;
        if let Received::Event(event) = &received {
            waiting.bytes = waiting.bytes.saturating_sub(event.size());
        }
        if waiting.queue.is_empty() {
            // What a rush took is given back.
            waiting.queue.shrink_to(64);
        }
        Some(received)
    }
}

impl Backlog {
    /// Events that were ever left, received or not.
    pub(crate) fn left(&self) -> u64 {
        self.0.lock().left
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.is_left = true;
        let left = std::mem::take(&mut waiting.queue);
        drop(waiting);
        drop(left);
    }
}

impl Subscriber {
    /// Whether it takes this event: it has room, or does without it.
    ///
    /// # Errors
    /// When it neither has room nor does without.
    pub fn admits(&self, event: &Event) -> Result<(), BusError> {
        let waiting = self.0.lock();
        if waiting.holds_back && waiting.wants(event) && !waiting.has_room_for(event) {
            return Err(BusError::Full);
        }
        Ok(())
    }

    /// Whether nobody receives any more.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.0.lock().is_left
    }

    /// Leaves an event, or the note that there was no room for it; whether somebody still receives.
    pub fn offer(&self, event: &Arc<Event>) -> bool {
        let mut waiting = self.0.lock();
        if waiting.is_left {
            return false;
        }
        if !waiting.wants(event) {
            return true;
        }
        if waiting.has_room_for(event) {
            waiting.bytes += event.size();
            waiting.left += 1;
            waiting.queue.push_back(Received::Event(Arc::clone(event)));
        } else if let Some(Received::Missed(count)) = waiting.queue.back_mut() {
            *count += 1;
        } else {
            waiting.queue.push_back(Received::Missed(1));
        }
        drop(waiting);
        self.0.waker.wake();
        true
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.waker.wake();
    }
}
