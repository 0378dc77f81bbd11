//! What the store is told of sessions, and what others are told of what it says.

use super::{BATCH, Keeper, Whom};
use crate::cluster::{Change, Ending, Entry, StoreError, Verdict};

impl Keeper {
    /// Tells the store these changes, and others what came of them.
    pub(super) async fn record(&mut self, changes: Vec<(Change, Whom)>) -> Result<(), StoreError> {
        self.in_flight.extend(changes.iter().cloned());
        let told = changes.iter().map(|(change, _)| change.clone()).collect();
        let verdicts = self.cluster.store.record(&self.cluster.id(), told).await?;
        for ((change, whom), verdict) in changes.into_iter().zip(verdicts) {
            self.note(&change, &whom, verdict);
        }
        self.in_flight.clear();
        Ok(())
    }

    fn note(&mut self, change: &Change, whom: &Whom, verdict: Verdict) {
        let teller = &self.wired.teller;
        match (change, whom) {
            (Change::Enter { entry, .. }, Whom::Here(handle, roles)) => {
                self.limits.enter(handle, verdict.sessions);
                // Nobody has told the end of one that the store had never heard of.
                let seat = self.live.get(&handle.id);
                let was_there = seat.is_some_and(|seat| seat.is_confirmed);
                if self.is_reborn && was_there && !verdict.was_known {
                    teller.reopened(handle, roles);
                }
                let was_unsure = self.live.get_mut(&handle.id).is_some_and(|seat| {
                    !std::mem::replace(&mut seat.is_confirmed, true) && verdict.was_known
                });
                // The store had done it before, and what it said was not heard.
                let is_turn = verdict.is_turn || was_unsure && self.is_all_here(entry, verdict);
                if let Some(user) = entry.user.as_deref().filter(|_| is_turn) {
                    teller.online(user, roles, verdict.time);
                }
            }
            (Change::Leave { user, .. }, Whom::Left(handle, ending)) => {
                if user.is_some() && verdict.is_turn {
                    let incarnation = self.cluster.incarnation();
                    teller.offline(handle, ending.as_ref(), incarnation, verdict.time);
                }
                self.note_left(ending.as_deref());
            }
            (Change::Leave { user, .. }, Whom::Gone(entry, ending)) => {
                if user.is_some() && verdict.is_turn {
                    let incarnation = self.cluster.incarnation();
                    teller.offline_of(entry, Some(ending), incarnation, verdict.time);
                }
                self.note_left(Some(ending));
            }
            _ => {}
        }
    }

    /// The store keeps one that has left, and what there is to be told of it is under way.
    fn note_left(&mut self, ending: Option<&Ending>) {
        if let Some(ending) = ending {
            self.kept += 1;
            ending.done();
        }
    }

    /// Has the store drop those whose end was told.
    pub(super) async fn drop_ended(&mut self) -> Result<(), StoreError> {
        let room = BATCH.saturating_sub(self.dropping.len());
        self.dropping.extend(self.cluster.ends.take(room));
        if !self.dropping.is_empty() {
            let dropped = self
                .cluster
                .store
                .drop_ended(&self.cluster.id(), &self.dropping);
            dropped.await?;
            self.kept = self.kept.saturating_sub(self.dropping.len());
            self.dropping.clear();
        }
        Ok(())
    }

    /// Whether all sessions of a user are here, and of none it was heard that the store has it.
    fn is_all_here(&self, entry: &Entry, verdict: Verdict) -> bool {
        let user = entry.user.as_deref();
        let its = self.live.values();
        let its = its.filter(|seat| seat.has_user && seat.handle.facts.user() == user);
        let (mut all, mut confirmed) = (0, 0);
        for seat in its {
            all += 1;
            confirmed += u64::from(seat.is_confirmed);
        }
        // This one was confirmed now.
        confirmed <= 1 && verdict.sessions <= all
    }
}
