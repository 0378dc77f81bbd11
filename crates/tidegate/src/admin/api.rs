//! What is answered: health, facts and metrics here, the rest in `sessions`, `routes` and `aliases`.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, post};
use axum::{Json, Router, middleware};
use serde_json::json;

use super::access::{self, Access};
use super::events::Streams;
use super::problem::Problem;
use super::query::bad;
use super::view::View;
use super::{presence, push, rooms, routes, sessions, tokens, users};
use crate::bus::BusState;
use crate::time;

/// What is answered here, for machines.
const DOCUMENT: &str = include_str!("openapi.json");
/// The Prometheus text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A path, and what answers there.
pub(super) type Place = (&'static str, MethodRouter<Arc<View>>);

/// Everything that is there but the aliases, as `openapi.json` tells it.
fn places() -> Vec<Place> {
    let streams = Streams::default();
    vec![
        ("/livez", get(livez)),
        ("/readyz", get(readyz)),
        ("/startupz", get(startupz)),
        ("/healthz", get(readyz)),
        ("/health", get(readyz)),
        ("/actuator/health", get(actuator_health)),
        ("/metrics", get(metrics)),
        ("/openapi.json", get(document)),
        ("/v1/info", get(info)),
        ("/v1/sessions", get(sessions::list)),
        (
            "/v1/sessions/{id}",
            get(sessions::one).delete(sessions::end),
        ),
        ("/v1/presence", get(presence::seen)),
        ("/v1/users", get(users::list)),
        ("/v1/users/{user}", get(users::one)),
        ("/v1/users/{user}/sessions", delete(users::end)),
        (
            "/v1/events",
            get(move |state, query| streams.follow(state, query)),
        ),
        ("/v1/rooms", get(rooms::list)),
        ("/v1/rooms/{room}", get(rooms::one)),
        ("/v1/routes", get(routes::routes)),
        ("/v1/services", get(routes::services)),
        ("/v1/users/{user}/push", post(push::to_user)),
        ("/v1/push", post(push::to_any)),
        ("/v1/tokens/revoke", post(tokens::revoke)),
        ("/v1/drain", post(drain)),
    ]
}

/// All of it, behind the rule of who may ask.
pub(super) fn router(view: Arc<View>, access: Access, aliases: Vec<Place>) -> Router {
    let mut router = Router::new();
    for (path, answer) in places().into_iter().chain(aliases) {
        router = router.route(path, answer);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(
            Arc::new(access),
            access::guard,
        ))
        .layer(middleware::map_response(no_store))
        .with_state(view)
}

/// Nothing here is true for long.
async fn no_store(mut response: Response) -> Response {
    let value = header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, value);
    response
}

/// The process is alive, also while it stops.
async fn livez() -> &'static str {
    "ok\n"
}

/// The start is over before the listener answers at all.
async fn startupz() -> &'static str {
    "ok\n"
}

/// One thing that readiness depends on.
struct Check {
    name: &'static str,
    passes: bool,
    /// It passes, but something that other nodes are for is not to be had.
    is_degraded: bool,
    detail: Cow<'static, str>,
}

fn checks(view: &View) -> [Check; 7] {
    let (draining, whole) = (view.is_draining(), view.is_whole());
    let check = |name, passes, detail: &'static str| Check {
        name,
        passes,
        is_degraded: false,
        detail: detail.into(),
    };
    // What is wrong first is told first.
    [
        if draining {
            check("draining", false, "the gateway drains")
        } else {
            check("draining", true, "no")
        },
        check("config", true, "loaded"),
        if draining {
            check("listeners", false, "closed or closing")
        } else {
            check("listeners", true, "bound")
        },
        match (draining, whole) {
            // One after the other, as they should.
            (true, _) => check("workers", true, "ending"),
            (false, true) => check("workers", true, "running"),
            (false, false) => check("workers", false, "at least one has ended"),
        },
        match view.has_keys() {
            None => check("keys", true, "none to fetch"),
            Some((true, true)) => check("keys", true, "fetched"),
            Some((true, false)) => {
                check("keys", false, "the keys of tokens are older than max_stale")
            }
            Some((false, _)) => check("keys", false, "the keys of tokens were not fetched yet"),
        },
        bus(&view.bus.state()),
        match &view.cluster {
            None => check("cluster", true, "none: this node is on its own"),
            Some(cluster) if cluster.is_up() => check("cluster", true, "its store is connected"),
            Some(cluster) => Check {
                is_degraded: true,
                detail: apart(cluster.trouble().as_deref()).into(),
                ..check("cluster", true, "")
            },
        },
    ]
}

/// That this node is on its own, and why.
fn apart(reason: Option<&str>) -> String {
    let reason = reason.unwrap_or("its store is not connected yet");
    format!("this node is on its own until that is over: {reason}")
}

/// A bus that fails later is no reason to turn clients away.
fn bus(state: &BusState) -> Check {
    let words = match state.is_ready {
        true => "attached",
        false => "events of other processes do not arrive yet",
    };
    let detail = match &*state.troubles.join("; ") {
        "" => words.into(),
        troubles => format!("{words}: {troubles}").into(),
    };
    Check {
        name: "bus",
        passes: state.is_ready,
        is_degraded: state.is_ready && !state.troubles.is_empty(),
        detail,
    }
}

