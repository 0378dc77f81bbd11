//! What is told on the bus of sessions and users, without anybody waiting for it: workers leave events
//! in a queue, and a thread of its own publishes them one by one.
//!
//! A bus that takes nothing fills the queue. What opens then is told of neither at its opening nor at
//! its end, so that of what is told the two always go together; and what is left for those ends is no
//! more than there are sessions.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime};

use tokio::runtime::Builder;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Roles;
use crate::bus::{
    BusError, Event, EventBus, EventId, MemoryBus, Payload, SessionClosed, SessionOpened, Topics,
    UserConnected, UserDisconnected,
};
use crate::cluster::{Cluster, Entry, Facts};
use crate::config::plan::BusPlan;
use crate::session::handle::Handle;
use crate::session::{Cause, Initiator};

/// Events that may wait for the bus before nothing more is told of what opens.
const MOST_WAITING: usize = 65_536;
/// How long after a failure an event is published again, at first and at most.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// How long what is left is published when the gateway has ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Tells others.
#[derive(Debug)]
pub(crate) struct Teller {
    bus: Arc<dyn EventBus>,
    /// Who knows whether a user is on other nodes too, where there may be some.
    cluster: Option<Arc<Cluster>>,
    node: Arc<str>,
    topics: Topics,
    waiting: Mutex<VecDeque<Event>>,
    arrived: Notify,
    /// Sessions and users of whom nothing is told, because nothing more could wait.
    untold: AtomicU64,
    /// Nothing more is told.
    over: CancellationToken,
}

/// The thread that publishes; dropped, it publishes what is left and ends.
#[derive(Debug)]
pub(crate) struct Telling {
    thread: Option<JoinHandle<()>>,
    ended: CancellationToken,
}

impl Default for Teller {
    fn default() -> Self {
        Self::new(Arc::new(MemoryBus::default()), &BusPlan::default(), None)
    }
}

impl Teller {
    pub(crate) fn new(
        bus: Arc<dyn EventBus>,
        plan: &BusPlan,
        cluster: Option<Arc<Cluster>>,
    ) -> Self {
        Self {
            bus,
            cluster,
            node: Arc::clone(&plan.node),
            topics: plan.topics.clone(),
            waiting: Mutex::default(),
            arrived: Notify::new(),
            untold: AtomicU64::new(0),
            over: CancellationToken::new(),
        }
    }

    /// What carries the events.
    pub(crate) const fn bus(&self) -> &Arc<dyn EventBus> {
        &self.bus
    }

