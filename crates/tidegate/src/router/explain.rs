//! Why a route does or does not take a request, for people: `tidegate routes test`.

use std::fmt;

use http::Method;

use super::{Captures, Matcher, RequestView};
use crate::headers::FieldName;

/// What one route says to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// Every condition holds. The first such route is taken.
    Matched,
    /// These conditions do not hold; at least one.
    Misses(Vec<Miss>),
}

/// A condition that does not hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Miss {
    /// Which one.
    pub condition: Condition,
    /// What the route wants, in words.
    pub wants: String,
    /// What the request has, in words.
    pub has: String,
}

/// A kind of condition.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// The client's certificate.
    Certificate,
    /// What this header field is like.
    Header(FieldName),
    /// The host.
    Host,
    /// The method.
    Method,
    /// The path.
    Path,
    /// Whether it is a WebSocket upgrade.
    Upgrade,
}

/// Holds `request` against every route; the verdicts come in the order of the routes.
pub fn explain<'a>(
    routes: impl Iterator<Item = (&'a str, &'a Matcher)>,
    request: &RequestView<'_>,
) -> Vec<Verdict> {
    routes
        .map(|(_name, matcher)| {
            let misses = misses(matcher, request);
            if misses.is_empty() {
                Verdict::Matched
            } else {
                Verdict::Misses(misses)
            }
        })
        .collect()
}

fn misses(matcher: &Matcher, request: &RequestView<'_>) -> Vec<Miss> {
    let mut misses = Vec::new();
    let mut miss = |condition, wants: String, has: String| {
        misses.push(Miss {
            condition,
            wants,
            has,
        });
    };
    if !matcher.path_fits(request, &mut Captures::default()) {
        miss(
            Condition::Path,
            one_of(&matcher.paths),
            request.path.to_string(),
        );
    }
    if !matcher.host_fits(request) {
        let has = request
            .authority
            .map_or_else(|| "none".to_owned(), ToString::to_string);
        miss(Condition::Host, one_of(&matcher.hosts), has);
    }
    for rule in &matcher.headers {
        if !rule.holds(request.headers) {
            let name = Condition::Header(rule.name.clone());
            miss(
                name,
                rule.expect.to_string(),
                values(request, rule.name.as_str()),
            );
        }
    }
    if let Some(expect) = &matcher.certificate
        && !expect.holds(request.certificate)
    {
        let has = request.certificate;
        let has = has.map_or("none".to_owned(), |one| one.subject().to_owned());
        miss(Condition::Certificate, expect.to_string(), has);
    }
    if !matcher.upgrade_fits(request) {
        miss(
            Condition::Upgrade,
            "a WebSocket upgrade".to_owned(),
            "none".to_owned(),
        );
    }
    if request.is_impossible_upgrade() {
        let wants = format!("{} for a WebSocket upgrade", Method::GET);
        miss(Condition::Method, wants, request.method.to_string());
    } else if !matcher.method_fits(request) {
        miss(
            Condition::Method,
            one_of(&matcher.methods),
            request.method.to_string(),
        );
    }
    misses
}

fn one_of<T: fmt::Display>(choices: &[T]) -> String {
    let words: Vec<_> = choices.iter().map(T::to_string).collect();
    words.join(" or ")
}

fn values(request: &RequestView<'_>, name: &str) -> String {
    let values: Vec<_> = request
        .headers
        .get_all(name)
        .map(|value| format!("{value:?}"))
        .collect();
    if values.is_empty() {
        "none".to_owned()
    } else {
        values.join(" and ")
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Misses(misses) = self else {
            return f.write_str("matches");
        };
        for (index, miss) in misses.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{miss}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            condition,
            wants,
            has,
        } = self;
        write!(
            f,
            "{condition}: the route wants {wants}, the request has {has}"
        )
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate => f.write_str("client certificate"),
            Self::Header(name) => write!(f, "header {name}"),
            Self::Host => f.write_str("host"),
            Self::Method => f.write_str("method"),
            Self::Path => f.write_str("path"),
            Self::Upgrade => f.write_str("upgrade"),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::router::testing::{Request, header, matcher};
    use crate::router::{HeaderExpect, HostPattern, PathPattern};

    fn told(matcher: &Matcher, request: &Request) -> String {
        let routes = [("only", matcher)];
        explain(routes.into_iter(), &request.view())[0].to_string()
    }

    #[test]
    fn every_failed_condition_is_told_in_words() {
        let mut matcher = matcher("/a/**");
        matcher.paths.push(PathPattern::parse("/b").unwrap());
        matcher.hosts = vec![HostPattern::parse("*.example.com").unwrap()];
        matcher.methods = vec![Method::GET, Method::PUT];
        let one = HeaderExpect::Exact(HeaderValue::from_static("1"));
        matcher.headers = vec![header("X-Api", one)];
        matcher.upgrade = true;
        let request = Request::get("/c").method("POST").header("x-api", "2");
        assert_eq!(
            told(&matcher, &request),
            "path: the route wants /a/** or /b, the request has /c; \
             host: the route wants *.example.com, the request has none; \
             header X-Api: the route wants the value \"1\", the request has \"2\"; \
             upgrade: the route wants a WebSocket upgrade, the request has none; \
             method: the route wants GET or PUT, the request has POST"
        );
    }

    #[test]
    fn a_match_and_an_upgrade_that_cannot_be() {
        assert_eq!(told(&matcher("/a"), &Request::get("/a")), "matches");
        assert_eq!(
            told(&matcher("/a"), &Request::get("/a").method("POST").upgrade()),
            "method: the route wants GET for a WebSocket upgrade, the request has POST"
        );
    }
}
