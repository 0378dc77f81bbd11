//! What survivors do for a node that is gone: they claim its sessions, tell of their end, and only then
//! drop them. Whoever dies half-way leaves a claim that expires, and another one tells it all again under
//! the same names.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::{Cluster, Ended, Facts, NodeId, Orphan, StoreError, Wired};
use crate::bus::{Event, EventBus, EventId, Payload, SessionClosed, UserDisconnected};
use crate::session::{Cause, Initiator};

/// Sessions that are claimed at once.
const BATCH: usize = 256;
/// How long after a failure an event is published again.
const RETRY: Duration = Duration::from_millis(500);

impl Cluster {
    /// Tells of the end of those whose node is gone, as long as the store can be reached.
    pub(super) async fn survive(&self, wired: &Wired) -> Result<Infallible, StoreError> {
        // Renewals tell of one until it is forgotten, and may have been under way when it was.
        let mut buried = HashSet::new();
        loop {
            self.died.notified().await;
            for node in unburied(self.dead(), &mut buried) {
                if self.bury(&node, wired).await? {
                    buried.insert(node);
                }
            }
        }
    }

    /// Whether nothing is left of it.
    async fn bury(&self, dead: &NodeId, wired: &Wired) -> Result<bool, StoreError> {
        let me = self.id();
        let mut count = 0;
        loop {
            let claimed = self.store.claim(&me, dead, self.lease, BATCH).await?;
            let Some(orphans) = claimed else {
                // Another one does it; whether to the end is seen with the next renewal.
                return Ok(false);
            };
            if orphans.is_empty() {
                break;
            }
            count += orphans.len();
            for orphan in &orphans {
                for event in told_of(dead, orphan, wired) {
                    publish(wired.teller.bus().as_ref(), event).await;
                }
            }
            let ended: Vec<_> = orphans.iter().map(Ended::from).collect();
            self.store.drop_ended(dead, &ended).await?;
        }
        self.store.forget(dead).await?;
        tracing::warn!(node = %dead, sessions = count, "a node is gone, and its sessions with it");
        Ok(true)
    }
}

/// Of the dead, those that are not buried; of the buried, only those are remembered who are told of.
fn unburied(mut dead: Vec<NodeId>, buried: &mut HashSet<NodeId>) -> Vec<NodeId> {
    buried.retain(|node| dead.contains(node));
    dead.retain(|node| !buried.contains(node));
    dead
}

/// What is published of a session whose node is gone.
fn told_of(dead: &NodeId, orphan: &Orphan, wired: &Wired) -> Vec<Event> {
    let Some(facts) = Facts::parse(&orphan.entry) else {
        return Vec::new();
    };
    let teller = &wired.teller;
    let (topics, session) = (teller.topics(), &orphan.entry.session);
    let user: Option<Arc<str>> = orphan.entry.user.as_deref().map(Arc::from);
    let named = |kind: &str| EventId::derived(kind, dead.incarnation(), session);
    let is_watched = |topic: &str| teller.bus().is_watched(topic);
    let mut events = Vec::new();
    if !facts.is_untold && is_watched(&topics.sessions) {
        let closed = SessionClosed {
            session: session.clone(),
            user: user.clone(),
            roles: facts.roles.clone().into(),
            node: dead.name().as_ref().into(),
            route: facts.route.clone().into(),
            cause: Cause::NodeLost,
            initiator: Initiator::Gateway,
            code: 1006,
            duration: orphan
                .time
                .duration_since(facts.opened())
                .unwrap_or_default(),
        };
        events.push(Event {
            id: named("closed"),
            time: orphan.time,
            ..Event::now(
                Arc::clone(&topics.sessions),
                orphan.entry.user.clone(),
                Payload::SessionClosed(closed),
            )
        });
    }
    if let Some(user) = user.filter(|_| orphan.is_last && is_watched(&topics.user_disconnect)) {
        let offline = UserDisconnected {
            user,
            token: facts.token,
            hash: facts.hash,
            is_timeout: false,
        };
        events.push(Event {
            id: named("offline"),
            // The user may be back: what is told of that has a later time.
            time: orphan.time,
            ..Event::now(
                Arc::clone(&topics.user_disconnect),
                orphan.entry.user.clone(),
                Payload::UserDisconnected(offline),
            )
        });
    }
    events
}

/// Publishes an event, however long that takes: until then its session is not dropped.
async fn publish(bus: &dyn EventBus, event: Event) {
    while let Err(error) = bus.publish(event.clone()).await {
        tracing::warn!(%error, "the end of a session elsewhere is not told yet");
        sleep(RETRY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_buried_once_whatever_a_late_renewal_tells() {
        let [one, two] = ["a", "b"].map(|name| NodeId::new(name.into()));
        let mut buried = HashSet::from([one.clone()]);
        let first = unburied(vec![one, two.clone()], &mut buried);
        assert_eq!(first, std::slice::from_ref(&two));
        assert_eq!(unburied(vec![two.clone()], &mut buried), [two]);
        assert!(buried.is_empty());
    }
}
