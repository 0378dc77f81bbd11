//! Who sends a request: credentials found, verified, and remembered.
//!
//! Enters: an exchange whose route has the filter `require`. Leaves: the [`Principal`] that bears its
//! credential, or why nobody does. Where a credential stands says `sources`; what it is made of and what
//! it must say, `token` and `claims`; what it is signed with, `keys`; what was said of it before, `cache`.

mod cache;
mod claims;
mod error;
mod jwks;
pub mod keys;
mod principal;
mod refresh;
mod sources;
pub mod token;

use std::sync::Arc;

pub use self::cache::CachePlan;
use self::cache::{Now, TokenCache, digest_of};
pub use self::claims::{ClaimPath, Rules};
pub use self::error::{AuthError, Schemes};
pub use self::jwks::JwksPlan;
pub(crate) use self::jwks::Keys;
pub use self::keys::{Algorithm, Key, KeyError};
pub use self::principal::Principal;
pub(crate) use self::refresh::Refresher;
pub(crate) use self::sources::Credential;
pub use self::sources::TokenSource;
use self::token::{Parts, TokenError};
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
    keys: Arc<Keys>,
    rules: Rules,
    sources: Vec<TokenSource>,
    cache: TokenCache,
}

/// What can be said of a credential without waiting for anything.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Who bears it, or why nobody does.
    Known(Result<Arc<Principal>, AuthError>),
    /// It wants a key that may be on its way.
    Wants(Credential),
}

impl Authenticator {
    pub(crate) fn new(plan: &AuthPlan) -> Self {
        Self {
            jwt: plan.jwt.as_ref().map(Tokens::new),
            failures: plan.failures_per_address.map(Rates::new),
        }
    }

    /// The keys of tokens, where there are tokens.
    pub(crate) fn keys(&self) -> Option<&Arc<Keys>> {
        self.jwt.as_ref().map(|tokens| &tokens.keys)
    }

    /// Takes the credential of a request, and says what can be said of it at once.
    pub(crate) fn look(&self, exchange: &mut Exchange) -> Verdict {
        let credential = match self.credential(exchange) {
            Ok(credential) => credential,
            Err(error) => return Verdict::Known(self.count(exchange, Err(error))),
        };
        match self.judge(&credential, exchange) {
            Some(result) => Verdict::Known(self.settle(exchange, &credential, result)),
            None => Verdict::Wants(credential),
        }
    }

    /// Says what there is to say of a credential that wanted something, once that has come or has not.
    pub(crate) async fn wait(
        &self,
        exchange: &mut Exchange,
        credential: Credential,
    ) -> Result<Arc<Principal>, AuthError> {
        if let Some(tokens) = &self.jwt {
            tokens.keys.renewed().await;
        }
        let result = self.judge(&credential, exchange);
        let result = result.unwrap_or_else(|| Err(self.still_missing()));
        self.settle(exchange, &credential, result)
    }

    /// Why a token cannot be verified, though there was a fetch.
    fn still_missing(&self) -> AuthError {
        let keys = self.keys().and_then(|keys| keys.held(Now::look().steady));
        match keys {
            Some(_) => TokenError::UnknownKey.into(),
            None => AuthError::KeysUnavailable,
        }
    }

    fn credential(&self, exchange: &mut Exchange) -> Result<Credential, AuthError> {
        let schemes = Schemes {
            bearer: self.jwt.is_some(),
            basic: false,
        };
        let sources = self.jwt.as_ref().map_or(&[][..], |tokens| &tokens.sources);
        let taken = sources::take(exchange, sources)?;
        taken.ok_or(AuthError::Missing { schemes })
    }

    /// `None`: it wants something that is not there.
    fn judge(
        &self,
        credential: &Credential,
        exchange: &Exchange,
    ) -> Option<Result<Arc<Principal>, AuthError>> {
        let (Credential::Bearer(token), Some(tokens)) = (credential, &self.jwt) else {
            let schemes = Schemes {
                bearer: self.jwt.is_some(),
                basic: false,
            };
            return Some(Err(AuthError::Missing { schemes }));
        };
        let (digest, now) = (digest_of(token), Now::look());
        let keys = tokens.keys.held(now.steady)?;
        if let Some(outcome) = tokens.cache.get(&digest, keys.generation, now) {
            return Some(outcome.map_err(Into::into));
        }
        // Who has shown too many wrong ones is not even looked at.
        if let Some(failures) = &self.failures
            && let Err(retry_after) = failures.look(exchange.client, now.steady)
        {
            return Some(Err(AuthError::TooManyFailures { retry_after }));
        }
        let judge = || {
            let principal = Parts::of(token)?.verify(&keys.set, &tokens.rules, now.wall)?;
            Ok(Arc::new(principal))
        };
        match tokens.cache.get_or_judge(&digest, keys.generation, now, judge) {
            Err(TokenError::UnknownKey) if tokens.keys.plan.is_some() => None,
            outcome => Some(outcome.map_err(Into::into)),
        }
    }

    fn settle(
        &self,
        exchange: &mut Exchange,
        credential: &Credential,
        result: Result<Arc<Principal>, AuthError>,
    ) -> Result<Arc<Principal>, AuthError> {
        let principal = self.count(exchange, result)?;
        if let Credential::Bearer(token) = credential {
            sources::normalise(exchange, token);
        }
        exchange.principal = Some(Arc::clone(&principal));
        Ok(principal)
    }

    /// Counts a credential that is wrong; who has shown too many of them is told that instead.
    fn count<T>(&self, exchange: &Exchange, result: Result<T, AuthError>) -> Result<T, AuthError> {
        if let (Err(error), Some(failures)) = (&result, &self.failures)
            && error.is_failure()
        {
            let taken = failures.take(exchange.client, Now::look().steady);
            taken.map_err(|full| AuthError::TooManyFailures {
                retry_after: full.retry_after(),
            })?;
        }
        result
    }

    /// Once a second: forgets what is of no use any more.
    pub(crate) fn tick(&self) {
        let now = Now::look();
        if let Some(tokens) = &self.jwt {
            tokens.cache.forget_some(now);
        }
        if let Some(failures) = &self.failures {
            failures.forget_some(now.steady);
        }
    }
}

impl Tokens {
    fn new(plan: &JwtPlan) -> Self {
        let allowed = plan.rules.algorithms.clone();
        let keys = Keys::new(plan.keys.clone(), plan.jwks.clone(), allowed);
        Self {
            keys: Arc::new(keys),
            rules: plan.rules.clone(),
            sources: plan.token_from.clone(),
            cache: TokenCache::new(&plan.cache),
        }
    }
}
