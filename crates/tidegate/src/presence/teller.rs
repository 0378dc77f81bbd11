//! What is told on the bus of sessions and users, without anybody waiting for it: workers leave events
//! in a queue, and a thread of its own publishes them.
//!
//! A bus that takes nothing fills the queue. What opens then is told of neither at its opening nor at
//! its end, so that of what is told the two always go together; and what is left for those ends is no
//! more than there are sessions.

mod outbox;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

pub(crate) use self::outbox::About;
use self::outbox::Outbox;
use super::Roles;
use crate::bus::{
    Event, EventBus, EventId, MemoryBus, Payload, SessionClosed, SessionOpened, Topics,
    UserConnected, UserDisconnected,
};
use crate::cluster::{Cluster, Ending, Entry, Facts};
use crate::config::plan::BusPlan;
use crate::session::handle::Handle;
use crate::session::{Cause, Initiator};
use crate::task::{self, Kind, Panics};

/// Tells others.
#[derive(Debug)]
pub(crate) struct Teller {
    bus: Arc<dyn EventBus>,
    /// Who knows whether a user is on other nodes too, where there may be some.
    cluster: Option<Arc<Cluster>>,
    node: Arc<str>,
    topics: Topics,
    outbox: Outbox,
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
            outbox: Outbox::default(),
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
        self.outbox.untold()
    }

    /// Events that the bus has not taken yet.
    pub(crate) fn waiting(&self) -> usize {
        self.outbox.waiting()
    }

    /// Whether a session that opens now can be told of; it is counted where it cannot.
    pub(super) fn has_room(&self) -> bool {
        self.outbox.has_room(&[About::Sessions])
    }

    /// The same of a user.
    pub(super) fn has_room_for_user(&self) -> bool {
        self.outbox.has_room(&[About::Coming, About::Going])
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
        self.tell_as(
            About::Sessions,
            handle.facts.user(),
            None,
            |event| event,
            || {
                Payload::SessionOpened(SessionOpened {
                    session: handle.id.to_string().into(),
                    user: handle.facts.user().map(Arc::from),
                    roles: Arc::clone(roles),
                    node: Arc::clone(&self.node),
                    route: handle.facts.route_name(),
                    client: handle.facts.client(),
                })
            },
        );
    }

    /// It is known only now whose session this is.
    pub(super) fn identified(&self, handle: &Arc<Handle>, roles: &Roles) {
        if let Some(cluster) = &self.cluster {
            cluster.entered(handle, roles);
        }
    }

    /// A session has closed. One that was cut has no end of its own.
    pub(super) fn closed(&self, handle: &Arc<Handle>, roles: &Roles) {
        let ending = self.ending(handle);
        self.tell_closed(handle, roles, ending.as_ref());
        if let Some(cluster) = &self.cluster {
            cluster.left(handle, ending);
        }
    }

    /// The end of a session, where others tell of it if this node cannot.
    fn ending(&self, handle: &Handle) -> Option<Arc<Ending>> {
        let cluster = self.cluster.as_ref()?;
        let user = handle.facts.user();
        let is_told = handle.is_told() && self.bus.is_watched(&self.topics.sessions)
            || user.is_some() && self.bus.is_watched(&self.topics.user_disconnect);
        is_told.then(|| cluster.ending(handle.id.to_string().into(), user.map(Box::from)))
    }

    fn tell_closed(&self, handle: &Handle, roles: &Roles, ending: Option<&Arc<Ending>>) {
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
        self.tell_as(About::Sessions, handle.facts.user(), ending, named, || {
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
        self.tell_as(About::Coming, Some(user), None, named, || {
            Payload::UserConnected(UserConnected {
                user: user.into(),
                roles: Arc::clone(roles),
            })
        });
    }

    /// The last session here of its user, which was told of, has closed.
    pub(super) fn disconnected(&self, last: &Handle) {
        if self.cluster.is_none() {
            self.tell_offline(last, None, |event| event);
        }
    }

    /// The last session of its user in all of the cluster has closed, at that time.
    pub(crate) fn offline(
        &self,
        last: &Handle,
        ending: Option<&Arc<Ending>>,
        incarnation: u64,
        time: SystemTime,
    ) {
        let id = EventId::derived("offline", incarnation, &last.id.to_string());
        self.tell_offline(last, ending, |event| Event { id, time, ..event });
    }

    fn tell_offline(
        &self,
        last: &Handle,
        ending: Option<&Arc<Ending>>,
        named: impl FnOnce(Event) -> Event,
    ) {
        let Some(identity) = last.identity() else {
            return;
        };
        let cause = last.end().map(|(_, cause, _)| cause);
        let user = identity.user();
        self.tell_as(About::Going, Some(user), ending, named, || {
            Payload::UserDisconnected(UserDisconnected {
                user: user.into(),
                token: identity.token().copied(),
                hash: identity.hash(),
                is_timeout: cause == Some(Cause::IdleTimeout),
            })
        });
    }

    /// The same, where nothing but what the store knows is left of it.
    pub(crate) fn offline_of(
        &self,
        last: &Entry,
        ending: Option<&Arc<Ending>>,
        incarnation: u64,
        time: SystemTime,
    ) {
        let Some(user) = last.user.as_deref() else {
            return;
        };
        let id = EventId::derived("offline", incarnation, &last.session);
        let named = |event: Event| Event { id, time, ..event };
        self.tell_as(About::Going, Some(user), ending, named, || {
            let facts = Facts::parse(last);
            Payload::UserDisconnected(UserDisconnected {
                user: user.into(),
                token: facts.as_ref().and_then(|facts| facts.token),
                hash: facts.and_then(|facts| facts.hash),
                is_timeout: false,
            })
        });
    }

    /// The topic, where anybody looks on.
    pub(crate) fn watched(&self, about: About) -> Option<&Arc<str>> {
        let topic = match about {
            About::Sessions => &self.topics.sessions,
            About::Coming => &self.topics.user_connect,
            About::Going => &self.topics.user_disconnect,
        };
        self.bus.is_watched(topic).then_some(topic)
    }

    /// Publishes what is told of others, however long that takes; one that is too big is given up. Dropped
    /// before it is ready, the event may have been published or not.
    pub(crate) async fn insist(&self, about: About, event: Event) {
        self.outbox.insist(&*self.bus, about, event).await;
    }

    fn tell_as(
        &self,
        about: About,
        user: Option<&str>,
        ending: Option<&Arc<Ending>>,
        named: impl FnOnce(Event) -> Event,
        payload: impl FnOnce() -> Payload,
    ) {
        let Some(topic) = self.watched(about) else {
            return;
        };
        let (topic, key, payload) = (Arc::clone(topic), user.map(Box::from), payload());
        // Named in the order in which they are published.
        let make = || named(Event::now(topic, key, payload));
        self.outbox.leave(about, ending, make);
    }

    /// Publishes on a thread of its own until the result is dropped. A panic of the bus loses what it had in its
    /// hands, and no more.
    pub(crate) fn start(self: &Arc<Self>, panics: Arc<Panics>) -> io::Result<Telling> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let ended = CancellationToken::new();
        let (teller, end) = (Arc::clone(self), ended.clone());
        let run = move || {
            runtime.block_on(async {
                loop {
                    let publishing = teller.outbox.publish_all(&*teller.bus, &end);
                    let published = task::survive(Kind::Events, &panics, publishing).await;
                    if published.is_some() {
                        break;
                    }
                    teller.outbox.lose_those_in_hand();
                }
            });
            teller.over.cancel();
        };
        let thread = thread::Builder::new().name("tidegate-events".into());
        Ok(Telling {
            thread: Some(thread.spawn(run)?),
            ended,
        })
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
