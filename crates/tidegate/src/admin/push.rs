//! Pushes, as publishers ask for them: an event on the bus for each.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;
use super::query::{self, bad};
use super::view::View;
use crate::bus::{BusError, Event, EventId, Payload, PushEvent, PushTarget};
use crate::metrics::PushSource;
use crate::push::outcome::Expected;
use crate::push::request::{self, Asked, Wrong};

/// The most bytes of a request.
const MOST_ASKED: usize = 4 * 1024 * 1024;
/// How long it is waited to hear how many sessions a push was left for.
const ROUTED_WITHIN: Duration = Duration::from_secs(1);
/// How long clients have to say that they have it, unless the caller says how long, and at most.
const ACKED_WITHIN: Duration = Duration::from_secs(5);
const MOST_PATIENCE: Duration = Duration::from_secs(25);

/// `POST /v1/users/{user}/push`.
pub(super) async fn to_user(
    State(view): State<Arc<View>>,
    user: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let Path(user) = user.map_err(|_no_text| bad("the user is no text"))?;
    let patience = patience(query.as_deref())?;
    let push = request::parse_for(&user, &whole(body).await?)?;
    let [pushed] = &*publish(&view, vec![push], patience).await? else {
        return Err(bus_problem(BusError::Unreachable));
    };
    Ok((StatusCode::ACCEPTED, Json(pushed)).into_response())
}

/// `POST /v1/push`.
pub(super) async fn to_any(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let patience = patience(query.as_deref())?;
    let answer = match request::parse(&whole(body).await?)? {
        Asked::One(push) => publish(&view, vec![push], patience).await?.pop(),
        Asked::Batch(pushes) => Some(publish(&view, pushes, patience).await?.into()),
    };
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

async fn whole(body: Body) -> Result<axum::body::Bytes, Problem> {
    let read = to_bytes(body, MOST_ASKED).await;
    read.map_err(|_too_long| too_big("the body is cut, or longer than 4 MiB"))
}

fn too_big(detail: &'static str) -> Problem {
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "message_too_big", detail)
}

/// How long clients have to say that they have it; `None`: nobody waits for that.
fn patience(query: Option<&str>) -> Result<Option<Duration>, Problem> {
    let [wait, timeout] = query::parse(query, ["wait", "timeout"])?;
    let patience = timeout.as_deref().map(crate::config::duration).transpose();
    let patience = patience.ok().map(|patience| patience.unwrap_or(ACKED_WITHIN));
    let patience = patience.filter(|patience| *patience <= MOST_PATIENCE);
    let patience = patience.ok_or_else(|| bad("`timeout` is a duration of at most 25s"))?;
    match wait.as_deref() {
        None => Ok(None),
        Some("ack") => Ok(Some(patience)),
        Some(_) => Err(bad("`wait` is `ack`")),
    }
}

/// Publishes all of them, and tells what became of each; an error where not one was accepted.
async fn publish(
    view: &View,
    pushes: Vec<PushEvent>,
    patience: Option<Duration>,
) -> Result<Vec<Value>, Problem> {
    let mut published = Vec::with_capacity(pushes.len());
    let mut refused = None;
    for push in pushes {
        let event = event(view, push);
        let id = event.id;
        let outcomes = &view.push.outcomes;
        let expected = outcomes.expect(id, PushSource::Api, patience.is_some());
        // What follows one that was refused would overtake it.
        if refused.is_none() {
            refused = view.bus.publish(event).await.err();
        }
        published.push((id, refused.is_none().then_some(expected)));
    }
    if let Some(error) = refused
        && published.iter().all(|(_, expected)| expected.is_none())
    {
        return Err(bus_problem(error));
    }
    let now = Instant::now();
    let (routed, acked) = (now + ROUTED_WITHIN, patience.map(|patience| now + patience));
    let mut told = Vec::with_capacity(published.len());
    for (id, expected) in published {
        told.push(tell(id, expected, routed, acked).await);
    }
    Ok(told)
}

fn event(view: &View, push: PushEvent) -> Event {
    // What is for one user keeps its order there.
    let key = match &*push.targets {
        [PushTarget::User(user)] => Some(user.clone()),
        _ => None,
    };
    let topic = Arc::clone(&view.topics.push);
    Event::now(topic, key, Payload::Push(Box::new(push)))
}

async fn tell(
    id: EventId,
    expected: Option<Expected<'_>>,
    routed: Instant,
    acked: Option<Instant>,
) -> Value {
    let mut told = json!({ "event_id": id.to_string(), "queued": expected.is_some() });
    let Some(mut expected) = expected else {
        return told;
    };
    if let Ok(Some(matched)) = timeout_at(routed, expected.matched()).await {
        told["matched"] = matched.into();
    }
    if let Some(acked) = acked {
        // How many have, is told either way.
        let _elapsed = timeout_at(acked, expected.acked()).await;
        told["acked"] = expected.count().into();
    }
    told
}

fn bus_problem(error: BusError) -> Problem {
    let (code, detail) = match error {
        BusError::Full => ("bus_full", "the bus has no room for more events"),
        _ => ("bus_unreachable", "the bus cannot be reached"),
    };
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
    problem.with(header::RETRY_AFTER, "1")
}

impl From<Wrong> for Problem {
    fn from(wrong: Wrong) -> Self {
        match wrong {
            Wrong::Malformed(what) => bad(what),
            Wrong::TooBig => too_big("what is told is longer than 1 MiB"),
        }
    }
}
