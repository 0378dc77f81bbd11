//! The matcher: all that a route asks of a request.

use std::fmt;

use http::{HeaderValue, Method};

use super::{Captures, CertificateExpect, HostPattern, PathPattern, RequestView, WholeRegex};
use crate::headers::{FieldName, Headers};

/// What a request must be like to take a route. Every condition must hold; an empty list asks for
/// nothing, and within a list of paths, hosts or methods one is enough.
///
/// Conditions are tried in a fixed order (path, host, headers, certificate,
/// upgrade, method), from what names
/// the resource to what is done with it: a request that misses by its method alone, or by the
/// upgrade alone, has found a resource, and deserves a better answer than 404.
#[derive(Debug, Clone, Default)]
pub struct Matcher {
    /// Paths; the first that matches gives the captures.
    pub paths: Vec<PathPattern>,
    /// Hosts; a request that names no host fits none.
    pub hosts: Vec<HostPattern>,
    /// Methods, exactly as written: `GET` does not bring `HEAD` with it.
    pub methods: Vec<Method>,
    /// Header rules, which must all hold.
    pub headers: Vec<HeaderRule>,
    /// What the client's certificate must be like; `None` asks for nothing.
    pub certificate: Option<CertificateExpect>,
    /// Whether the route is for WebSocket upgrades alone. Without it plain requests and upgrades
    /// both fit.
    pub upgrade: bool,
}

/// What a route asks of one header field.
#[derive(Debug, Clone)]
pub struct HeaderRule {
    /// Which field.
    pub name: FieldName,
    /// What it must be like.
    pub expect: HeaderExpect,
}

/// What a header field must be like. Where it is repeated, one line is enough.
#[derive(Debug, Clone)]
pub enum HeaderExpect {
    /// Not there.
    Absent,
    /// This value, byte for byte.
    Exact(HeaderValue),
    /// There, with any value.
    Present,
    /// A value that matches as a whole. One that is not UTF-8 matches no regex.
    Regex(WholeRegex),
}

/// By how little a route was missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NearMiss {
    /// All but the method holds.
    Method,
    /// All but the upgrade holds.
    Upgrade,
    /// All but these two holds.
    UpgradeAndMethod,
}

impl Matcher {
    /// Whether `request` fulfils every condition; if so, what its path gave is added to `captures`,
    /// else they stay as they were.
    ///
    /// An upgrade with another method than GET is for [`super::Router::route`] to refuse.
    #[must_use]
    pub fn matches(&self, request: &RequestView<'_>, captures: &mut Captures) -> bool {
        let before = captures.len();
        let matched = self.path_fits(request, captures)
            && self.host_fits(request)
            && self.headers_fit(request.headers)
            && self.certificate_fits(request)
            && self.upgrade_fits(request)
            && self.method_fits(request);
        if !matched {
            captures.truncate(before);
        }
        matched
    }

    /// Whether every path of this matcher captures `name`, so that filters may count on it.
    #[must_use]
    pub fn captures(&self, name: &str) -> bool {
        !self.paths.is_empty()
            && self
                .paths
                .iter()
                .all(|pattern| pattern.names().any(|known| known == name))
    }

    /// By what a request that does not match misses, where it is next to nothing.
    pub(super) fn near_miss(&self, request: &RequestView<'_>) -> Option<NearMiss> {
        let found = self.path_fits(request, &mut Captures::default())
            && self.host_fits(request)
            && self.headers_fit(request.headers)
            && self.certificate_fits(request);
        match (self.upgrade_fits(request), self.method_fits(request)) {
            _ if !found => None,
            (true, true) => None,
            (true, false) => Some(NearMiss::Method),
            (false, true) => Some(NearMiss::Upgrade),
            (false, false) => Some(NearMiss::UpgradeAndMethod),
        }
    }

    pub(super) fn path_fits(&self, request: &RequestView<'_>, captures: &mut Captures) -> bool {
        self.paths.is_empty()
            || self
                .paths
                .iter()
                .any(|pattern| pattern.matches(request.path, captures))
    }

    pub(super) fn host_fits(&self, request: &RequestView<'_>) -> bool {
        self.hosts.is_empty()
            || request.authority.is_some_and(|authority| {
                self.hosts
                    .iter()
                    .any(|pattern| pattern.matches(authority, request.secure))
            })
    }

    fn headers_fit(&self, headers: &Headers) -> bool {
        self.headers.iter().all(|rule| rule.holds(headers))
    }

