//! The router: which route a request takes.
//!
//! A [`RequestView`] of each exchange enters, before anything else has looked at the request; the
//! first `Route` whose [`Matcher`] holds leaves, with what the path gave to its pattern
//! ([`Captures`]), or a [`RouteError`] that knows how near the request came. No I/O, no clock and
//! no state: the same request always takes the same route, and the command line can ask for the
//! reasons ([`explain`]).

mod captures;
mod escape;
mod explain;
mod host;
mod matcher;
mod path;
mod pattern;
mod regex;
#[cfg(test)]
mod testing;

use http::Method;

pub use captures::Captures;
pub use explain::{Condition, Miss, Verdict, explain};
pub use host::{HostPattern, HostPatternError};
pub use matcher::{HeaderExpect, HeaderRule, Matcher};
pub use path::{Path, PathError};
pub use pattern::{PathPattern, PatternError};
pub use regex::WholeRegex;

use crate::authority::Authority;
use crate::headers::Headers;
use matcher::NearMiss;

/// What the router looks at, borrowed from an exchange.
#[derive(Debug, Clone, Copy)]
pub struct RequestView<'a> {
    /// The method.
    pub method: &'a Method,
    /// The normalised path.
    pub path: &'a Path,
    /// Whom the request is for.
    pub authority: Option<&'a Authority>,
    /// The header fields.
    pub headers: &'a Headers,
    /// Whether it carries `Upgrade: websocket` and `Connection: upgrade` on HTTP/1.1, whatever its
    /// method.
    pub upgrade: bool,
    /// Whether it came through TLS.
    pub secure: bool,
}

/// Why no route takes a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// There is something, but not for this method (405).
    #[error("this path does not take the method")]
    MethodNotAllowed {
        /// The methods that it takes, for `Allow`: each once, in the order of the routes.
        allow: Vec<Method>,
    },
    /// There is nothing (404).
    #[error("no route takes this request")]
    NotFound,
    /// There is something, but for WebSockets alone (426).
    #[error("this path takes WebSocket upgrades only")]
    UpgradeRequired,
}

impl RequestView<'_> {
    /// Whether it asks for a WebSocket with another method than GET (RFC 6455 section 4.1).
    #[must_use]
    pub fn is_impossible_upgrade(&self) -> bool {
        self.upgrade && *self.method != Method::GET
    }
}

impl RouteError {
    /// What to say to a request which none of `matchers` takes.
    ///
    /// The nearest miss decides. A route missed by the upgrade alone comes before those missed by
    /// the method alone, and these before a WebSocket route that was missed by both.
    pub fn of<'a>(matchers: impl Iterator<Item = &'a Matcher>, request: &RequestView<'_>) -> Self {
        if request.is_impossible_upgrade() {
            let allow = vec![Method::GET];
            return Self::MethodNotAllowed { allow };
        }
        let mut allow = Vec::new();
        let mut upgrades_only = false;
        for matcher in matchers {
            match matcher.near_miss(request) {
                None => {}
                Some(NearMiss::Method) => {
                    for method in &matcher.methods {
                        if !allow.contains(method) {
                            allow.push(method.clone());
                        }
                    }
                }
                Some(NearMiss::Upgrade) => return Self::UpgradeRequired,
                Some(NearMiss::UpgradeAndMethod) => upgrades_only = true,
            }
        }
        if !allow.is_empty() {
            Self::MethodNotAllowed { allow }
        } else if upgrades_only {
            Self::UpgradeRequired
        } else {
            Self::NotFound
        }
    }
}

/// Whether `name` can name a capture: letters, digits, `_` and `-`, no digit or `-` first.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
