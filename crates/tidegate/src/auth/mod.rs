//! Who sends a request: credentials found, verified, and remembered.
//!
//! Enters: an exchange whose route has the filter `require`. Leaves: the [`Principal`] that bears its
//! credential, or why nobody does. Where a credential stands says `sources`; what it is made of and what
//! it must say, `token` and `claims`; what it is signed with, `keys`; what was said of it before, `cache`.

mod basic;
mod cache;
mod claims;
mod counts;
mod endpoint;
mod error;
mod expression;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod jwks;
pub mod keys;
pub mod mint;
mod murmur;
mod passwords;
mod principal;
mod refresh;
mod renewal;
mod revocation;
mod rooms;
mod sources;
mod tickets;
pub mod token;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde_json::Value;

pub use self::basic::{BasicUser, PasswordHash, PasswordHashError};
pub use self::cache::CachePlan;
pub(crate) use self::cache::Digest;
use self::cache::{Now, TokenCache, digest_of};
pub use self::claims::{ClaimPath, Rules};
pub(crate) use self::counts::AuthCounts;
use self::counts::CODES;
pub use self::error::{AuthError, Schemes};
pub use self::expression::{Expression, ExpressionError};
pub use self::jwks::JwksPlan;
pub(crate) use self::jwks::Keys;
pub use self::keys::{Algorithm, Key, KeyError};
use self::passwords::Passwords;
pub use self::principal::{Identity, Principal};
pub(crate) use self::refresh::Refresher;
pub use self::revocation::RevocationPlan;
pub(crate) use self::revocation::{Full, Revocations, Revoked};
pub use self::rooms::{Grant, RoomPattern, RoomPatternError, RoomRule};
pub(crate) use self::rooms::{RoomAct, is_room};
use self::sources::Credential;
pub(crate) use self::sources::Shown;
pub use self::sources::TokenSource;
use self::tickets::{Redeemed, Tickets};
pub use self::token::TokenError;
use self::token::{Parts, unproven_claims};
use crate::config::plan::{AuthPlan, JwtPlan};
use crate::exchange::Exchange;
use crate::limits::Rates;
use crate::mask;
use crate::pipeline::{CorsPlan, is_of_script, judge_ambient};

/// Who knows how clients prove who they are; one for all workers.
#[derive(Debug)]
pub struct Authenticator {
    jwt: Option<Tokens>,
    /// `None`: there are none.
    tickets: Option<Tickets>,
    /// `None`: there are none.
    users: Option<Passwords>,
    failures: Option<Rates>,
    /// What was taken back of tokens.
    revocations: Arc<Revocations>,
    /// The predecessor's hash of each token is kept.
    keeps_hash: bool,
    /// How many newer tokens for sessions were refused, and how many were not.
    renewals: [AtomicU64; 2],
    /// How often each of `CODES` was the answer.
    refusals: [AtomicU64; CODES.len()],
}

/// What a token says, whether or not any of it is true: its header and its claims.
#[must_use]
pub fn inspect(token: &str) -> Option<(Value, Value)> {
    let mut parts = token.split('.').map(token::object);
    let (header, claims) = (parts.next()??, parts.next()??);
    Some((header.into(), claims.into()))
}

/// Who bears a token, by the keys that stand in the configuration itself: those that are published are
/// not fetched for it.
///
/// # Errors
/// With why nobody does.
pub fn verify(plan: &JwtPlan, token: &str) -> Result<Principal, TokenError> {
    let keys = keys::KeySet::new(plan.keys.clone());
    let principal = Parts::of(token)?.verify(&keys, &plan.rules, SystemTime::now())?;
    Ok(principal.by_token(digest_of(token), token))
}

/// What verifies tokens.
#[derive(Debug)]
struct Tokens {
    keys: Arc<Keys>,
    rules: Rules,
    sources: Vec<TokenSource>,
    cache: TokenCache,
}

/// Who sends a request, and what the upstream is told of it.
struct Found {
    principal: Arc<Principal>,
    /// `None`: what `Authorization` says already.
    token: Option<String>,
}

