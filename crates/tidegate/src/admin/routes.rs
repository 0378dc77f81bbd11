//! What the configuration says, and how much of it is in use: routes and services.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::view::View;
use crate::route::Route;
use crate::router::{CertificateExpect, HeaderExpect, Matcher, TextExpect};
use crate::upstream::Service;

/// `GET /v1/routes`.
pub(super) async fn routes(State(view): State<Arc<View>>) -> Response {
    // All workers have the same routes and services.
    let routes: Vec<_> = view.workers.first().map_or_else(Vec::new, |(worker, _)| {
        let routes = worker.routes().iter().zip(worker.router().matchers());
        let routes = routes.enumerate();
        routes
            .map(|(place, (route, matcher))| {
                json!({
                    "name": &*route.name,
                    "match": written(matcher),
                    "service": route.target.service().map(|one| &*one.plan.name),
                    "handler": route.target.handler(),
                    "sessions": view.sessions_of(place),
                })
            })
            .collect()
    });
    Json(json!({ "routes": routes })).into_response()
}

/// `GET /v1/services`.
pub(super) async fn services(State(view): State<Arc<View>>) -> Response {
    let services: Vec<_> = view.workers.first().map_or_else(Vec::new, |(worker, _)| {
        let services = worker.services().iter();
        services
            .map(|one| {
                let routes = worker.routes().iter().enumerate();
                let is_its = |route: &Route| {
                    let service = route.target.service();
                    service.is_some_and(|service| service.place == one.place)
                };
                let routes = routes.filter(|(_, route)| is_its(route));
                let (names, sessions): (Vec<_>, Vec<_>) = routes
                    .map(|(place, route)| (&*route.name, view.sessions_of(place)))
                    .unzip();
                json!({
                    "name": &*one.plan.name,
                    "endpoints": endpoints(one),
                    "routes": names,
                    "sessions": sessions.iter().sum::<i64>(),
                })
            })
            .collect()
    });
    Json(json!({ "services": services })).into_response()
}

fn endpoints(service: &Service) -> Vec<Value> {
    let endpoints = service.endpoints().iter();
    endpoints
        .map(|endpoint| {
            json!({
                "address": endpoint.plan.authority.to_string(),
                "path": &*endpoint.plan.path,
                "tls": endpoint.plan.is_tls,
                "weight": endpoint.plan.weight,
                "leases": endpoint.live(),
            })
        })
        .collect()
}

/// What is asked of a certificate, in the words of the configuration.
fn certificate(expect: &CertificateExpect) -> Value {
    let text = |expect: &TextExpect| match expect {
        TextExpect::Exact(text) => json!({ "exact": text }),
        TextExpect::Regex(regex) => json!({ "regex": regex.as_str() }),
    };
    let CertificateExpect::Present { subject, san } = expect else {
        return "absent".into();
    };
    let asked = [("subject", subject), ("san", san)].into_iter();
    let asked = asked.filter_map(|(key, expect)| Some((key.to_owned(), text(expect.as_ref()?))));
    let asked: Map<_, _> = asked.collect();
    if asked.is_empty() {
        "present".into()
    } else {
        asked.into()
    }
}

/// A matcher in the words of the configuration; what it does not ask for is left out.
fn written(matcher: &Matcher) -> Value {
    let mut map = Map::new();
    let mut list = |key: &str, values: Vec<String>| {
        if !values.is_empty() {
            map.insert(key.to_owned(), values.into());
        }
    };
    list("path", texts(&matcher.paths));
    list("host", texts(&matcher.hosts));
    list("methods", texts(&matcher.methods));
    if let Some(expect) = &matcher.certificate {
        map.insert("client_certificate".to_owned(), certificate(expect));
    }
    if !matcher.headers.is_empty() {
        let rules = matcher.headers.iter();
        let rules: Map<_, _> = rules
            .map(|rule| (rule.name.to_string(), expected(&rule.expect)))
            .collect();
        map.insert("headers".to_owned(), rules.into());
    }
    if matcher.upgrade {
        map.insert("upgrade".to_owned(), "websocket".into());
    }
    map.into()
}

fn texts(values: &[impl ToString]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn expected(expect: &HeaderExpect) -> Value {
    match expect {
        HeaderExpect::Absent => json!({ "present": false }),
        HeaderExpect::Present => json!({ "present": true }),
        HeaderExpect::Exact(value) => String::from_utf8_lossy(value.as_bytes()).into(),
        HeaderExpect::Regex(regex) => json!({ "regex": regex.as_str() }),
    }
}
