//! Passwords, verified: what was said of them before, how often a client may be wrong, and how many are
//! computed at a time.
//!
//! An attempt is taken from the client's bucket before its hash is computed, and given back where the
//! password is right: so it does not matter how many guesses come at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};

use super::basic::{self, BasicUser, Users};
use super::cache::{CachePlan, Digest, Now, TokenCache, digest_of};
use super::error::{AuthError, Schemes};
use super::principal::Principal;
use super::token::TokenError;
use crate::config::plan::Rate;
use crate::limits::{Addresses, Rates};

/// How often one client may show a wrong password: a hundredth of what is enough to guess one in a year.
const WRONG_PASSWORDS: Rate = Rate {
    every: Duration::from_secs(1),
    burst: 20,
};
/// Hashes that are computed or wait for it, of all clients and of one.
const MOST_AT_ONCE: usize = 64;
const MOST_OF_CLIENT: usize = 16;

/// Who has a password; `None`: nobody.
type Known = Option<Arc<Principal>>;

/// What verifies passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    users: Users,
    /// What was said of them before; refusals are those of tokens.
    cache: TokenCache,
    failures: Rates,
    room: Arc<Semaphore>,
    clients: Arc<Addresses>,
    /// The same password that many show at once is computed once.
    flights: Mutex<HashMap<Digest, Arc<OnceCell<Known>>>>,
}

/// One who waits for what comes of a password.
struct Flight<'a> {
    passwords: &'a Passwords,
    digest: Digest,
    known: Arc<OnceCell<Known>>,
}

impl Passwords {
    /// `failures` holds for passwords too where it is stricter than what holds for them anyway.
    pub(super) fn new(users: &[BasicUser], failures: Option<Rate>) -> Self {
        Self {
            users: Users::new(users),
            cache: TokenCache::new(&CachePlan::default()),
            failures: Rates::new(stricter(WRONG_PASSWORDS, failures)),
            room: Arc::new(Semaphore::new(MOST_AT_ONCE)),
            clients: Arc::default(),
            flights: Mutex::default(),
        }
    }

    /// Who has this `user:password` in base64, as far as that is remembered. `None`: it is to be verified.
    ///
    /// # Errors
    /// Where it is wrong.
    pub(super) fn look(
        &self,
        client: IpAddr,
        text: &str,
        schemes: Schemes,
    ) -> Result<Option<Arc<Principal>>, AuthError> {
        if text.len() > basic::LONGEST {
            return Err(self.wrong(client, schemes));
        }
        match self.remembered(&digest_of(text)) {
            Some(Some(principal)) => Ok(Some(principal)),
            Some(None) => Err(self.wrong(client, schemes)),
            None => Ok(None),
        }
    }

    /// Who has it. Dropped, an attempt that has begun stays taken.
    ///
    /// # Errors
    /// Where it is wrong, or there is no room to compute it.
    pub(super) async fn verify(
        &self,
        client: IpAddr,
        text: &str,
        schemes: Schemes,
    ) -> Result<Arc<Principal>, AuthError> {
        let mut is_counted = false;
        let known = {
            let flight = self.flight(digest_of(text));
            let known = flight.known.get_or_try_init(|| {
                // Whoever computes it in place of one who is gone is counted as well.
                self.compute(client, text, &flight.digest, &mut is_counted)
            });
            known.await?.clone()
        };
        known.ok_or_else(|| {
            if is_counted {
                AuthError::Password { schemes }
            } else {
                self.wrong(client, schemes)
            }
        })
    }

    async fn compute(
        &self,
        client: IpAddr,
        text: &str,
        digest: &Digest,
        is_counted: &mut bool,
    ) -> Result<Known, AuthError> {
        if let Some(known) = self.remembered(digest) {
            return Ok(known);
        }
        self.take(client)?;
        *is_counted = true;
        let give_back = || self.failures.give_back(client, Now::look().steady);
        let of_client = self.clients.count(client, |has| has < MOST_OF_CLIENT);
        let Some(of_client) = of_client else {
            give_back();
            return Err(AuthError::TooManyPasswords);
        };
        let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
            give_back();
            return Err(AuthError::PasswordsBusy);
        };
        let Some(known) = self.users.verify(text, (of_client, room)).await else {
            give_back();
            return Err(AuthError::PasswordsBusy);
        };
        if known.is_some() {
            give_back();
        }
        let outcome = || known.clone().ok_or(TokenError::Malformed);
        let _remembered = self.cache.get_or_judge(digest, 0, Now::look(), outcome);
        Ok(known)
    }

    fn remembered(&self, digest: &Digest) -> Option<Known> {
        let known = self.cache.get(digest, 0, Now::look());
        known.map(Result::ok)
    }

    /// A wrong one that costs no hash counts as well.
    fn wrong(&self, client: IpAddr, schemes: Schemes) -> AuthError {
        match self.take(client) {
            Ok(()) => AuthError::Password { schemes },
            Err(error) => error,
        }
    }

    fn take(&self, client: IpAddr) -> Result<(), AuthError> {
        let taken = self.failures.take(client, Now::look().steady);
        taken.map_err(|full| AuthError::TooManyFailures {
            retry_after: full.retry_after(),
        })
    }

    fn flight(&self, digest: Digest) -> Flight<'_> {
        let known = Arc::clone(self.flights().entry(digest).or_default());
        Flight {
            passwords: self,
            digest,
            known,
        }
    }

    fn flights(&self) -> MutexGuard<'_, HashMap<Digest, Arc<OnceCell<Known>>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once a second: forgets what is of no use any more.
    pub(super) fn tick(&self, now: Now) {
        self.cache.forget_some(now);
        self.failures.forget_some(now.steady);
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        // Under the lock, so that the last one sees that it is.
        let mut flights = self.passwords.flights();
        drop(std::mem::take(&mut self.known));
        let known = flights.get(&self.digest);
        if known.is_some_and(|known| Arc::strong_count(known) == 1) {
            flights.remove(&self.digest);
        }
    }
}

fn stricter(one: Rate, other: Option<Rate>) -> Rate {
    other.map_or(one, |other| Rate {
        every: one.every.max(other.every),
        burst: one.burst.min(other.burst),
    })
}

#[cfg(test)]
mod tests;
