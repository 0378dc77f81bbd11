//! Pushes, as publishers ask for them: an event on the bus for each.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;
use super::query::{self, bad};
use super::scope;
use super::view::View;
use crate::bus::{BusError, Event, EventId, Payload, PushEvent, PushTarget};
use crate::cluster::Asked;
use crate::metrics::PushSource;
use crate::push::keys::Use;
use crate::push::outcome::Expected;
use crate::push::request::{self, Wrong};

/// The most bytes of a request.
const MOST_ASKED: usize = 4 * 1024 * 1024;
/// The most bytes of what makes a request the same as another.
const LONGEST_KEY: usize = 255;
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
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Path(user) = user.map_err(|_no_text| bad("the user is no text"))?;
    let patience = patience(query.as_deref())?;
    let body = whole(body).await?;
    let push = request::parse_for(&user, &body)?;
    let path = format!("/v1/users/{user}/push");
    let asked = request::Asked::One(push);
    answered(&view, (&path, &headers, &body), asked, patience).await
}

/// `POST /v1/push`.
pub(super) async fn to_any(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let patience = patience(query.as_deref())?;
    let body = whole(body).await?;
    let asked = request::parse(&body)?;
    answered(&view, ("/v1/push", &headers, &body), asked, patience).await
}

/// The answer to a request, or, where its key has been used for the same one, that of before.
async fn answered(
    view: &View,
    (path, headers, body): (&str, &HeaderMap, &[u8]),
    asked: request::Asked,
    patience: Option<Duration>,
) -> Result<Response, Problem> {
    let key = idempotency_key(headers)?;
    let claim = match key.map(|key| view.push.keys.claim(path, key, body)) {
        None => None,
        Some(Use::First(claim)) => Some(claim),
        Some(Use::Again(answer)) => {
            let again = [("idempotent-replayed", "true")];
            return Ok((again, accepted(&answer)).into_response());
        }
        Some(Use::UnderWay) => {
            let detail = "a request with this `Idempotency-Key` is under way";
            return Err(Problem::new(StatusCode::CONFLICT, "key_in_use", detail));
        }
        Some(Use::Other) => {
            let detail = "this `Idempotency-Key` was used for another request";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::new(status, "key_reused", detail));
        }
    };
    let (pushes, is_batch) = match asked {
        request::Asked::One(push) => (vec![push], false),
        request::Asked::Batch(pushes) => (pushes, true),
    };
    let written = |told: Vec<Value>| -> Arc<str> {
        let text = match is_batch {
            true => Value::from(told).to_string(),
            false => told.first().map_or_else(String::new, ToString::to_string),
        };
        text.into()
    };
    let published = publish(view, pushes, patience, key.map(|key| (path, key, body))).await?;
    if let Some(claim) = &claim {
        // From now on it must not happen again, even if nobody is left to hear the rest.
        let told = published.iter().map(Published::told);
        claim.answered(&written(told.collect()));
    }
    let answer = written(settled(published, patience).await);
    if let Some(claim) = &claim {
        claim.answered(&answer);
    }
    Ok(accepted(&answer))
}

fn accepted(answer: &str) -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (StatusCode::ACCEPTED, kind, answer.to_owned()).into_response()
}

/// What makes a request the same as another.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut fields = headers.get_all("idempotency-key").iter();
    let key = match (fields.next(), fields.next()) {
        (None, _) => return Ok(None),
        (Some(field), None) => field.to_str().ok(),
        (Some(_), Some(_)) => None,
    };
    let key = key.filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
    let key = key.ok_or_else(|| bad("`Idempotency-Key` has 1 to 255 visible characters, once"));
    key.map(Some)
}

pub(super) async fn whole(body: Body) -> Result<axum::body::Bytes, Problem> {
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
    let patience = patience
        .ok()
        .map(|patience| patience.unwrap_or(ACKED_WITHIN));
    let patience = patience.filter(|patience| *patience <= MOST_PATIENCE);
    let patience = patience.ok_or_else(|| bad("`timeout` is a duration of at most 25s"))?;
    match wait.as_deref() {
        None => Ok(None),
        Some("ack") => Ok(Some(patience)),
        Some(_) => Err(bad("`wait` is `ack`")),
    }
}

