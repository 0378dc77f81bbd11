//! What is counted of who comes.

use std::sync::atomic::Ordering;

use super::Authenticator;

/// The codes of refusals that are counted.
pub(super) const CODES: [&str; 16] = [
    "conflicting_tokens",
    "cors_not_allowed",
    "forbidden",
    "insufficient_scope",
    "invalid_token",
    "keys_unavailable",
    "origin_not_allowed",
    "passwords_busy",
    "subject_mismatch",
    "token_expired",
    "token_revoked",
    "too_many_failures",
    "too_many_passwords",
    "too_many_tickets",
    "unauthenticated",
    "wrong_password",
];

/// What is counted of who comes.
#[derive(Debug, Default)]
pub(crate) struct AuthCounts {
    /// Refusals, by code.
    pub(crate) refusals: Vec<(&'static str, u64)>,
    /// How often a token was known, and how often it was not.
    pub(crate) cache: [u64; 2],
    /// How many newer tokens for sessions were refused, and how many were not.
    pub(crate) renewals: [u64; 2],
    /// How many revocations there are.
    pub(crate) revocations: usize,
    /// How many there was no room for.
    pub(crate) unkept_revocations: u64,
    /// How many fetches of keys failed, and how many did not.
    pub(crate) fetches: [u64; 2],
}

impl Authenticator {
    /// A request was refused with this code.
    pub(crate) fn note(&self, code: &str) {
        let place = CODES.iter().position(|one| *one == code);
        if let Some(count) = place.and_then(|place| self.refusals.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What was counted.
    pub(crate) fn counts(&self) -> AuthCounts {
        let refusals = self.refusals.iter();
        let refusals = refusals.map(|count| count.load(Ordering::Relaxed));
        let cache = self.jwt.as_ref().map(|tokens| tokens.cache.counts());
        AuthCounts {
            refusals: CODES.into_iter().zip(refusals).collect(),
            cache: cache.unwrap_or_default(),
            renewals: [0, 1].map(|place| self.renewals[place].load(Ordering::Relaxed)),
            revocations: self.revocations.count(),
            unkept_revocations: self.revocations.refused(),
            fetches: self
                .keys()
                .and_then(|keys| keys.fetches())
                .unwrap_or_default(),
        }
    }
}
