//! The open WebSockets: seen page by page, looked at one by one, and ended.
//!
//! A registry is locked for a slice of its places at a time, and other requests are answered between
//! two slices, so that looking through a hundred thousand sessions holds up nobody.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ipnet::IpNet;
use serde_json::{Value, json};
use tidegate_ws::close::{cut_reason, is_legal_on_wire};
use tokio::task::yield_now;

use super::everywhere;
use super::problem::Problem;
use super::query::{self, bad};
use super::scope::Scope;
use super::view::View;
use crate::session::clock::Clock;
use crate::session::handle::Handle;
use crate::time;

/// Sessions on one page, unless the caller wants another number, and the most of them.
const LIMIT: usize = 100;
const MOST: usize = 1000;
/// The most bytes of what is said about an end.
pub(super) const MOST_SAID: usize = 4096;

/// Where a walk through all sessions goes on: at a place of a worker's registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Cursor {
    worker: usize,
    place: usize,
}

impl Cursor {
    fn parse(text: &str) -> Option<Self> {
        let Some((worker, place)) = text.split_once('-') else {
            // One of a list of all nodes: in that of this one nothing comes behind it.
            let is_number = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
            return (is_number && !text.is_empty()).then_some(Self {
                worker: usize::MAX,
                place: 0,
            });
        };
        Some(Self {
            worker: number(worker)?,
            place: number(place)?,
        })
    }

    /// The sessions at the next slice of places, with the clock of their worker, and where it goes
    /// on; `None`: there are no more.
    pub(super) fn slice(self, view: &View) -> Option<(Slice<'_>, Self)> {
        let (worker, _) = view.workers.get(self.worker)?;
        let (handles, next) = worker.sessions.slice(self.place);
        let next = match next {
            Some(place) => Self { place, ..self },
            None => Self {
                worker: self.worker + 1,
                place: 0,
            },
        };
        Some(((handles, &worker.clock), next))
    }
}

/// Some sessions of one worker, and its clock.
pub(super) type Slice<'v> = (Vec<Arc<Handle>>, &'v Clock);

/// Which sessions are meant.
#[derive(Debug, Default)]
struct Filter {
    user: Option<String>,
    route: Option<String>,
    service: Option<String>,
    address: Option<IpNet>,
}

impl Filter {
    fn takes(&self, handle: &Handle) -> bool {
        let facts = &handle.facts;
        let is = |wanted: &Option<String>, name: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == name
        };
        is(&self.user, facts.user())
            && is(&self.route, Some(facts.route()))
            && is(&self.service, facts.service())
            && self
                .address
                .is_none_or(|network| network.contains(&facts.client()))
    }
}

/// `GET /v1/sessions`.
pub(super) async fn list(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let names = [
        "user", "route", "service", "address", "limit", "cursor", "scope",
    ];
    let [user, route, service, address, limit, cursor, scope] =
        query::parse(query.as_deref(), names)?;
    let scope = Scope::parse(scope.as_deref())?;
    if let Some(cluster) = view.cluster.as_ref().filter(|_| scope == Scope::Cluster) {
        if user.is_some() || route.is_some() || service.is_some() || address.is_some() {
            let detail = "of all nodes, sessions are told without a filter; \
                          those of a user are at `/v1/users/{user}?scope=cluster`";
            return Err(bad(detail));
        }
        return everywhere::list(cluster, limit.as_deref(), cursor.as_deref()).await;
    }
    let filter = Filter {
        user,
        route,
        service,
        address: address.as_deref().map(network).transpose()?,
    };
    let limit = self::limit(limit.as_deref())?;
    let from = cursor.as_deref().map_or(Ok(Cursor::default()), |text| {
        Cursor::parse(text).ok_or_else(|| bad("`cursor` is none that was given out here"))
    })?;
    let (sessions, next) = page(&view, &filter, from, limit).await;
    let next = next.map(|Cursor { worker, place }| format!("{worker}-{place}"));
    Ok(Json(json!({ "sessions": sessions, "next_cursor": next })).into_response())
}

/// How many are wanted on a page.
pub(super) fn limit(text: Option<&str>) -> Result<usize, Problem> {
    text.map_or(Ok(LIMIT), |text| {
        let limit = number(text).filter(|limit| (1..=MOST).contains(limit));
        limit.ok_or_else(|| bad("`limit` is a whole number from 1 to 1000"))
    })
}

