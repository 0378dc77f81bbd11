//! What other nodes say, and what is done for them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::share::ordered;
use super::wire::{Message, Order, Push, Say};
use super::{Cluster, Inbox, NodeId, To, Wired, limits};
use crate::auth::{Identity, Revoked};
use crate::bus::BusError;
use crate::push::outcome::Outcome;
use crate::session::Cause;
use crate::session::id::SessionId;

/// Events whose publishers wait at a time; of more, nothing is told.
const MOST_EXPECTED: usize = 1024;
/// How long an event may take to come, and to be left for whom it is for.
const ROUTED_WITHIN: Duration = Duration::from_secs(1);
/// How long the first push for which there is no room here waits for it. Nothing else is heard meanwhile, so
/// those behind it do not wait as well.
const ROOM_WITHIN: Duration = Duration::from_secs(1);
const ROOM_LOOK: Duration = Duration::from_millis(5);

impl Cluster {
    /// Does what others say until the link is cut.
    pub(super) async fn hear(&self, wired: &Wired, mut inbox: Inbox) {
        let mut expected: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        wired.core.push().outcomes.remember();
        let mut lost = 0;
        loop {
            let message = tokio::select! {
                Some(()) = expected.next(), if !expected.is_empty() => continue,
                message = inbox.receive() => message,
            };
            let Some(message) = message else { return };
            let Some(Message { from, say }) = Message::parse(&message) else {
                tracing::warn!("a node says what is not understood here");
                continue;
            };
            let Ok(from) = from.parse::<NodeId>() else {
                continue;
            };
            if from == self.id() {
                if let Say::Beat { number } = say {
                    self.beat.store(number, Ordering::Relaxed);
                }
                continue;
            }
            self.asks.heard(&from);
            match say {
                Say::Joined => {
                    self.note_sign(from);
                    self.joined.notify_one();
                }
                Say::Left => self.note_left(&from),
                Say::Beat { .. } => self.note_sign(from),
                Say::Push(push) => deliver(wired, push, &mut lost).await,
                Say::Expect {
                    event,
                    ask,
                    patience,
                } => {
                    if expected.len() < MOST_EXPECTED
                        && let Ok(event) = event.parse()
                    {
                        let patience = patience.map(Duration::from_millis);
                        // By another way the event may have come before.
                        let outcomes = &wired.core.push().outcomes;
                        let waited = outcomes.expect_of_another(event, patience.is_some());
                        expected.push(Box::pin(self.report(waited, (from, ask), patience)));
                    }
                }
                Say::Revoked => self.revoked.notify_one(),
                Say::Counted => self.counted.notify_one(),
                Say::Full { full, roomy } => limits::note(wired, &full, &roomy),
                Say::Over {
                    sessions,
                    for_newer,
                } => limits::end(wired, &sessions, for_newer),
                Say::Ask { ask, order } => {
                    let count = order.carry_out(wired).await;
                    self.answer(&from, ask, 0, count).await;
                }
                Say::Answer { ask, round, count } => self.asks.answer(ask, from, round, count),
            }
        }
    }

    async fn answer(&self, to: &NodeId, ask: u64, round: u8, count: usize) {
        let count = count as u64;
        // Who asked waits no longer than it likes.
        let _ = self
            .tell(To::Node(to), Say::Answer { ask, round, count })
            .await;
    }

    /// Tells who asked what becomes of an event.
    async fn report(
        &self,
        mut expected: crate::push::outcome::Expected<'_>,
        (to, ask): (NodeId, u64),
        patience: Option<Duration>,
    ) {
        // Who waits for acks does so for an event that comes late as well.
        let routed = patience.map_or(ROUTED_WITHIN, |patience| patience.max(ROUTED_WITHIN));
        let patience = patience.map(|patience| Instant::now() + patience);
        let outcome = timeout(routed, expected.outcome()).await;
        let Ok(Some(Outcome::Left(matched))) = outcome else {
            return; // for how many it was, nobody knows
        };
        self.answer(&to, ask, 0, matched).await;
        if let Some(until) = patience {
            // How many have it is told either way.
            let _elapsed = timeout_at(until, expected.acked()).await;
            self.answer(&to, ask, 1, expected.count().unwrap_or_default())
                .await;
        }
    }
}