    /// The name of this node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// This node in its cluster, where there is one.
    pub(crate) const fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.as_ref()
    }

    /// What their topics are called.
    pub(crate) const fn topics(&self) -> &Topics {
        &self.topics
    }

    /// Waits until nothing more is told, and all that was has been published.
    pub(crate) fn over(&self) -> impl Future<Output = ()> + Send + use<> {
        self.over.clone().cancelled_owned()
    }

    /// Of how many sessions and users nothing was told.
    pub(crate) fn untold(&self) -> u64 {
        self.untold.load(Ordering::Relaxed)
    }

    /// Whether something that opens now can be told of; it is counted where it cannot.
    pub(super) fn has_room(&self) -> bool {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let has_room = waiting.len() < MOST_WAITING;
        drop(waiting);
        if !has_room && self.untold.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::error!("the bus takes no events: of some sessions nothing is told");
        }
        has_room
    }

    /// A session has opened.
    pub(super) fn opened(&self, handle: &Arc<Handle>, roles: &Roles) {
        self.reopened(handle, roles);
        if let Some(cluster) = &self.cluster {
            cluster.entered(handle, roles);
        }
    }

    /// The same of one of which others have told that it closed.
    pub(crate) fn reopened(&self, handle: &Handle, roles: &Roles) {
        if !handle.is_told() {
            return;
        }
        self.tell(&self.topics.sessions, handle.facts.user(), || {
            Payload::SessionOpened(SessionOpened {
                session: handle.id.to_string().into(),
                user: handle.facts.user().map(Arc::from),
                roles: Arc::clone(roles),
                node: Arc::clone(&self.node),
                route: handle.facts.route_name(),
                client: handle.facts.client(),
            })
        });
    }

    /// It is known only now whose session this is.
    pub(super) fn identified(&self, handle: &Arc<Handle>, roles: &Roles) {
        if let Some(cluster) = &self.cluster {
            cluster.entered(handle, roles);
        }
    }

    /// A session has closed. One that was cut has no end of its own.
    pub(super) fn closed(&self, handle: &Arc<Handle>, roles: &Roles) {
        self.tell_closed(handle, roles);
        if let Some(cluster) = &self.cluster {
            cluster.left(handle);
        }
    }

    fn tell_closed(&self, handle: &Handle, roles: &Roles) {
        if !handle.is_told() {
            return;
        }
        let (code, cause, initiator) =
            handle
                .end()
                .unwrap_or((1006, Cause::Internal, Initiator::Gateway));
        let named = |event: Event| match &self.cluster {
            // Others tell it too, where this node is taken for gone.
            Some(cluster) => Event {
                id: EventId::derived("closed", cluster.incarnation(), &handle.id.to_string()),
                ..event
            },
            None => event,
        };
        self.tell_as(&self.topics.sessions, handle.facts.user(), named, || {
            Payload::SessionClosed(SessionClosed {
                session: handle.id.to_string().into(),
                user: handle.facts.user().map(Arc::from),
                roles: Arc::clone(roles),
                node: Arc::clone(&self.node),
                route: handle.facts.route_name(),
                cause,
                initiator,
                code,
                duration: handle.lasted(),
            })
        });
    }

    /// The first session of a user here has opened.
    pub(super) fn connected(&self, user: &str, roles: &Roles) {
        if self.cluster.is_none() {
            self.tell_online(user, roles, |event| event);
        }
    }

    /// The first session of a user in all of the cluster has opened, at that time.
    pub(crate) fn online(&self, user: &str, roles: &Roles, time: SystemTime) {
        self.tell_online(user, roles, |event| Event { time, ..event });
    }

    fn tell_online(&self, user: &str, roles: &Roles, named: impl FnOnce(Event) -> Event) {
        self.tell_as(&self.topics.user_connect, Some(user), named, || {
            Payload::UserConnected(UserConnected {
                user: user.into(),
                roles: Arc::clone(roles),
            })
        });
    }

    /// The last session here of its user, which was told of, has closed.
    pub(super) fn disconnected(&self, last: &Handle) {
        if self.cluster.is_none() {
            self.tell_offline(last, |event| event);
        }
    }

    /// The last session of its user in all of the cluster has closed, at that time.
    pub(crate) fn offline(&self, last: &Handle, incarnation: u64, time: SystemTime) {
        let id = EventId::derived("offline", incarnation, &last.id.to_string());
        self.tell_offline(last, |event| Event { id, time, ..event });
    }

    fn tell_offline(&self, last: &Handle, named: impl FnOnce(Event) -> Event) {
        let Some(identity) = last.identity() else {
            return;
        };
        let cause = last.end().map(|(_, cause, _)| cause);
        let user = identity.user();
        self.tell_as(&self.topics.user_disconnect, Some(user), named, || {
            Payload::UserDisconnected(UserDisconnected {
                user: user.into(),
                token: identity.token().copied(),
                is_timeout: cause == Some(Cause::IdleTimeout),
            })
        });
    }

    /// The same, where nothing but what the store knows is left of it.
    pub(crate) fn offline_of(&self, last: &Entry, incarnation: u64, time: SystemTime) {
        let Some(user) = last.user.as_deref() else {
            return;
        };
        let id = EventId::derived("offline", incarnation, &last.session);
        let named = |event: Event| Event { id, time, ..event };
        self.tell_as(&self.topics.user_disconnect, Some(user), named, || {
            Payload::UserDisconnected(UserDisconnected {
                user: user.into(),
                token: Facts::parse(last).and_then(|facts| facts.token),
                is_timeout: false,
            })
        });
    }

    fn tell(&self, topic: &Arc<str>, user: Option<&str>, payload: impl FnOnce() -> Payload) {
        self.tell_as(topic, user, |event| event, payload);
    }

    fn tell_as(
        &self,
        topic: &Arc<str>,
        user: Option<&str>,
        named: impl FnOnce(Event) -> Event,
        payload: impl FnOnce() -> Payload,
    ) {
        if !self.bus.is_watched(topic) {
            return;
        }
        let (topic, key, payload) = (Arc::clone(topic), user.map(Box::from), payload());
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Named in the order in which they are published.
        waiting.push_back(named(Event::now(topic, key, payload)));
        drop(waiting);
        self.arrived.notify_one();
    }

    fn next(&self) -> Option<Event> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let event = waiting.pop_front();
        if event.is_none() {
            // What a rush took is given back.
            waiting.shrink_to(64);
        }
        event
    }

    /// Publishes on a thread of its own until the result is dropped.
    pub(crate) fn start(self: &Arc<Self>) -> io::Result<Telling> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = CancellationToken::new();
        let (teller, end) = (Arc::clone(self), ended.clone());
        let run = move || {
            runtime.block_on(teller.run(&end));
            teller.over.cancel();
        };
        let thread = thread::Builder::new().name("tidegate-events".into());
        Ok(Telling {
            thread: Some(thread.spawn(run)?),
            ended,
        })
    }

    async fn run(&self, end: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = end.cancelled() => break,
                () = self.arrived.notified() => {}
            }
            while let Some(event) = self.next() {
                self.publish(event, end).await;
            }
        }
        let deadline = Instant::now() + LAST_WORDS;
        while let Some(event) = self.next() {
            let published = timeout_at(deadline, self.bus.publish(event)).await;
            if !matches!(published, Ok(Ok(()))) {
                let left = self.waiting.lock().map_or(0, |waiting| waiting.len()) + 1;
                tracing::error!(left, "the bus takes no events: the last ones are not told");
                break;
            }
        }
    }

    /// Publishes one event, however long that takes, so that those behind it stay behind it.
    async fn publish(&self, event: Event, end: &CancellationToken) {
        let mut pause = RETRY.0;
        loop {
            let error = match self.bus.publish(event.clone()).await {
                Ok(()) => return,
                Err(error @ BusError::TooBig) => {
                    tracing::error!(%error, "an event is not told");
                    return;
                }
                Err(error) => error,
            };
            tracing::warn!(%error, "an event is not published yet");
            tokio::select! {
                () = sleep(pause) => pause = (pause * 2).min(RETRY.1),
                () = end.cancelled() => {
                    let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                    waiting.push_front(event);
                    return;
                }
            }
        }
    }
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.ended.cancel();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing left to publish.
            let _ = thread.join();
        }
    }
}
