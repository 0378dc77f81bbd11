//! The router: which route a request takes.
//!
//! A [`RequestView`] of each exchange enters, before anything else has looked at the request; the
//! place of the first [`Matcher`] that holds leaves, with what the path gave to its pattern
//! ([`Captures`]), or a [`RouteError`] that knows how near the request came. No I/O, no clock and
//! no state: the same request always takes the same route, and the command line can ask for the
//! reasons ([`explain`]).

mod certificate;
mod explain;
mod host;
mod matcher;
#[cfg(test)]
mod testing;

use http::Method;

pub use certificate::{CertificateExpect, TextExpect};
pub use explain::{Condition, Miss, Verdict, explain};
pub use host::{HostPattern, HostPatternError};
pub use matcher::{HeaderExpect, HeaderRule, Matcher};
pub use tidegate_ws::path::{
    Captures, Path, PathError, PathPattern, PatternError, RegexError, WholeRegex,
};

use crate::authority::Authority;
use crate::headers::Headers;
use crate::tls::ClientCertificate;
use matcher::NearMiss;

/// The matchers of all routes, in the order in which they are tried.
#[derive(Debug, Default)]
pub struct Router {
    matchers: Vec<Matcher>,
}

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
    /// The client's certificate, where it showed one.
    pub certificate: Option<&'a ClientCertificate>,
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

impl Router {
    /// The matchers, in the order in which they are tried.
    pub(crate) fn matchers(&self) -> &[Matcher] {
        &self.matchers
    }

    /// A router that tries `matchers` in this order.
    #[must_use]
    pub fn new(matchers: Vec<Matcher>) -> Self {
        Self { matchers }
    }

    /// The place of the first matcher whose conditions all hold, and what it captured.
    ///
    /// # Errors
    /// When none holds. An upgrade that is not a GET takes none, wherever it is for: it is a 405
    /// with `Allow: GET`.
    pub fn route(&self, request: &RequestView<'_>) -> Result<(usize, Captures), RouteError> {
        if !request.is_impossible_upgrade() {
            let mut captures = Captures::default();
            for (place, matcher) in self.matchers.iter().enumerate() {
                if matcher.matches(request, &mut captures) {
                    return Ok((place, captures));
                }
            }
        }
        // Only now: the way of a request that is served pays nothing for those that are not.
        Err(RouteError::of(self.matchers.iter(), request))
    }
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

#[cfg(test)]
mod tests {
    use super::testing::{Request, matcher};
    use super::*;

    struct Named {
        names: Vec<&'static str>,
        router: Router,
    }

    fn router<const N: usize>(matchers: [(&'static str, Matcher); N]) -> Named {
        let (names, matchers) = matchers.into_iter().unzip();
        Named {
            names,
            router: Router::new(matchers),
        }
    }

    fn websocket(pattern: &str) -> Matcher {
        Matcher {
            upgrade: true,
            ..matcher(pattern)
        }
    }

    fn methods(pattern: &str, methods: &[Method]) -> Matcher {
        Matcher {
            methods: methods.to_vec(),
            ..matcher(pattern)
        }
    }

    fn taken(named: &Named, request: &Request) -> Result<String, RouteError> {
        let (place, _captures) = named.router.route(&request.view())?;
        Ok(named.names[place].to_owned())
    }

    fn not_allowed(allow: &[Method]) -> RouteError {
        let allow = allow.to_vec();
        RouteError::MethodNotAllowed { allow }
    }

    #[test]
    fn the_first_full_match_is_taken_with_its_captures() {
        let router = router([("one", matcher("/a/{x}")), ("two", matcher("/a/**"))]);
        let request = Request::get("/a/7");
        let (place, captures) = router.router.route(&request.view()).unwrap();
        assert_eq!(place, 0);
        assert_eq!(captures.get("x"), Some("7"));
        assert_eq!(taken(&router, &Request::get("/a/7/8")).unwrap(), "two");
        assert_eq!(
            taken(&router, &Request::get("/b")),
            Err(RouteError::NotFound)
        );
    }

    #[test]
    fn one_path_serves_plain_requests_and_websockets() {
        let router = router([("ws", websocket("/x")), ("plain", matcher("/x"))]);
        assert_eq!(taken(&router, &Request::get("/x")).unwrap(), "plain");
        assert_eq!(taken(&router, &Request::get("/x").upgrade()).unwrap(), "ws");
    }

    #[test]
    fn a_plain_route_listed_first_takes_upgrades_too() {
        // A route that does not ask for an upgrade still forwards one.
        let router = router([("plain", matcher("/x")), ("ws", websocket("/x"))]);
        assert_eq!(taken(&router, &Request::get("/x")).unwrap(), "plain");
        let upgrade = Request::get("/x").upgrade();
        assert_eq!(taken(&router, &upgrade).unwrap(), "plain");
    }

    #[test]
    fn a_plain_request_below_ws_takes_the_http_route() {
        let router = router([("ws", websocket("/ws/**")), ("http", matcher("/**"))]);
        assert_eq!(taken(&router, &Request::get("/ws/info")).unwrap(), "http");
    }

    #[test]
    fn a_plain_request_on_a_websocket_route_needs_an_upgrade() {
        let router = router([("ws", websocket("/ws"))]);
        for method in ["GET", "POST"] {
            let request = Request::get("/ws").method(method);
            assert_eq!(taken(&router, &request), Err(RouteError::UpgradeRequired));
        }
    }

    #[test]
    fn allow_is_the_union_over_the_routes_missed_by_method_alone() {
        let router = router([
            ("one", methods("/a", &[Method::PUT, Method::GET])),
            ("two", methods("/a", &[Method::GET, Method::DELETE])),
            ("elsewhere", methods("/b", &[Method::PATCH])),
        ]);
        let request = Request::get("/a").method("POST");
        assert_eq!(
            taken(&router, &request),
            Err(not_allowed(&[Method::PUT, Method::GET, Method::DELETE]))
        );
    }

    #[test]
    fn the_nearest_miss_decides() {
        let get_socket = Matcher {
            methods: vec![Method::GET],
            ..websocket("/a")
        };
        let both = router([
            ("post", methods("/a", &[Method::POST])),
            ("ws", get_socket.clone()),
        ]);
        assert_eq!(
            taken(&both, &Request::get("/a")),
            Err(RouteError::UpgradeRequired)
        );
        assert_eq!(
            taken(&both, &Request::get("/a").method("PUT")),
            Err(not_allowed(&[Method::POST]))
        );
        let alone = router([("ws", get_socket)]);
        assert_eq!(
            taken(&alone, &Request::get("/a").method("PUT")),
            Err(RouteError::UpgradeRequired)
        );
    }

    #[test]
    fn an_upgrade_that_is_not_a_get_is_refused_whatever_the_route() {
        let router = router([("all", matcher("/a"))]);
        for path in ["/a", "/nowhere"] {
            let request = Request::get(path).method("POST").upgrade();
            assert_eq!(taken(&router, &request), Err(not_allowed(&[Method::GET])));
        }
    }
}