/// Leaves a push of another node for whom it is for. `lost` are those for which there was no room, since
/// there was some.
async fn deliver(wired: &Wired, push: Push, lost: &mut u64) {
    let Some(carrier) = &wired.carrier else {
        return;
    };
    let Some(event) = push.event(carrier.push().clone()) else {
        return;
    };
    let until = Instant::now() + ROOM_WITHIN;
    while carrier.deliver(event.clone()) == Err(BusError::Full) {
        if *lost > 0 || Instant::now() > until {
            if *lost == 0 {
                tracing::error!("pushes come faster than they can be routed, and are lost");
                wired.miss();
            }
            *lost += 1;
            return;
        }
        sleep(ROOM_LOOK).await;
    }
    if *lost > 0 {
        tracing::error!(lost, "pushes are routed again");
        // Whoever has come since the first one has missed some too.
        wired.miss();
        *lost = 0;
    }
}

impl Order {
    /// Does it here; how often there was something to do.
    async fn carry_out(self, wired: &Wired) -> usize {
        let (core, directory) = (&wired.core, wired.core.directory());
        match self {
            Self::EndSession {
                session,
                code,
                reason,
            } => {
                let Ok(id) = session.parse() else { return 0 };
                let found = core.sessions().find(id);
                if let Some((handle, _)) = &found {
                    handle.dismiss(code, reason);
                }
                // One that has ended may be waited for by its client.
                let kept = core.push().forget_session(id);
                usize::from(found.is_some() || kept.is_some())
            }
            Self::EndUser { user, code, reason } => {
                let handles = directory.sessions(&user);
                for handle in &handles {
                    handle.dismiss(code, reason.clone());
                }
                // Behind them, so that none that ends meanwhile is kept.
                let is_its = |identity: &Identity| *identity.user() == *user;
                core.push().forget_those(&is_its);
                handles.len()
            }
            Self::RevokeSession { session } => {
                let Ok(id) = session.parse() else { return 0 };
                revoke(wired, id).await
            }
            Self::Revoke { what, until, ends } => {
                let Some((what, ends)) = ordered(&what, until, ends) else {
                    return 0;
                };
                // Where there is no room, it is said when it comes from the store.
                let revocations = wired.authenticator().revocations();
                let _full = revocations.add_shared(what.clone(), ends);
                let ended = core.sessions().end_revoked(&what).await;
                core.push().forget_those(&|identity| what.takes(identity));
                ended
            }
        }
    }
}

/// Takes back the token that a session goes on by, if there is one, and ends it; how many sessions that
/// were, where there was one or its client could come back.
async fn revoke(wired: &Wired, id: SessionId) -> usize {
    let core = &wired.core;
    let handle = core.sessions().find(id).map(|(handle, _)| handle);
    if let Some(handle) = &handle {
        handle.order(Cause::TokenRevoked);
    }
    let kept = core.push().forget_session(id);
    if handle.is_none() && kept.is_none() {
        return 0;
    }
    let identity = handle.as_ref().and_then(|handle| handle.identity());
    let Some(identity) = identity.or(kept.flatten()) else {
        return 1;
    };
    let Some(token) = identity.token() else {
        return 1;
    };
    let what = Revoked::Token(*token);
    let revocations = wired.authenticator().revocations();
    if revocations.add(what.clone(), identity.expires()).is_err() {
        tracing::error!("there is no room for one more revocation");
    }
    let ended = core.sessions().end_revoked(&what).await;
    core.push().forget_those(&|identity| what.takes(identity));
    ended.max(1)
}