/// An event that the bus was asked to carry.
struct Published<'v> {
    id: EventId,
    /// `None`: it does not.
    expected: Option<Expected<'v>>,
    /// What the other nodes are asked, where there are some.
    asked: Option<Asked<'v>>,
}

/// Publishes all of them; an error where not one was accepted.
async fn publish<'v>(
    view: &'v View,
    pushes: Vec<PushEvent>,
    patience: Option<Duration>,
    key: Option<(&str, &str, &[u8])>,
) -> Result<Vec<Published<'v>>, Problem> {
    let mut published = Vec::with_capacity(pushes.len());
    let mut refused = None;
    for (place, push) in pushes.into_iter().enumerate() {
        let mut event = event(view, push);
        if let Some(key) = key {
            event.id = named(key, place);
        }
        let id = event.id;
        let outcomes = &view.push.outcomes;
        let expected = outcomes.expect(id, PushSource::Api, patience.is_some());
        let mut asked = None;
        // What follows one that was refused would overtake it.
        if refused.is_none() {
            asked = ask(view, id, patience).await;
            refused = view.bus.publish(event).await.err();
        }
        let expected = refused.is_none().then_some(expected);
        published.push(Published {
            id,
            expected,
            asked,
        });
    }
    match refused {
        Some(error) if published.iter().all(|one| one.expected.is_none()) => {
            Err(bus_problem(error))
        }
        _ => Ok(published),
    }
}

/// Asks the other nodes what becomes of an event that is published next.
async fn ask(view: &View, id: EventId, patience: Option<Duration>) -> Option<Asked<'_>> {
    let cluster = view.cluster.as_ref()?;
    let asked = Some(cluster.asking()).filter(|asked| !asked.is_for_nobody())?;
    cluster.expect(id, &asked, patience).await;
    Some(asked)
}

/// The name of what is asked for under a key: asked again, of whatever node, it is the same event.
fn named((path, key, body): (&str, &str, &[u8]), place: usize) -> EventId {
    let digest = digest(&SHA256, body);
    let body = digest.as_ref().iter().map(|byte| format!("{byte:02x}"));
    let whom = format!("{path}\n{key}\n{place}\n{}", body.collect::<String>());
    EventId::derived("push", 0, &whom)
}

/// What became of all of them.
async fn settled(published: Vec<Published<'_>>, patience: Option<Duration>) -> Vec<Value> {
    let now = Instant::now();
    let (routed, acked) = (now + ROUTED_WITHIN, patience.map(|patience| now + patience));
    let mut told = Vec::with_capacity(published.len());
    for one in published {
        told.push(one.settled(routed, acked).await);
    }
    told
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

impl Published<'_> {
    fn told(&self) -> Value {
        json!({ "event_id": self.id.to_string(), "queued": self.expected.is_some() })
    }

    /// The same, with what has become of it by these times.
    async fn settled(self, routed: Instant, acked: Option<Instant>) -> Value {
        let mut told = self.told();
        let Some(mut expected) = self.expected else {
            return told;
        };
        let mut asked = self.asked;
        if let Ok(Some(matched)) = timeout_at(routed, expected.matched()).await {
            told["matched"] = matched.into();
            if let Some(asked) = &mut asked {
                let answers = asked.gather(0, routed).await;
                told["matched"] = (matched as u64 + answers.count).into();
                told["nodes"] = scope::nodes(answers);
            }
        }
        if let Some(until) = acked {
            // How many have it, is told either way.
            let _elapsed = timeout_at(until, expected.acked()).await;
            let mut acked = expected.count().unwrap_or_default() as u64;
            if let Some(asked) = &mut asked {
                acked += asked.gather(1, until + ROUTED_WITHIN).await.count;
            }
            told["acked"] = acked.into();
        }
        told
    }
}

pub(super) fn bus_problem(error: BusError) -> Problem {
    let (code, detail) = match error {
        BusError::TooBig => return too_big("the bus carries no event of this size"),
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