/// What can be said of a request without waiting for anything.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Who sends it, or why nobody does.
    Known(Result<Arc<Principal>, AuthError>),
    /// It wants something that may be on its way.
    Wants(Shown),
}

impl Authenticator {
    pub(crate) fn new(plan: &AuthPlan) -> Self {
        let jwt = plan.jwt.as_ref();
        let sources = jwt.map_or(&[][..], |jwt| &jwt.token_from);
        let gives_tickets = sources.contains(&TokenSource::Ticket);
        Self {
            jwt: jwt.map(Tokens::new),
            tickets: gives_tickets.then(Tickets::default),
            users: (!plan.users.is_empty())
                .then(|| Passwords::new(&plan.users, plan.failures_per_address)),
            failures: plan.failures_per_address.map(Rates::new),
            revocations: Arc::new(Revocations::new(
                jwt.map(|jwt| jwt.revocations).unwrap_or_default(),
            )),
            keeps_hash: false,
            renewals: Default::default(),
            refusals: Default::default(),
        }
    }

    /// Keeps the predecessor's hash of each token from now on, where it is wanted.
    pub(crate) const fn keeping_hashes(mut self, is_wanted: bool) -> Self {
        self.keeps_hash = is_wanted;
        self
    }

    /// What was taken back of tokens.
    pub(crate) const fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// How far clocks may differ.
    pub(crate) fn leeway(&self) -> Duration {
        let jwt = self.jwt.as_ref();
        jwt.map_or(Duration::ZERO, |tokens| tokens.rules.leeway)
    }

    /// Whether any token is good for anything.
    pub(crate) const fn knows_tokens(&self) -> bool {
        self.jwt.is_some()
    }

    /// Whether a bridge waits for a token in its first message.
    pub(crate) fn waits_for_first_message(&self) -> bool {
        self.sources().contains(&TokenSource::FirstMessage)
    }

    /// The keys of tokens, where there are tokens.
    pub(crate) fn keys(&self) -> Option<&Arc<Keys>> {
        self.jwt.as_ref().map(|tokens| &tokens.keys)
    }

    fn sources(&self) -> &[TokenSource] {
        self.jwt.as_ref().map_or(&[], |tokens| &tokens.sources)
    }

    const fn gives_tickets(&self) -> bool {
        self.tickets.is_some()
    }

    /// Takes what a request has to show, and says what can be said of it at once. `cors` is what holds
    /// for browsers on its route.
    pub(crate) fn look(&self, exchange: &mut Exchange, cors: Option<&CorsPlan>) -> Verdict {
        // A filter before this one has asked, and what it saw may be gone; or a call of a bridge brings who
        // opened the session, whose time the bridge judges.
        if let Some(principal) = &exchange.principal {
            return Verdict::Known(Ok(Arc::clone(principal)));
        }
        let shown = sources::take(exchange, self.sources());
        let judged = match &shown {
            Ok(shown) => self.judge(exchange, shown, cors).transpose(),
            Err(error) => Some(Err(error.clone())),
        };
        match (judged, shown) {
            (Some(judged), _) => Verdict::Known(self.settle(exchange, judged)),
            (None, Ok(shown)) => Verdict::Wants(shown),
            (None, Err(error)) => Verdict::Known(Err(error)),
        }
    }

    /// Who sends a request that wanted something, once that has come or has not.
    pub(crate) async fn wait(
        &self,
        exchange: &mut Exchange,
        shown: Shown,
        cors: Option<&CorsPlan>,
    ) -> Result<Arc<Principal>, AuthError> {
        let judged = match (&shown.credential, &self.users, &self.jwt) {
            (Some(Credential::Basic(text)), Some(passwords), _) => {
                let verified = passwords.verify(exchange.client, text, self.schemes(exchange));
                let principal = verified.await;
                principal.and_then(|principal| self.agreed(Found::by_header(principal), &shown))
            }
            (_, _, jwt) => {
                if let Some(tokens) = jwt {
                    tokens.keys.renewed().await;
                }
                let judged = self.judge(exchange, &shown, cors);
                judged.and_then(|judged| judged.ok_or_else(|| self.still_missing()))
            }
        };
        self.settle(exchange, judged)
    }

