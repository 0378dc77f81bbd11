//! Tickets: good once and for a short time, for who cannot set a header. They stand in a URL, which ends
//! up in logs, so what was logged must be of no use any more.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tokio::time::Instant;

use super::cache::{Digest, Now, digest_of};
use super::claims::is_over;
use super::error::AuthError;
use super::principal::Principal;

/// How long a ticket is good.
pub(super) const LIFETIME: Duration = Duration::from_secs(30);
/// The most that are out at once. The oldest makes room for one more.
const MOST: usize = 10_000;
const PREFIX: &str = "tt_";

/// What a ticket stands for.
#[derive(Clone)]
pub(super) struct Redeemed {
    pub(super) principal: Arc<Principal>,
    /// What the upstream is told.
    pub(super) token: Option<String>,
}

/// Those that are out. Only their digests are kept.
#[derive(Default)]
pub(super) struct Tickets(Mutex<Out>);

#[derive(Default)]
struct Out {
    by_digest: HashMap<Digest, (Instant, Redeemed)>,
    /// The oldest first, those that were redeemed included until their time is over.
    order: VecDeque<(Instant, Digest)>,
}

impl Tickets {
    /// Gives one out.
    pub(super) fn issue(&self, stands_for: Redeemed, now: Now) -> Result<String, AuthError> {
        let mut bytes = [0; 32];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_unspecified| AuthError::KeysUnavailable)?;
        let ticket = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let digest = digest_of(&ticket);
        let until = now.steady + LIFETIME;
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.forget(now.steady);
        out.by_digest.insert(digest, (until, stands_for));
        out.order.push_back((until, digest));
        Ok(ticket)
    }

    /// Takes one back: it is of no use any more, whatever comes of it.
    pub(super) fn redeem(&self, ticket: &str, now: Now) -> Result<Redeemed, AuthError> {
        let digest = digest_of(ticket);
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, redeemed) = out.by_digest.remove(&digest).ok_or(AuthError::Ticket)?;
        drop(out);
        if until <= now.steady || is_over(redeemed.principal.expires(), now.wall) {
            return Err(AuthError::Ticket);
        }
        Ok(redeemed)
    }
}

impl Out {
    fn forget(&mut self, now: Instant) {
        while let Some((until, digest)) = self.order.front() {
            if *until > now && self.order.len() < MOST {
                break;
            }
            self.by_digest.remove(digest);
            self.order.pop_front();
        }
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(..)")
    }
}