async fn page(
    view: &View,
    filter: &Filter,
    mut cursor: Cursor,
    limit: usize,
) -> (Vec<Value>, Option<Cursor>) {
    let mut sessions = Vec::new();
    while let Some(((handles, clock), next)) = cursor.slice(view) {
        for handle in handles.iter().filter(|handle| filter.takes(handle)) {
            if sessions.len() == limit {
                let place = handle.id.slot();
                return (sessions, Some(Cursor { place, ..cursor }));
            }
            sessions.push(described(handle, clock));
        }
        cursor = next;
        yield_now().await;
    }
    (sessions, None)
}

/// A number of digits alone.
fn number(text: &str) -> Option<usize> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_plain)
}

/// An address, or a network of them.
fn network(text: &str) -> Result<IpNet, Problem> {
    let address = text.parse::<IpAddr>().map(|one| one.to_canonical().into());
    let network = address.ok().or_else(|| text.parse().ok());
    network.ok_or_else(|| bad("`address` is an IP address, or a network such as 10.0.0.0/8"))
}

/// What a session is told to be.
pub(super) fn described(handle: &Handle, clock: &Clock) -> Value {
    let facts = &handle.facts;
    let [(msgs_in, bytes_in), (msgs_out, bytes_out)] = handle.counts();
    let (age, idle) = handle.ages(clock);
    let ended = handle.ended();
    json!({
        "id": handle.id.to_string(),
        "route": facts.route(),
        "kind": facts.target().kind(),
        "service": facts.service(),
        "endpoint": facts.endpoint().map(|one| one.plan.authority.to_string()),
        "handler": facts.target().handler(),
        "user": facts.user(),
        "client": facts.client().to_string(),
        "peer": facts.peer().to_string(),
        "listener": &*facts.listener,
        "client_certificate": facts.certificate(),
        "host": facts.host(),
        "path": facts.path(),
        "subprotocol": facts.subprotocol(),
        "opened": time::rfc3339(handle.opened()),
        "age_seconds": age,
        "idle_seconds": idle,
        "msgs_in": msgs_in,
        "msgs_out": msgs_out,
        "bytes_in": bytes_in,
        "bytes_out": bytes_out,
        "closing": ended.is_some(),
        "cause": ended.map(|(cause, _)| cause.label()),
        "initiator": ended.map(|(_, initiator)| initiator.label()),
    })
}

/// The id in a path; what is no text names no session either.
type Named = Result<Path<String>, PathRejection>;

/// The session with an id, and the clock of its worker.
fn find<'v>(view: &'v View, id: &Named) -> Result<(Arc<Handle>, &'v Clock), Problem> {
    let id = id.as_ref().ok().and_then(|Path(id)| id.parse().ok());
    let found = id.and_then(|id| {
        let mut workers = view.workers.iter();
        workers.find_map(|(worker, _)| Some((worker.sessions.find(id)?, &*worker.clock)))
    });
    found.ok_or_else(no_session)
}

pub(super) fn no_session() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "no_session",
        "there is no session with this id, or it has ended",
    )
}

/// `GET /v1/sessions/{id}`.
pub(super) async fn one(State(view): State<Arc<View>>, id: Named) -> Result<Response, Problem> {
    let (handle, clock) = find(&view, &id)?;
    Ok(Json(described(&handle, clock)).into_response())
}

/// `DELETE /v1/sessions/{id}`.
pub(super) async fn end(
    State(view): State<Arc<View>>,
    id: Named,
    body: Body,
) -> Result<Response, Problem> {
    let said = to_bytes(body, MOST_SAID)
        .await
        .map_err(|_too_long| bad("the body is cut, or longer than 4096 bytes"))?;
    let (code, reason) = farewell(&said)?;
    let found = find(&view, &id);
    if let Ok((handle, _)) = &found {
        tracing::info!(session = %handle.id, route = handle.facts.route(), "session is ended by an admin");
        handle.dismiss(code, reason.clone());
    }
    // One that has ended may be waited for by its client.
    let id = id.ok().map(|Path(id)| id);
    let kept = id.as_ref().and_then(|id| id.parse().ok());
    let forgotten = kept.and_then(|id| Some((id, view.push.forget_session(id)?)));
    let id = match (found, forgotten, id) {
        (Ok((handle, _)), ..) => handle.id,
        (Err(_), Some((id, _)), _) => id,
        (Err(problem), None, Some(id)) => {
            return everywhere::end(&view, &id, (code, reason), problem).await;
        }
        (Err(problem), None, None) => return Err(problem),
    };
    let answer = Json(json!({ "id": id.to_string() }));
    Ok((StatusCode::ACCEPTED, answer).into_response())
}

