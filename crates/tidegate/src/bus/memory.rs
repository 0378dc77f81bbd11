//! The bus of one process: an event is with its subscribers before `publish` is ready.

use std::collections::HashMap;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;

use super::history::History;
use super::{Bounds, BusError, Event, EventBus, Position, Replay, Subscriber, Subscription};
use crate::config::plan::BusHistory;

/// Carries events within a process. Nothing of it outlives the process, and who subscribes later does
/// not see what was before; resumable pushes to users are kept for a while, and can be
/// [asked for](EventBus::replay).
#[derive(Debug)]
pub struct MemoryBus {
    subscribers: Mutex<Subscribers>,
    /// How many topics anybody subscribes to.
    watched: AtomicUsize,
    /// Locked after `subscribers`, where both are.
    history: Option<Mutex<History>>,
}

/// By topic.
type Subscribers = HashMap<Box<str>, Vec<Arc<Subscriber>>>;

/// Keeps what [`BusHistory::default`] says.
impl Default for MemoryBus {
    fn default() -> Self {
        Self::new(Some(BusHistory::default()))
    }
}

impl MemoryBus {
    /// One that keeps so much; with `None` nothing, and nobody resumes by it.
    #[must_use]
    pub fn new(history: Option<BusHistory>) -> Self {
        Self {
            subscribers: Mutex::default(),
            watched: AtomicUsize::new(0),
            history: history.map(|plan| Mutex::new(History::new(plan))),
        }
    }

    fn history(&self) -> Option<MutexGuard<'_, History>> {
        let history = self.history.as_ref()?;
        Some(history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Hands an event to all who subscribe to its topic, at once.
    ///
    /// # Errors
    /// [`BusError::Full`] when one of them holds back and has no room; then nobody gets it.
    pub fn offer(&self, event: Event) -> Result<(), BusError> {
        let topic = Arc::clone(&event.topic);
        let mut subscribers = self.admitting(&event)?;
        let event = match self.history() {
            Some(mut history) => history.place(event),
            None => Arc::new(Event {
                position: None,
                ..event
            }),
        };
        self.leave(&mut subscribers, &topic, &event);
        Ok(())
    }

    /// The same for an event of another bus, whose subscribers in this process these are: it is left as it
    /// is, and not kept.
    ///
    /// # Errors
    /// As those of [`MemoryBus::offer`].
    pub fn relay(&self, event: &Arc<Event>) -> Result<(), BusError> {
        let mut subscribers = self.admitting(event)?;
        self.leave(&mut subscribers, &event.topic, event);
        Ok(())
    }

    /// Something that belongs into the history may have been missed: what is kept is forgotten, and
    /// nobody resumes behind a position that was given until now.
    pub(crate) fn begin_anew(&self) {
        if let Some(mut history) = self.history() {
            history.begin_anew();
        }
    }

    /// All subscribers, locked, so that all see events in one order.
    fn admitting(&self, event: &Event) -> Result<MutexGuard<'_, Subscribers>, BusError> {
        let subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for subscriber in subscribers.get(&*event.topic).into_iter().flatten() {
            subscriber.admits(event)?;
        }
        Ok(subscribers)
    }

    fn leave(&self, subscribers: &mut Subscribers, topic: &str, event: &Arc<Event>) {
        let Some(these) = subscribers.get_mut(topic) else {
            return;
        };
        these.retain(|subscriber| subscriber.offer(event));
        if these.is_empty() {
            subscribers.remove(topic);
        }
        self.watched.store(subscribers.len(), Ordering::Release);
    }
}

