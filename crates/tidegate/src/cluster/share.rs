//! Revocations, from here to the others and from them to here. They are judged by what is here alone.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{MissedTickBehavior, interval};

use super::wire::Say;
use super::{Cluster, Revocation, StoreError, To, Wired};
use crate::auth::{Digest, Revoked};

/// Between two looks, unless somebody says that there is something.
const LOOK: Duration = Duration::from_secs(1);
/// Revocations that are told, or fetched, at once.
const BATCH: usize = 500;
/// So few are looked for among the sessions at once; with more, each worker looks with its next tick.
const FEW: usize = 16;

impl Cluster {
    /// Shares what is revoked, as long as the store can be reached. It begins with all that is here, for the
    /// store may have lost it, and with all that is there.
    pub(super) async fn share(&self, wired: &Wired) -> Result<Infallible, StoreError> {
        let revocations = wired.authenticator().revocations();
        let mut after = 0;
        revocations.share();
        self.push(revocations.all()).await?;
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            after = self.pull(after, wired).await?;
            let online = self.store.online().await?;
            self.online.store(online, Ordering::Relaxed);
            tokio::select! {
                _ = look.tick() => {}
                () = self.revoked.notified() => {}
                () = revocations.added_here() => {}
            }
            let (fresh, is_torn) = revocations.take_unshared();
            let fresh = if is_torn { revocations.all() } else { fresh };
            if !fresh.is_empty() {
                self.push(fresh).await?;
                self.tell(To::All, Say::Revoked).await?;
            }
        }
    }

    async fn push(&self, all: Vec<(Revoked, Option<SystemTime>)>) -> Result<(), StoreError> {
        for some in all.chunks(BATCH) {
            let told = some.iter().map(|(what, ends)| Revocation {
                what: written(what),
                ends: *ends,
            });
            self.store.revoke(told.collect()).await?;
        }
        Ok(())
    }

    /// Fetches what was revoked behind the number `after`; up to which it has all now.
    async fn pull(&self, mut after: u64, wired: &Wired) -> Result<u64, StoreError> {
        let revocations = wired.authenticator().revocations();
        // What there is no room for is asked for again, so that it holds as long as it is there.
        let mut is_held = None;
        loop {
            let found = self.store.revoked(after, BATCH).await?;
            if found.last < after {
                tracing::warn!("the cluster's store has lost what was revoked: it is told anew");
                self.push(revocations.all()).await?;
                after = 0;
                continue;
            }
            let count = found.revocations.len();
            let mut is_any_new = false;
            for one in found.revocations {
                let Some(what) = parsed(&one.what) else {
                    continue;
                };
                let added = revocations.add_shared(what.clone(), one.ends);
                if added.is_err() && is_held.is_none() {
                    tracing::error!("there is no room for what was revoked elsewhere");
                    is_held = Some(after);
                }
                if added == Ok(false) {
                    continue;
                }
                is_any_new = true;
                if count <= FEW {
                    wired.core.sessions().end_revoked(&what).await;
                    let push = wired.core.push();
                    push.forget_those(&|identity| what.takes(identity));
                }
            }
            if is_any_new && count > FEW {
                let push = wired.core.push();
                push.forget_those(&|identity| revocations.hold(identity));
            }
            after = found.last;
            if count < BATCH {
                return Ok(is_held.unwrap_or(after));
            }
        }
    }
}

/// What is revoked, as the store has it.
fn written(what: &Revoked) -> Box<str> {
    match what {
        Revoked::Token(digest) => {
            let digits = digest.iter().map(|byte| format!("{byte:02x}"));
            format!("t:{}", digits.collect::<String>())
        }
        Revoked::Id(id) => format!("j:{id}"),
        Revoked::User(user, until) => {
            let until = until.duration_since(UNIX_EPOCH).unwrap_or_default();
            // Rather one token too many than one that was meant.
            format!("u:{}:{user}", until.as_micros() + 1)
        }
    }
    .into()
}

/// The same, read; `None`: by who writes otherwise.
fn parsed(text: &str) -> Option<Revoked> {
    let (kind, name) = text.split_once(':')?;
    match kind {
        "t" => Some(Revoked::Token(digest(name)?)),
        "j" => Some(Revoked::Id(name.into())),
        "u" => {
            let (until, user) = name.split_once(':')?;
            let until = Duration::from_micros(until.parse().ok()?);
            Some(Revoked::User(user.into(), UNIX_EPOCH.checked_add(until)?))
        }
        _ => None,
    }
}

fn digest(text: &str) -> Option<Digest> {
    let mut digest = Digest::default();
    if text.len() != 2 * digest.len() || !text.is_ascii() {
        return None;
    }
    for (place, byte) in digest.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_revoked_is_the_same_on_another_node() {
        let until = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
        for what in [Revoked::token("a.b.c"), Revoked::Id("x:y".into())] {
            assert_eq!(parsed(&written(&what)), Some(what));
        }
        let user = Revoked::User("a:b".into(), until);
        let later = until + Duration::from_micros(1);
        assert_eq!(
            parsed(&written(&user)),
            Some(Revoked::User("a:b".into(), later))
        );
        for wrong in ["", "t", "t:00", "x:1", "u:1", "u:x:bro"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
    }
}
