//! The bus of a cluster that has no broker: events stay within the process, but pushes go to all nodes.

use std::future::ready;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Cluster;
use crate::bus::{
    Bounds, BusError, BusState, Event, EventBus, MemoryBus, Position, Replay, Subscription,
};
use crate::config::plan::BusPlan;

/// Carries pushes to the other nodes and everything to those who subscribe here.
///
/// A push goes to every node, and each leaves it for whom it has: who asked the store first where a user is
/// would miss a session that opened a moment ago, and nobody would know (ADR 0017).
///
/// Each node keeps the history of what it was given, and nobody else's cursors are known there: who comes
/// back to another node is told that it may have missed something.
#[derive(Debug)]
pub(crate) struct ClusterBus {
    local: MemoryBus,
    cluster: Arc<Cluster>,
    push: Arc<str>,
}

impl ClusterBus {
    /// One with the topics and the history of this plan.
    pub(crate) fn new(cluster: Arc<Cluster>, plan: &BusPlan) -> Self {
        Self {
            local: MemoryBus::new(plan.history),
            cluster,
            push: Arc::clone(&plan.topics.push),
        }
    }

    /// The topic of pushes.
    pub(super) const fn push(&self) -> &Arc<str> {
        &self.push
    }

    /// Pushes of other nodes may have been missed.
    pub(super) fn miss(&self) {
        self.local.begin_anew();
    }

    /// A push of another node's.
    pub(super) fn deliver(&self, event: Event) -> Result<(), BusError> {
        self.local.offer(event)
    }
}

impl EventBus for ClusterBus {
    /// A push that could not be sent to the other nodes is [`BusError::Unreachable`], and those who are here
    /// have it nevertheless: published again, they get it once.
    fn publish(&self, event: Event) -> BoxFuture<'_, Result<(), BusError>> {
        Box::pin(async move {
            if *event.topic != *self.push {
                return self.local.offer(event);
            }
            let routed = self.cluster.route(&event).await;
            self.local.offer(event)?;
            routed.map_err(|_store| BusError::Unreachable)
        })
    }

    fn subscribe_to(&self, topics: &[&str]) -> Subscription {
        self.local.subscribe_to(topics)
    }

    fn is_watched(&self, topic: &str) -> bool {
        *topic == *self.push || self.local.is_watched(topic)
    }

    fn replay(
        &self,
        topic: &str,
        key: &str,
        after: &Position,
        most: Bounds,
    ) -> BoxFuture<'_, Result<Replay, BusError>> {
        if !self.cluster.is_up() {
            // Nobody knows what is pushed elsewhere.
            return Box::pin(ready(Ok(Replay::incomplete())));
        }
        self.local.replay(topic, key, after, most)
    }

    fn end(&self, topic: &str, key: &str) -> Option<Position> {
        self.local.end(topic, key)
    }

    fn state(&self) -> BusState {
        self.local.state()
    }
}
