//! Revocations, from here to the others and from them to here. They are judged by what is here alone.

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::{MissedTickBehavior, interval};

use super::wire::Say;
use super::{Cluster, Order, Revocation, StoreError, To, Wired};
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
        // Up to which number, and where that is from.
        let mut after = (0, None);
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
            let told = some.iter().map(|(what, ends)| told(what, *ends));
            self.store.revoke(told.collect()).await?;
        }
        Ok(())
    }

    /// Fetches what was revoked behind the number `after` of an epoch; up to which it has all now.
    async fn pull(
        &self,
        (mut after, mut epoch): (u64, Option<u64>),
        wired: &Wired,
    ) -> Result<(u64, Option<u64>), StoreError> {
        let revocations = wired.authenticator().revocations();
        // What there is no room for is asked for again, so that it holds as long as it is there.
        let mut is_held = None;
        loop {
            let found = self.store.revoked(after, BATCH).await?;
            let known = *epoch.get_or_insert(found.epoch);
            if known == 0 && found.epoch != 0 {
                // There are none but those that were told now.
                epoch = Some(found.epoch);
            } else if found.epoch != known || found.last < after {
                tracing::warn!("the cluster's store has lost what was revoked: it is told anew");
                self.push(revocations.all()).await?;
                (after, epoch) = (0, None);
                continue;
            }
            let count = found.revocations.len();
            let mut is_any_new = false;
            for one in found.revocations {
                let Some(what) = parsed(&one.what, one.until) else {
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
                return Ok((is_held.unwrap_or(after), epoch));
            }
        }
    }
}

/// What is revoked, as the store has it.
fn told(what: &Revoked, ends: Option<SystemTime>) -> Revocation {
    let (name, until) = match what {
        Revoked::Token(digest) => {
            let digits = digest.iter().map(|byte| format!("{byte:02x}"));
            (format!("t:{}", digits.collect::<String>()), None)
        }
        Revoked::Id(id) => (format!("j:{id}"), None),
        Revoked::User(user, until) => (format!("u:{user}"), Some(*until)),
    };
    Revocation {
        what: name.into(),
        until,
        ends,
    }
}

/// The same, read; `None`: by who writes otherwise.
fn parsed(text: &str, until: Option<SystemTime>) -> Option<Revoked> {
    let (kind, name) = text.split_once(':')?;
    match kind {
        "t" => Some(Revoked::Token(digest(name)?)),
        "j" => Some(Revoked::Id(name.into())),
        "u" => Some(Revoked::User(name.into(), until?)),
        _ => None,
    }
}

impl Order {
    /// Takes back what is taken back here.
    pub(crate) fn revoke(what: &Revoked, ends: Option<SystemTime>) -> Self {
        let Revocation { what, until, ends } = told(what, ends);
        Self::Revoke {
            what,
            until: until.map(micros),
            ends: ends.map(micros),
        }
    }
}

/// What an order of another node takes back, and when that is of no use any more.
pub(super) fn ordered(
    what: &str,
    until: Option<u64>,
    ends: Option<u64>,
) -> Option<(Revoked, Option<SystemTime>)> {
    let time = |micros| UNIX_EPOCH.checked_add(Duration::from_micros(micros));
    Some((parsed(what, until.and_then(time))?, ends.and_then(time)))
}

/// In microseconds since 1970: rather one token too many than one that was meant.
fn micros(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos().div_ceil(1000)).unwrap_or(u64::MAX)
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
        let user = Revoked::User("a:b".into(), until);
        for what in [Revoked::token("a.b.c"), Revoked::Id("x:y".into()), user] {
            let Revocation {
                what: name,
                until,
                ends,
            } = told(&what, Some(until));
            assert_eq!(parsed(&name, until).as_ref(), Some(&what));
            let Order::Revoke {
                what: name,
                until,
                ends: end,
            } = Order::revoke(&what, ends)
            else {
                panic!("another order");
            };
            assert_eq!(ordered(&name, until, end), Some((what, ends)));
        }
        for wrong in ["", "t", "t:00", "x:1", "u:1"] {
            assert_eq!(parsed(wrong, None), None, "{wrong}");
        }
    }
}
