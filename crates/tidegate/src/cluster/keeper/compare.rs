//! What the store has of this node, beside what is here: at each new link, and at the end.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use tokio::time::{Instant, timeout};

use super::{BATCH, Keeper, LAST_WORDS, Whom};
use crate::cluster::wire::Say;
use crate::cluster::{Change, Entry, Facts, StoreError, To};

/// The open sessions that the store has of this node.
type Held = HashMap<Box<str>, Entry>;

impl Keeper {
    /// Compares what the store has of this node with what is here.
    pub(super) async fn sync(&mut self) -> Result<(), StoreError> {
        let mut changes = mem::take(&mut self.in_flight);
        let mut left = Vec::new();
        while let Some(some) = self.take() {
            left.extend(some);
        }
        // What had been entered is compared; what had left would not be found missing.
        changes.retain(|(change, _)| session_left(change).is_some());
        let held = self.cluster.store.held(&self.cluster.id()).await?;
        let held = held.into_iter().map(|entry| (entry.session.clone(), entry));
        let mut held: Held = held.collect();
        for session in changes
            .iter()
            .filter_map(|(change, _)| session_left(change))
        {
            held.remove(session);
        }
        // Of one that the store never had, nobody was told that it came.
        left.retain(|(change, _)| {
            session_left(change).is_some_and(|session| held.remove(session).is_some())
        });
        changes.append(&mut left);
        self.differ(held, &mut changes);
        let mut renewed = Instant::now();
        while !changes.is_empty() {
            let rest = changes.split_off(BATCH.min(changes.len()));
            self.record(mem::replace(&mut changes, rest)).await?;
            // A lease is not lost over telling the store what it has lost.
            if renewed.elapsed() > self.cluster.lease / 3 {
                self.join().await?;
                renewed = Instant::now();
            }
        }
        self.is_reborn = false;
        self.drop_ended().await
    }

    /// What the store is to be told so that it has what is open, and nothing else.
    fn differ(&self, mut held: Held, changes: &mut Vec<(Change, Whom)>) {
        let name = self.cluster.id();
        let name = name.name();
        for seat in self.live.values() {
            let entry = Facts::entry(name, &seat.handle, &seat.roles);
            let has_user = |one: Entry| one.user.is_some() == seat.has_user;
            let is_held = held.remove(&entry.session).is_some_and(has_user);
            if !is_held || !seat.is_confirmed {
                let whom = Whom::Here(Arc::clone(&seat.handle), Arc::clone(&seat.roles));
                let since = self.limits.since(&seat.handle);
                changes.push((Change::Enter { entry, since }, whom));
            }
        }
        for entry in held.into_values() {
            let (session, user) = (entry.session.clone(), entry.user.clone());
            let ending = self.cluster.ending(session.clone(), user.clone());
            let change = Change::Leave {
                session,
                user,
                is_kept: true,
            };
            changes.push((change, Whom::Gone(entry, ending)));
        }
    }

    /// Nothing is open any more.
    pub(super) async fn farewell(&mut self) -> Result<(), StoreError> {
        self.sync().await?;
        // What the bus does not take until then is left to the others.
        let _elapsed = timeout(LAST_WORDS, self.all_told()).await;
        self.cluster.store.leave(&self.cluster.id()).await?;
        self.cluster.tell(To::All, Say::Left).await
    }

    /// Waits until the store keeps none of those that have left.
    async fn all_told(&mut self) -> Result<(), StoreError> {
        let cluster = Arc::clone(&self.cluster);
        while self.kept > 0 {
            cluster.ends.arrived.notified().await;
            self.drop_ended().await?;
        }
        Ok(())
    }
}

/// The session that a change is the end of.
fn session_left(change: &Change) -> Option<&str> {
    match change {
        Change::Enter { .. } => None,
        Change::Leave { session, .. } => Some(session),
    }
}
