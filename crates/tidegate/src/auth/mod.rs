//! Who sends a request: credentials found, verified, and remembered.
//!
//! Enters: an exchange whose route has the filter `require`. Leaves: the [`Principal`] that bears its
//! credential, or why nobody does. Where a credential stands says `sources`; what it is made of and what
//! it must say, `token` and `claims`; what it is signed with, `keys`; what was said of it before, `cache`.

mod cache;
mod claims;
mod error;
pub mod keys;
mod principal;
mod sources;
pub mod token;

use std::sync::Arc;

pub use self::cache::CachePlan;
use self::cache::{Now, TokenCache, digest_of};
pub use self::claims::{ClaimPath, Rules};
pub use self::error::{AuthError, Schemes};
use self::keys::KeySet;
pub use self::keys::{Algorithm, Key, KeyError};
pub use self::principal::Principal;
use self::sources::Credential;
pub use self::sources::TokenSource;
use self::token::Parts;
use crate::config::plan::{AuthPlan, JwtPlan};
use crate::exchange::Exchange;
use crate::limits::Rates;

/// Who knows how clients prove who they are; one for all workers.
#[derive(Debug)]
pub struct Authenticator {
    jwt: Option<Tokens>,
    failures: Option<Rates>,
}

/// What verifies tokens.
#[derive(Debug)]
struct Tokens {
    keys: KeySet,
    rules: Rules,
    sources: Vec<TokenSource>,
    cache: TokenCache,
}

impl Authenticator {
    pub(crate) fn new(plan: &AuthPlan) -> Self {
        Self {
            jwt: plan.jwt.as_ref().map(Tokens::new),
            failures: plan.failures_per_address.map(Rates::new),
        }
    }

    /// Finds out who sent a request, and makes its credential what the upstream is told.
    pub(crate) fn authenticate(
        &self,
        exchange: &mut Exchange,
    ) -> Result<Arc<Principal>, AuthError> {
        let client = exchange.client;
        let result = self.identify(exchange);
        if let (Err(error), Some(failures)) = (&result, &self.failures)
            && error.is_failure()
        {
            let taken = failures.take(client, tokio::time::Instant::now());
            taken.map_err(|full| AuthError::TooManyFailures {
                retry_after: full.retry_after(),
            })?;
        }
        result
    }

    fn identify(&self, exchange: &mut Exchange) -> Result<Arc<Principal>, AuthError> {
        let schemes = Schemes {
            bearer: self.jwt.is_some(),
            basic: false,
        };
        let missing = AuthError::Missing { schemes };
        let tokens = self.jwt.as_ref().ok_or(missing.clone())?;
        match sources::take(exchange, &tokens.sources)? {
            Some(Credential::Bearer(token)) => {
                let principal = tokens.verify(&token)?;
                sources::normalise(exchange, &token);
                Ok(principal)
            }
            _ => Err(missing),
        }
    }
}

impl Tokens {
    fn new(plan: &JwtPlan) -> Self {
        Self {
            keys: KeySet::new(plan.keys.clone()),
            rules: plan.rules.clone(),
            sources: plan.token_from.clone(),
            cache: TokenCache::new(&plan.cache),
        }
    }

    fn verify(&self, token: &str) -> Result<Arc<Principal>, AuthError> {
        let (digest, now) = (digest_of(token), Now::look());
        if let Some(outcome) = self.cache.get(&digest, 0, now) {
            return Ok(outcome?);
        }
        let judge = || {
            let principal = Parts::of(token)?.verify(&self.keys, &self.rules, now.wall)?;
            Ok(Arc::new(principal))
        };
        Ok(self.cache.get_or_judge(&digest, 0, now, judge)?)
    }
}