    /// Nobody has said who it is, though that matters.
    pub(crate) fn missing(&self, exchange: &Exchange) -> AuthError {
        let schemes = self.schemes(exchange);
        AuthError::Missing { schemes }
    }

    /// Why a token cannot be verified, though there was a fetch.
    fn still_missing(&self) -> AuthError {
        let keys = self.keys().and_then(|keys| keys.held(Now::look().steady));
        match keys {
            Some(_) => TokenError::UnknownKey.into(),
            None => AuthError::KeysUnavailable,
        }
    }

    /// Who bears what is shown, and what the upstream is told of it. `None`: it wants something.
    fn judge(
        &self,
        exchange: &Exchange,
        shown: &Shown,
        cors: Option<&CorsPlan>,
    ) -> Result<Option<Found>, AuthError> {
        let schemes = self.schemes(exchange);
        if shown.is_ambient {
            judge_ambient(cors, exchange)?;
        }
        let found = match (&shown.credential, &self.users) {
            (Some(Credential::Bearer(token)), _) if self.jwt.is_some() => {
                let judged = self.judge_token(exchange.client, token)?;
                judged.map(|principal| Found {
                    principal,
                    token: Some(token.clone()),
                })
            }
            (Some(Credential::Basic(text)), Some(passwords)) => {
                let known = passwords.look(exchange.client, text, schemes)?;
                known.map(Found::by_header)
            }
            (Some(Credential::Ticket(ticket)), _) => {
                let Redeemed { principal, token } = self.redeem(ticket)?;
                let token = Some(token);
                Some(Found { principal, token })
            }
            _ => return Err(AuthError::Missing { schemes }),
        };
        found.map(|found| self.agreed(found, shown)).transpose()
    }

    /// That, where nothing else of the request says otherwise.
    fn agreed(&self, found: Found, shown: &Shown) -> Result<Found, AuthError> {
        let mut others = shown.others.iter();
        others.try_for_each(|other| self.check_same(&found.principal, other))?;
        Ok(found)
    }

    /// What could be shown. A browser that is challenged for a password asks its user before it tells a
    /// script anything, so a script is not: it is told of tokens, whether or not there are any.
    fn schemes(&self, exchange: &Exchange) -> Schemes {
        let is_script = is_of_script(exchange);
        Schemes {
            bearer: self.jwt.is_some() || is_script,
            basic: self.users.is_some() && !is_script,
        }
    }

    fn judge_token(
        &self,
        client: IpAddr,
        token: &str,
    ) -> Result<Option<Arc<Principal>>, AuthError> {
        let judged = self.judge_unrevoked(client, token)?;
        match &judged {
            Some(one) if self.revocations.hold(one.identity()) => Err(TokenError::Revoked.into()),
            _ => Ok(judged),
        }
    }

    /// The same, but for what was taken back.
    fn judge_unrevoked(
        &self,
        client: IpAddr,
        token: &str,
    ) -> Result<Option<Arc<Principal>>, AuthError> {
        let Some(tokens) = &self.jwt else {
            return Ok(None);
        };
        let (digest, now) = (digest_of(token), Now::look());
        let Some(keys) = tokens.keys.held(now.steady) else {
            return Ok(None);
        };
        if let Some(outcome) = tokens.cache.get(&digest, keys.generation, now) {
            return Ok(Some(outcome?));
        }
        // Who has shown too many wrong ones is not even looked at.
        if let Some(failures) = &self.failures
            && let Err(retry_after) = failures.look(client, now.steady)
        {
            return Err(AuthError::TooManyFailures { retry_after });
        }
        let judge = || {
            let principal = Parts::of(token)?.verify(&keys.set, &tokens.rules, now.wall)?;
            let principal = principal.by_token(digest, token);
            Ok(Arc::new(match self.keeps_hash {
                true => principal.with_hash_of(token),
                false => principal,
            }))
        };
        match tokens
            .cache
            .get_or_judge(&digest, keys.generation, now, judge)
        {
            Err(TokenError::UnknownKey) if tokens.keys.plan.is_some() => Ok(None),
            outcome => Ok(Some(outcome?)),
        }
    }

