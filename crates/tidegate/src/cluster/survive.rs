//! What survivors do for a node that is gone. First they count its sessions out, so that presence is right
//! whatever the bus does; then one of them, who claims that, tells of their end, and drops those of which
//! all was told. Whoever dies half-way leaves a claim that expires, and another one tells what is left
//! under the same names.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Cluster, Ended, Entry, Facts, NodeId, Orphan, StoreError, Wired};
use crate::bus::{Event, EventId, Payload, SessionClosed, UserDisconnected};
use crate::presence::About;
use crate::session::{Cause, Initiator};

/// Sessions that are counted out at once.
const COUNTED_OUT: usize = 4096;
/// Sessions of a node of which one topic is told at once.
const PAGE: usize = 256;
/// What there may be to tell of a session.
const TOLD: [About; 2] = [About::Sessions, About::Going];

/// How far each topic is, by the places of the sessions; `None`: it is over.
type Passed = HashMap<About, Option<Box<str>>>;

impl Cluster {
    /// Does all that is to be done for those whose node is gone, as long as the store can be reached. What
    /// the bus has in its hands when this is dropped may be published still.
    pub(super) async fn survive(&self, wired: &Wired) -> Result<Infallible, StoreError> {
        // Renewals tell of one until it is forgotten, and may have been under way when it was.
        let mut buried = HashSet::new();
        let mut under_way = HashSet::new();
        let mut burials = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = self.died.notified() => {
                    for node in unburied(self.dead(), &mut buried) {
                        if under_way.insert(node.clone()) {
                            burials.push(self.bury(node, wired));
                        }
                    }
                }
                Some(done) = burials.next() => {
                    let (node, is_buried) = done?;
                    under_way.remove(&node);
                    if is_buried {
                        buried.insert(node);
                    }
                }
            }
        }
    }

    /// Whether nothing is left of it.
    async fn bury(&self, dead: NodeId, wired: &Wired) -> Result<(NodeId, bool), StoreError> {
        while self.store.count_out(&dead, COUNTED_OUT).await? {}
        let (me, asked) = (self.id(), Instant::now());
        if !self.store.claim(&me, &dead, self.lease).await? {
            // Another one does it; whether to the end is seen with the next renewal.
            return Ok((dead, false));
        }
        let sessions = tokio::select! {
            // Who was stopped for long does not go on before it knows that it may.
            biased;
            lost = self.hold(&me, &dead, asked) => {
                lost?;
                tracing::warn!(node = %dead, "others tell what is left of a node");
                return Ok((dead, false));
            }
            told = self.tell_all(&dead, wired) => told?,
        };
        self.store.forget(&dead).await?;
        tracing::warn!(node = %dead, sessions, "a node is gone, and its sessions with it");
        Ok((dead, true))
    }

    /// Renews a claim, which was asked for then, until it is lost.
    async fn hold(&self, me: &NodeId, dead: &NodeId, asked: Instant) -> Result<(), StoreError> {
        let mut ends = asked + self.lease;
        loop {
            sleep(self.lease / 3).await;
            let asked = Instant::now();
            if asked >= ends {
                return Ok(());
            }
            let renewed = timeout_at(ends, self.store.claim(me, dead, self.lease)).await;
            // One that was renewed too late is lost as well.
            if !renewed.unwrap_or(Ok(false))? {
                return Ok(());
            }
            ends = asked + self.lease;
        }
    }

    /// How many sessions it was.
    async fn tell_all(&self, dead: &NodeId, wired: &Wired) -> Result<usize, StoreError> {
        let mut sessions = 0;
        while !self.store.orphans(dead, "", 1).await?.is_empty() {
            sessions += self.tell_each(dead, wired).await?;
        }
        Ok(sessions)
    }

    /// Tells of all that are left, topic by topic, so that one that takes nothing holds up no other; and
    /// drops each that all of them have passed.
    async fn tell_each(&self, dead: &NodeId, wired: &Wired) -> Result<usize, StoreError> {
        let mut sessions = 0;
        let mut passed: Passed = TOLD.map(|about| (about, Some(Box::default()))).into();
        let pages = TOLD.map(|about| self.tell_page(dead, wired, about, Box::default()));
        let mut pages: FuturesUnordered<_> = pages.into_iter().collect();
        while let Some(told) = pages.next().await {
            let (about, page) = told?;
            let behind = page.last().map(|orphan| orphan.place.clone());
            passed.insert(about, behind.clone());
            let ended = page.iter().filter(|orphan| is_passed(&passed, orphan));
            let ended: Vec<_> = ended.map(Ended::from).collect();
            if !ended.is_empty() {
                self.store.drop_ended(dead, &ended).await?;
            }
            sessions += ended.len();
            if let Some(behind) = behind {
                pages.push(self.tell_page(dead, wired, about, behind));
            }
        }
        Ok(sessions)
    }

    /// Publishes what one topic is told of a page of sessions, of each user in order, however long that
    /// takes.
    async fn tell_page(
        &self,
        dead: &NodeId,
        wired: &Wired,
        about: About,
        behind: Box<str>,
    ) -> Result<(About, Vec<Orphan>), StoreError> {
        let page = self.store.orphans(dead, &behind, PAGE).await?;
        let mut of_users: HashMap<&str, Vec<Event>> = HashMap::new();
        for orphan in &page {
            let Entry { session, user, .. } = &orphan.entry;
            let events = told_of(dead, orphan, wired, about);
            let of_user = of_users.entry(user.as_deref().unwrap_or(session));
            of_user.or_default().extend(events);
        }
        let all = of_users.into_values().map(|events| async {
            for event in events {
                wired.teller.insist(about, event).await;
            }
        });
        join_all(all).await;
        Ok((about, page))
    }
}