    pub(super) fn certificate_fits(&self, request: &RequestView<'_>) -> bool {
        let expect = self.certificate.as_ref();
        expect.is_none_or(|expect| expect.holds(request.certificate))
    }

    pub(super) fn upgrade_fits(&self, request: &RequestView<'_>) -> bool {
        request.upgrade || !self.upgrade
    }

    pub(super) fn method_fits(&self, request: &RequestView<'_>) -> bool {
        self.methods.is_empty() || self.methods.contains(request.method)
    }
}

impl HeaderRule {
    /// Whether `headers` are as this rule asks.
    #[must_use]
    pub fn holds(&self, headers: &Headers) -> bool {
        let mut values = headers.get_all(self.name.as_str());
        match &self.expect {
            HeaderExpect::Absent => values.next().is_none(),
            HeaderExpect::Exact(wanted) => values.any(|value| value == wanted),
            HeaderExpect::Present => values.next().is_some(),
            HeaderExpect::Regex(regex) => values
                .filter_map(|value| std::str::from_utf8(value.as_bytes()).ok())
                .any(|value| regex.is_match(value)),
        }
    }
}

impl fmt::Display for HeaderExpect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no such header"),
            Self::Exact(value) => write!(f, "the value {value:?}"),
            Self::Present => f.write_str("any value"),
            Self::Regex(regex) => write!(f, "a value that matches {}", regex.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::router::testing::{Request, header, matcher};

    fn matches(matcher: &Matcher, request: &Request) -> bool {
        matcher.matches(&request.view(), &mut Captures::default())
    }

    #[test]
    fn an_empty_matcher_takes_everything() {
        assert!(matches(&Matcher::default(), &Request::get("/a")));
        assert!(matches(&Matcher::default(), &Request::get("/a").upgrade()));
    }

    #[test]
    fn one_path_and_one_method_of_the_list_are_enough() {
        let mut matcher = matcher("/a");
        matcher.paths.push(PathPattern::parse("/b/{x}").unwrap());
        matcher.methods = vec![Method::GET, Method::POST];
        assert!(matches(&matcher, &Request::get("/a")));
        assert!(matches(&matcher, &Request::get("/b/1").method("POST")));
        assert!(!matches(&matcher, &Request::get("/a").method("HEAD")));
        assert!(!matches(&matcher, &Request::get("/c")));
        assert!(!matcher.captures("x"), "/a captures no x");
    }

    #[test]
    fn a_route_with_hosts_wants_one_named() {
        let mut matcher = matcher("/**");
        matcher.hosts = vec![HostPattern::parse("a.example").unwrap()];
        assert!(matches(&matcher, &Request::get("/").host("A.example")));
        assert!(!matches(&matcher, &Request::get("/").host("b.example")));
        assert!(!matches(&matcher, &Request::get("/")));
    }

    #[test]
    fn one_line_of_a_repeated_header_is_enough() {
        let holds = |expect: HeaderExpect| {
            let headers = Request::get("/")
                .header("X-Api", "v1")
                .header("x-api", "v22")
                .headers;
            let name = FieldName::from_static("X-API");
            HeaderRule { name, expect }.holds(&headers)
        };
        let regex = |text| HeaderExpect::Regex(WholeRegex::parse(text).unwrap());
        assert!(holds(HeaderExpect::Present));
        assert!(!holds(HeaderExpect::Absent));
        assert!(holds(HeaderExpect::Exact(HeaderValue::from_static("v22"))));
        assert!(!holds(HeaderExpect::Exact(HeaderValue::from_static("V22"))));
        assert!(holds(regex("v[0-9]{2}")));
        assert!(!holds(regex("v")), "the whole value, not a part");
    }

    #[test]
    fn an_absent_header_is_a_condition_too() {
        let mut matcher = matcher("/");
        matcher.headers = vec![header("X-Internal", HeaderExpect::Absent)];
        assert!(matches(&matcher, &Request::get("/")));
        assert!(!matches(
            &matcher,
            &Request::get("/").header("x-internal", "1")
        ));
    }

    #[test]
    fn a_miss_leaves_no_captures_behind() {
        let mut matcher = matcher("/{id}");
        matcher.methods = vec![Method::POST];
        let mut captures = Captures::default();
        assert!(!matcher.matches(&Request::get("/7").view(), &mut captures));
        assert!(captures.is_empty());
        assert!(matcher.captures("id"));
    }
}