impl EventBus for MemoryBus {
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(ready(self.offer(event)))
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        let (subscriber, subscription) = Subscription::channel();
        let mut subscribers = self
            .subscribers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let subscriber = Arc::new(subscriber);
        for topic in topics {
            let these = subscribers.entry((*topic).into()).or_default();
            these.retain(|one| !one.is_left());
            these.push(Arc::clone(&subscriber));
        }
        self.watched.store(subscribers.len(), Ordering::Release);
        drop(subscribers);
        subscription
    }

    fn replay(
        &self,
        topic: &str,
        key: &str,
        after: &Position,
        most: Bounds,
    ) -> BoxFuture<'_, Result<Replay, BusError>> {
        let replay = match self.history() {
            Some(mut history) => history.replay(topic, key, after, most),
            None => Replay::incomplete(),
        };
        Box::pin(ready(Ok(replay)))
    }

    fn end(&self, _topic: &str, _key: &str) -> Option<Position> {
        // Whatever has its place is with those who subscribe.
        let _subscribers = self.subscribers.lock();
        self.history().map(|history| history.end())
    }

    fn is_watched(&self, topic: &str) -> bool {
        // Where nobody subscribes to anything there is nothing to lock.
        if self.watched.load(Ordering::Acquire) == 0 {
            return false;
        }
        let subscribers = self.subscribers.lock();
        let subscribers = subscribers.unwrap_or_else(PoisonError::into_inner);
        let these = subscribers.get(topic);
        these.is_some_and(|these| these.iter().any(|one| !one.is_left()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::super::{Payload, Received, UserConnected};
    use super::*;

    fn event(topic: &str, user: &str) -> Event {
        let payload = Payload::UserConnected(UserConnected {
            user: user.into(),
            roles: [].into(),
        });
        Event::now(topic.into(), Some(user.into()), payload)
    }

    /// What is there: users, and how many were missed.
    fn received(subscription: &mut Subscription) -> Vec<String> {
        let received = std::iter::from_fn(|| subscription.try_receive());
        let told = received.map(|one| match one {
            Received::Event(event) => event.key.clone().unwrap().into(),
            Received::Missed(count) => format!("missed {count}"),
        });
        told.collect()
    }

    #[test]
    fn every_subscriber_of_a_topic_sees_what_comes_after_it_in_one_order() {
        let bus = MemoryBus::default();
        bus.offer(event("a", "before")).unwrap();
        let (mut one, mut two) = (bus.subscribe("a"), bus.subscribe("a"));
        let mut other = bus.subscribe("b");
        for user in ["u1", "u2"] {
            let published = bus.publish(event("a", user)).now_or_never();
            assert_eq!(published, Some(Ok(())), "{user}");
        }
        assert_eq!(received(&mut one), ["u1", "u2"]);
        assert_eq!(received(&mut two), ["u1", "u2"]);
        assert_eq!(received(&mut other), Vec::<String>::new());
    }

    #[test]
    fn who_does_not_keep_up_is_told_how_many_it_missed_and_where() {
        let bus = MemoryBus::default();
        let mut slow = bus.subscribe("a");
        let publish = |count: usize, user: &str| {
            for _ in 0..count {
                bus.offer(event("a", user)).unwrap();
            }
        };
        publish(16_384 + 3, "u1");
        let first = slow.try_receive();
        assert!(matches!(first, Some(Received::Event(_))), "{first:?}");
        publish(2, "u2");
        let received = received(&mut slow);
        assert_eq!(received.len(), 16_383 + 1);
        assert_eq!(received[16_383], "missed 5");
        publish(1, "u3");
        assert!(matches!(slow.try_receive(), Some(Received::Event(_))));
    }

    #[test]
    fn what_one_who_holds_back_has_no_room_for_is_refused_and_nobody_sees_it() {
        let bus = MemoryBus::default();
        let mut needs_all = bus.subscribe("a").holding_back();
        let mut looks_on = bus.subscribe("a");
        for _ in 0..16_384 {
            bus.offer(event("a", "u1")).unwrap();
            looks_on.try_receive().unwrap();
        }
        assert_eq!(bus.offer(event("a", "u2")), Err(BusError::Full));
        assert_eq!(received(&mut looks_on), Vec::<String>::new());
        needs_all.try_receive().unwrap();
        assert_eq!(bus.offer(event("a", "u3")), Ok(()));
        assert_eq!(received(&mut looks_on), ["u3"]);
        drop(needs_all);
        assert_eq!(bus.offer(event("a", "u4")), Ok(()));
    }

    #[tokio::test]
    async fn who_waits_is_woken_and_told_of_the_end() {
        let bus = Arc::new(MemoryBus::default());
        let mut subscription = bus.subscribe("a");
        let publisher = Arc::clone(&bus);
        let publishing = std::thread::spawn(move || publisher.offer(event("a", "u1")));
        let received = subscription.receive().await;
        assert!(matches!(received, Some(Received::Event(_))), "{received:?}");
        assert_eq!(publishing.join().unwrap(), Ok(()));
        let gone = std::thread::spawn(move || drop(bus));
        assert!(subscription.receive().await.is_none());
        gone.join().unwrap();
    }

    #[test]
    fn nothing_is_kept_of_subscribers_that_are_gone() {
        let bus = MemoryBus::default();
        for _ in 0..100 {
            let _gone = bus.subscribe("a");
        }
        bus.offer(event("a", "u1")).unwrap();
        assert_eq!(bus.subscribers.lock().unwrap().len(), 0);
    }
}