/// Whether there is nothing more to be told of it.
fn is_passed(passed: &Passed, orphan: &Orphan) -> bool {
    let mut all = passed.values();
    all.all(|place| {
        let place = place.as_deref();
        place.is_none_or(|place| *orphan.place <= *place)
    })
}

/// Of the dead, those that are not buried; of the buried, only those are remembered who are told of.
fn unburied(mut dead: Vec<NodeId>, buried: &mut HashSet<NodeId>) -> Vec<NodeId> {
    buried.retain(|node| dead.contains(node));
    dead.retain(|node| !buried.contains(node));
    dead
}

/// What a topic is told of a session whose node is gone, where there is something.
fn told_of(dead: &NodeId, orphan: &Orphan, wired: &Wired, about: About) -> Option<Event> {
    let topic = wired.teller.watched(about)?;
    let facts = Facts::parse(&orphan.entry)?;
    let (kind, payload) = match about {
        About::Sessions if !facts.is_untold => ("closed", closed(dead, orphan, facts)),
        About::Going if orphan.is_last => ("offline", offline(orphan, &facts)?),
        _ => return None,
    };
    Some(Event {
        id: EventId::derived(kind, dead.incarnation(), &orphan.entry.session),
        // The user may be back: what is told of that has a later time.
        time: orphan.time,
        ..Event::now(Arc::clone(topic), orphan.entry.user.clone(), payload)
    })
}

fn closed(dead: &NodeId, orphan: &Orphan, facts: Facts) -> Payload {
    let lasted = orphan.time.duration_since(facts.opened());
    Payload::SessionClosed(SessionClosed {
        session: orphan.entry.session.clone(),
        user: orphan.entry.user.as_deref().map(Arc::from),
        roles: facts.roles.into(),
        node: dead.name().as_ref().into(),
        route: facts.route.into(),
        cause: Cause::NodeLost,
        initiator: Initiator::Gateway,
        code: 1006,
        duration: lasted.unwrap_or_default(),
    })
}

fn offline(orphan: &Orphan, facts: &Facts) -> Option<Payload> {
    Some(Payload::UserDisconnected(UserDisconnected {
        user: orphan.entry.user.as_deref()?.into(),
        token: facts.token,
        hash: facts.hash,
        is_timeout: false,
    }))
}

#[cfg(test)]
mod tests;
