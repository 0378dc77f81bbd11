//! Who clients are: how they prove it, and what a route asks of them.

use std::time::Duration;

use super::Rate;
use crate::auth::{BasicUser, CachePlan, JwksPlan, Key, RevocationPlan, Rules, TokenSource};
use crate::config::defaults;

/// How clients prove who they are.
#[derive(Debug, Clone)]
pub struct AuthPlan {
    /// By tokens; `None` (the default): no token is good for anything.
    pub jwt: Option<JwtPlan>,
    /// By passwords: these users; none (the default).
    pub users: Vec<BasicUser>,
    /// How often one client may show a credential that is wrong; 20 a second, 500 at once. `None`: as
    /// often as it likes.
    pub failures_per_address: Option<Rate>,
}

impl Default for AuthPlan {
    fn default() -> Self {
        Self {
            jwt: None,
            users: Vec::new(),
            failures_per_address: Some(defaults::AUTH_FAILURES),
        }
    }
}

/// How tokens are verified.
#[derive(Debug, Clone)]
pub struct JwtPlan {
    /// The keys that are configured themselves.
    pub keys: Vec<Key>,
    /// Where others are published; `None` (the default): nowhere.
    pub jwks: Option<JwksPlan>,
    /// What is asked of claims.
    pub rules: Rules,
    /// Where tokens are looked for, in this order; those of the header come first wherever it stands.
    pub token_from: Vec<TokenSource>,
    /// What is remembered of them.
    pub cache: CachePlan,
    /// What is remembered of those that are revoked.
    pub revocations: RevocationPlan,
}

/// The longest leeway.
pub const LONGEST_LEEWAY: Duration = Duration::from_secs(60);