/// A whole number of at most `most`; in JSON 1000.0 is one too.
pub(super) fn whole(value: &Value, most: u64) -> Option<u64> {
    let number = value.as_u64().or_else(|| {
        let number = value.as_f64()?;
        let is_whole = number.fract() == 0.0 && (0.0..1e12).contains(&number);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is whole and within bounds"
        )]
        is_whole.then_some(number as u64)
    });
    number.filter(|number| *number <= most)
}

/// What an admin wants a client to be told: a code and a reason.
pub(super) type Said = (Option<u16>, Option<Box<str>>);

/// What the client is to be told, of `{"code": 4000, "reason": "..."}`; both may be left out.
pub(super) fn farewell(body: &[u8]) -> Result<Said, Problem> {
    const SHAPE: &str = "the body is no JSON object of `code`, a number, and `reason`, a text";
    if body.trim_ascii().is_empty() {
        return Ok((None, None));
    }
    let Ok(Value::Object(mut said)) = serde_json::from_slice(body) else {
        return Err(bad(SHAPE));
    };
    let (code, reason) = (said.remove("code"), said.remove("reason"));
    if !said.is_empty() {
        return Err(bad(SHAPE));
    }
    let code = match code {
        None | Some(Value::Null) => None,
        Some(code) => {
            let code = whole(&code, u64::from(u16::MAX)).and_then(|code| u16::try_from(code).ok());
            let code = code.filter(|&code| is_legal_on_wire(code));
            Some(code.ok_or_else(|| bad("`code` is none that may stand in a close frame"))?)
        }
    };
    let reason = match reason {
        None | Some(Value::Null) => None,
        Some(Value::String(reason)) if cut_reason(&reason) == reason => Some(reason.into()),
        Some(Value::String(_)) => return Err(bad("`reason` is longer than 123 bytes")),
        Some(_) => return Err(bad(SHAPE)),
    };
    Ok((code, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_legal_on_the_wire() {
        let said = |body: &str| farewell(body.as_bytes()).ok();
        let some = |code, reason: &str| Some((code, Some(reason.into())));
        assert_eq!(said(" \n"), Some((None, None)));
        assert_eq!(said("{}"), Some((None, None)));
        assert_eq!(
            said(r#"{"code":4001,"reason":"bye"}"#),
            some(Some(4001), "bye")
        );
        assert_eq!(said(r#"{"code":1000.0}"#), Some((Some(1000), None)));
        assert_eq!(said(r#"{"reason":""}"#), some(None, ""));
        let longest = "x".repeat(123);
        let body = format!("{{\"reason\":\"{longest}\"}}");
        assert_eq!(said(&body), some(None, &longest));
        for wrong in [
            r#"{"code":1006}"#,
            r#"{"code":999}"#,
            r#"{"code":70000}"#,
            r#"{"code":"1000"}"#,
            r#"{"code":1000.5}"#,
            r#"{"code":-1000.0}"#,
            r#"{"code":1e300}"#,
            r#"{"reason":7}"#,
            r#"{"reasons":"x"}"#,
            "[]",
            "1000",
            "{",
            &format!("{{\"reason\":\"{longest}x\"}}"),
        ] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn cursors_are_read_as_they_are_written() {
        let cursor = Cursor {
            worker: 1,
            place: 77,
        };
        assert_eq!(Cursor::parse("1-77"), Some(cursor));
        let behind = Cursor {
            worker: usize::MAX,
            place: 0,
        };
        assert_eq!(Cursor::parse("1"), Some(behind));
        for wrong in ["", "-", "1-", "x-1", "1-1-1", "1--1", "+1-1", "1-+1"] {
            assert_eq!(Cursor::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_network_is_an_address_too() {
        let network = |text| network(text).ok().map(|network| network.to_string());
        assert_eq!(network("10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(network("::ffff:10.1.2.3").as_deref(), Some("10.1.2.3/32"));
        assert_eq!(network("2001:db8::/32").as_deref(), Some("2001:db8::/32"));
        assert_eq!(network("localhost"), None);
    }
}