/// Whether new traffic should come here.
async fn readyz(State(view): State<Arc<View>>, RawQuery(query): RawQuery) -> Response {
    let checks = checks(&view);
    let ready = checks.iter().all(|check| check.passes);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    if !is_verbose(query.as_deref()) {
        let failed = checks.iter().find(|check| !check.passes);
        let text = failed.map_or_else(
            || "ok\n".to_owned(),
            |check| format!("{}: {}\n", check.name, check.detail),
        );
        return (status, text).into_response();
    }
    let is_degraded = checks.iter().any(|check| check.is_degraded);
    let checks: Vec<_> = checks
        .iter()
        .map(|check| {
            let status = match check.is_degraded {
                true => "degraded",
                false => word(check.passes),
            };
            json!({ "name": check.name, "status": status, "detail": check.detail })
        })
        .collect();
    (
        status,
        Json(json!({ "status": word(ready), "degraded": is_degraded, "checks": checks })),
    )
        .into_response()
}

const fn word(passes: bool) -> &'static str {
    if passes { "ok" } else { "failed" }
}

fn is_verbose(query: Option<&str>) -> bool {
    let mut pairs = query.unwrap_or_default().split('&');
    pairs.any(|pair| matches!(pair, "verbose" | "verbose=" | "verbose=true" | "verbose=1"))
}

/// Readiness in the words of Spring Boot.
async fn actuator_health(State(view): State<Arc<View>>) -> Response {
    if checks(&view).iter().all(|check| check.passes) {
        Json(json!({ "status": "UP" })).into_response()
    } else {
        let down = Json(json!({ "status": "OUT_OF_SERVICE" }));
        (StatusCode::SERVICE_UNAVAILABLE, down).into_response()
    }
}

async fn document() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT).into_response()
}

async fn metrics(State(view): State<Arc<View>>) -> Response {
    ([(header::CONTENT_TYPE, PROMETHEUS)], view.metrics()).into_response()
}

async fn info(State(view): State<Arc<View>>) -> Response {
    let census = view.census();
    let listeners: Vec<_> = view
        .addresses
        .iter()
        .map(|(name, address)| json!({ "name": &**name, "address": address.to_string() }))
        .collect();
    Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": view.commit(),
        "started": time::rfc3339(view.started),
        "uptime_seconds": view.begun.elapsed().as_secs(),
        "draining": view.is_draining(),
        "workers": view.workers.len(),
        "listeners": listeners,
        "census": {
            "connections": census.connections,
            "sessions": census.sessions,
            "users": census.users,
            "upstream_idle": census.upstream_idle,
            "tasks": census.tasks,
            "panics": census.panics,
        },
    }))
    .into_response()
}

/// Begins the drain; asked again, it changes nothing. Whoever asks for more than that, a trial perhaps,
/// must not get the real thing.
async fn drain(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    if query.is_some_and(|query| !query.is_empty()) || to_bytes(body, 0).await.is_err() {
        return Err(bad("a drain takes neither a query nor a body"));
    }
    view.drain.begin();
    Ok((StatusCode::ACCEPTED, Json(json!({ "draining": true }))).into_response())
}

async fn not_found() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "there is nothing at this path",
    )
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method_not_allowed",
        "this path does not take this method",
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use axum::body::Body;
    use axum::extract::Request;
    use hyper::service::Service as _;
    use hyper_util::service::TowerToHyperService;
    use serde_json::Value;

    use super::super::aliases;
    use super::super::testing::view;
    use super::*;
    use crate::config::plan::{AdminAlias, KafkaPlan};

    /// The methods of each path, as the router takes them.
    async fn taken() -> BTreeMap<String, Vec<String>> {
        let aliases = [
            AdminAlias::ActuatorWebsocket,
            AdminAlias::ApplicationWebsockets,
        ];
        let mut taken = BTreeMap::new();
        let kafka = Arc::new(KafkaPlan::new(vec!["r".into()]));
        let aliases = aliases::places(&aliases, Some(&kafka));
        for (path, answer) in places().into_iter().chain(aliases) {
            let router = Router::new().route(path, answer).with_state(view().0);
            let router = TowerToHyperService::new(router);
            let request = Request::builder().method("BREW").uri(path);
            let request = request.body(Body::empty()).unwrap();
            let refusal = router.call(request).await.unwrap();
            let allowed = refusal.headers()[header::ALLOW].to_str().unwrap();
            let methods = allowed.split(',').map(str::to_lowercase);
            // Where there is GET there is HEAD; the document need not say so.
            let mut methods: Vec<_> = methods.filter(|method| method != "head").collect();
            methods.sort();
            let before = taken.insert(path.to_owned(), methods);
            assert_eq!(before, None, "{path}");
        }
        taken
    }

    #[tokio::test]
    async fn the_document_tells_what_there_is_and_nothing_else() {
        let document: Value = serde_json::from_str(DOCUMENT).unwrap();
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let told = document["paths"].as_object().unwrap().iter();
        let told: BTreeMap<_, Vec<_>> = told
            .map(|(path, item)| {
                let members = item.as_object().unwrap().keys();
                let is_method = |name: &&String| !matches!(name.as_str(), "parameters" | "summary");
                (path.clone(), members.filter(is_method).cloned().collect())
            })
            .collect();
        assert_eq!(told, taken().await);
    }
}
