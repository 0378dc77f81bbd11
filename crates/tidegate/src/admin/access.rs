//! Who may ask. With a token: whoever knows it. Without one: whoever is on this machine, but no page
//! in a browser of this machine, which could reach a loopback address in its user's name.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use crate::authority::Authority;
use crate::config::Secret;

/// The rule of one admin listener.
#[derive(Debug, Clone)]
pub(super) struct Access {
    token: Option<Secret>,
    /// Whether `/kafka` is there, which has a rule of its own besides.
    kafka: bool,
    bound: SocketAddr,
}

/// What load balancers and orchestrators ask, who have no token.
const OPEN: [&str; 6] = [
    "/livez",
    "/readyz",
    "/startupz",
    "/healthz",
    "/health",
    "/actuator/health",
];

/// The path of [`super::kafka`].
pub(super) const KAFKA: &str = "/kafka";

impl Access {
    pub(super) const fn new(token: Option<Secret>, kafka: bool, bound: SocketAddr) -> Self {
        Self {
            token,
            kafka,
            bound,
        }
    }

    fn judge(&self, request: &Request) -> Result<(), Problem> {
        let host = host(request.version(), request.uri(), request.headers())?;
        let Some(token) = &self.token else {
            return self.judge_local(host, request.headers());
        };
        let path = request.uri().path();
        // Those who publish there have tokens of their own.
        if OPEN.contains(&path) || (self.kafka && path == KAFKA) {
            return Ok(());
        }
        judge_token(token, request.headers())
    }

    fn judge_local(&self, host: Option<Authority>, headers: &HeaderMap) -> Result<(), Problem> {
        if host.is_some_and(|host| !self.is_ours(host.host())) {
            return Err(Problem::new(
                StatusCode::MISDIRECTED_REQUEST,
                "foreign_host",
                "without a token, only names of this machine may stand in Host",
            ));
        }
        if headers.contains_key(header::ORIGIN) {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "without a token, no request of a web page is answered",
            ));
        }
        Ok(())
    }

    /// Whether a host is this machine by a name that no stranger can point elsewhere.
    fn is_ours(&self, host: &str) -> bool {
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        host.eq_ignore_ascii_case("localhost")
            || literal.parse::<IpAddr>().is_ok_and(|address| {
                address.to_canonical().is_loopback() || address == self.bound.ip()
            })
    }
}

fn judge_token(token: &Secret, headers: &HeaderMap) -> Result<(), Problem> {
    let problem = |detail, challenge| {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", detail);
        Err(problem.with(header::WWW_AUTHENTICATE, challenge))
    };
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return problem(
            "send `Authorization: Bearer` with the token, once",
            "Bearer realm=\"tidegate\"",
        );
    };
    let given = field.as_bytes().split_at_checked("Bearer ".len());
    let given = given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer "));
    match given {
        Some((_, given)) if token.is(given.trim_ascii()) => Ok(()),
        _ => problem(
            "this is not the token",
            "Bearer realm=\"tidegate\", error=\"invalid_token\"",
        ),
    }
}

/// Whom a request is for; `None` only from HTTP/1.0, which need not say it.
fn host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<Option<Authority>, Problem> {
    let problem = |detail| Err(Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail));
    let mut fields = headers.get_all(header::HOST).iter();
    let named = match (uri.authority(), fields.next(), fields.next()) {
        (_, _, Some(_)) => return problem("there is more than one Host"),
        // Of an absolute target, the authority counts (RFC 9112 section 3.2.2).
        (Some(authority), _, None) => authority.as_str().as_bytes(),
        (None, Some(field), None) => field.as_bytes(),
        (None, None, None) if version == Version::HTTP_10 => return Ok(None),
        (None, None, None) => return problem("there is no Host"),
    };
    match Authority::parse(named) {
        Ok(authority) => Ok(Some(authority)),
        Err(_) => problem("the Host is malformed"),
    }
}

/// Lets pass who may ask.
pub(super) async fn guard(
    State(access): State<Arc<Access>>,
    request: Request,
    next: Next,
) -> Response {
    match access.judge(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
