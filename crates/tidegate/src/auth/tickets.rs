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
/// The most that are out at once, of all users and of one: nobody's makes room for another one's.
const MOST: usize = 10_000;
const MOST_OF_USER: usize = 64;
const PREFIX: &str = "tt_";

/// What a ticket stands for.
#[derive(Clone)]
pub(super) struct Redeemed {
    pub(super) principal: Arc<Principal>,
    /// What the upstream is told.
    pub(super) token: String,
}

/// Those that are out. Only their digests are kept.
#[derive(Default)]
pub(super) struct Tickets(Mutex<Out>);

#[derive(Default)]
struct Out {
    by_digest: HashMap<Digest, (Instant, Redeemed)>,
    by_user: HashMap<Box<str>, usize>,
    /// The oldest first, those that were redeemed included until their time is over or there are too many.
    order: VecDeque<(Instant, Digest)>,
}

impl Tickets {
    /// Gives one out.
    ///
    /// # Errors
    /// Where there are as many as there may be, or nothing to make one of.
    pub(super) fn issue(&self, stands_for: Redeemed, now: Now) -> Result<String, AuthError> {
        let mut bytes = [0; 32];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_unspecified| AuthError::KeysUnavailable)?;
        let ticket = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
        let digest = digest_of(&ticket);
        let until = now.steady + LIFETIME;
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.forget(now.steady);
        let user = stands_for.principal.user();
        let of_user = out.by_user.get(user).copied().unwrap_or(0);
        if of_user >= MOST_OF_USER || out.by_digest.len() >= MOST {
            return Err(AuthError::TooManyTickets);
        }
        out.by_user.insert(user.into(), of_user + 1);
        out.by_digest.insert(digest, (until, stands_for));
        out.order.push_back((until, digest));
        Ok(ticket)
    }

    /// Takes one back: it is of no use any more, whatever comes of it.
    pub(super) fn redeem(&self, ticket: &str, now: Now) -> Result<Redeemed, AuthError> {
        let digest = digest_of(ticket);
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, redeemed) = out.take(&digest).ok_or(AuthError::Ticket)?;
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
            if *until > now {
                break;
            }
            let digest = *digest;
            self.take(&digest);
            self.order.pop_front();
        }
        // Half of them at least were redeemed.
        if self.order.len() >= 2 * MOST {
            let out = &self.by_digest;
            self.order.retain(|(_, digest)| out.contains_key(digest));
        }
    }

    fn take(&mut self, digest: &Digest) -> Option<(Instant, Redeemed)> {
        let taken = self.by_digest.remove(digest)?;
        let user = taken.1.principal.user();
        if let Some(count) = self.by_user.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.by_user.remove(user);
            }
        }
        Some(taken)
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::principal::{Claims, Identity};

    fn of(user: &str) -> Redeemed {
        let principal = Principal {
            identity: Arc::new(Identity::without_token(user)),
            roles: Arc::default(),
            scopes: Box::default(),
            claims: Claims::default(),
        };
        Redeemed {
            principal: Arc::new(principal),
            token: "x".into(),
        }
    }

    #[test]
    fn nobody_takes_those_of_others() {
        let (tickets, now) = (Tickets::default(), Now::look());
        let first = tickets.issue(of("a"), now).unwrap();
        let held: Vec<_> = (1..MOST_OF_USER)
            .map(|_| tickets.issue(of("b"), now).unwrap())
            .collect();
        tickets.issue(of("b"), now).unwrap();
        let refused = tickets.issue(of("b"), now);
        assert_eq!(refused, Err(AuthError::TooManyTickets));
        assert!(tickets.redeem(&first, now).is_ok());
        // One that was used is none that is out, nor is one whose time is over.
        assert!(tickets.redeem(&held[0], now).is_ok());
        tickets.issue(of("b"), now).unwrap();
        assert!(tickets.issue(of("b"), now).is_err());
        let later = Now {
            steady: now.steady + LIFETIME,
            ..now
        };
        for _ in 0..MOST_OF_USER {
            tickets.issue(of("b"), later).unwrap();
        }
        assert!(tickets.issue(of("b"), later).is_err());
    }

    #[test]
    fn there_is_an_end_to_them() {
        let (tickets, now) = (Tickets::default(), Now::look());
        for number in 0..MOST {
            tickets.issue(of(&number.to_string()), now).unwrap();
        }
        let refused = tickets.issue(of("z"), now);
        assert_eq!(refused, Err(AuthError::TooManyTickets));
        let later = Now {
            steady: now.steady + LIFETIME,
            ..now
        };
        for _ in 0..3 * MOST {
            let ticket = tickets.issue(of("z"), later).unwrap();
            tickets.redeem(&ticket, later).unwrap();
        }
        let out = tickets.0.lock().unwrap();
        assert!(out.order.len() <= 2 * MOST, "{}", out.order.len());
        assert_eq!((out.by_digest.len(), out.by_user.len()), (0, 0));
    }
}