    fn redeem(&self, ticket: &str) -> Result<Redeemed, AuthError> {
        let tickets = self.tickets.as_ref().ok_or(AuthError::Ticket)?;
        let redeemed = tickets.redeem(ticket, Now::look())?;
        if self.revocations.hold(redeemed.principal.identity()) {
            return Err(TokenError::Revoked.into());
        }
        Ok(redeemed)
    }

    /// Whether another credential of the same request is of the same user. It opens nothing, so it need
    /// not be proven.
    fn check_same(&self, principal: &Principal, other: &Credential) -> Result<(), AuthError> {
        let user = match other {
            Credential::Ticket(ticket) => self.redeem(ticket)?.principal.user().to_owned(),
            Credential::Bearer(token) => {
                let tokens = self.jwt.as_ref();
                let user = unproven_claims(token).and_then(|claims| tokens?.rules.user_of(&claims));
                // What is no token of ours is of nobody.
                let Some(user) = user else { return Ok(()) };
                user
            }
            Credential::Basic(_) | Credential::Other => return Ok(()),
        };
        if user == principal.user() {
            Ok(())
        } else {
            Err(AuthError::Conflict)
        }
    }

    /// Makes what was found out known: to the upstream and to whoever sees the exchange. What is wrong is
    /// counted, and who was wrong too often is told that instead.
    fn settle(
        &self,
        exchange: &mut Exchange,
        judged: Result<Found, AuthError>,
    ) -> Result<Arc<Principal>, AuthError> {
        let found = match judged {
            Ok(found) => found,
            Err(error) => return Err(self.blame(exchange.client, error)),
        };
        sources::normalise(exchange, self.sources(), found.token.as_deref());
        exchange.principal = Some(Arc::clone(&found.principal));
        Ok(found.principal)
    }

    /// What a client is told that showed what is wrong, which is counted.
    fn blame(&self, client: IpAddr, error: AuthError) -> AuthError {
        if error.is_failure()
            && let Some(failures) = &self.failures
            && let Err(full) = failures.take(client, Now::look().steady)
        {
            let retry_after = full.retry_after();
            return AuthError::TooManyFailures { retry_after };
        }
        error
    }

    /// What a log may hold of a URL's query: the values of parameters that are configured to be secrets
    /// are masked. `None`: all of it.
    pub(crate) fn hide(&self, query: &[u8]) -> Option<Vec<u8>> {
        let named = |source: &TokenSource| matches!(source, TokenSource::Query(_));
        if !self.sources().iter().any(named) {
            return None;
        }
        let names: Vec<_> = sources::secret_parameters(self.sources()).collect();
        mask::hide(query, &names)
    }

    /// Takes out of a request what no log of an upstream's shall hold, whatever its route is.
    pub(crate) fn scrub(&self, exchange: &mut Exchange) {
        let names = sources::secret_parameters(self.sources());
        sources::scrub_referer(exchange, names);
    }

    /// The query of a call in an envelope without the parameters that are tokens: a member of a message
    /// says nothing of who calls, and no service shall find one in its log.
    pub(crate) fn without_tokens(&self, query: Option<Bytes>) -> Option<Bytes> {
        let mut query = query?;
        for name in sources::secret_parameters(self.sources()) {
            if let Some(rest) = sources::without_parameter(&query, name) {
                if rest.is_empty() {
                    return None;
                }
                query = rest.into();
            }
        }
        Some(query)
    }

    /// Once a second: forgets what is of no use any more.
    pub(crate) fn tick(&self) {
        let now = Now::look();
        if let Some(tokens) = &self.jwt {
            tokens.cache.forget_some(now);
        }
        if let Some(passwords) = &self.users {
            passwords.tick(now);
        }
        if let Some(failures) = &self.failures {
            failures.forget_some(now.steady);
        }
        self.revocations.tick(now);
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

impl Found {
    const fn by_header(principal: Arc<Principal>) -> Self {
        let token = None;
        Self { principal, token }
    }
}
