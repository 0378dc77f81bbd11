//! Pushes, as publishers ask for them: an event on the bus for each.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;
use super::query::{self, bad};
use super::scope;
use super::view::View;
use super::waits::Waits;
use crate::bus::{BusError, Event, EventId, Payload, PushEvent, PushTarget};
use crate::cluster::{self, Answers};
use crate::metrics::PushSource;
use crate::push::keys::{Claim, Use};
use crate::push::outcome::{Expected, Outcome};
use crate::push::request::{self, Asked, Wrong};

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
    waits: Option<Extension<Waits>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let Path(user) = user.map_err(|_no_text| bad("the user is no text"))?;
    let patience = patience(query.as_deref())?;
    let body = whole(body).await?;
    let push = request::parse_for(&user, &body)?;
    let path = format!("/v1/users/{user}/push");
    let (asked, patience) = (Asked::One(push), (patience, waits));
    answered(&view, (&path, &headers, &body), asked, patience).await
}

/// `POST /v1/push`.
pub(super) async fn to_any(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
    waits: Option<Extension<Waits>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let patience = (patience(query.as_deref())?, waits);
    let body = whole(body).await?;
    let asked = request::parse(&body)?;
    answered(&view, ("/v1/push", &headers, &body), asked, patience).await
}

/// The answer to a request, or, where its key has been used for the same one, that of before.
async fn answered(
    view: &View,
    (path, headers, body): (&str, &HeaderMap, &[u8]),
    asked: Asked,
    (patience, waits): (Option<Duration>, Option<Extension<Waits>>),
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
            let problem = Problem::new(StatusCode::CONFLICT, "key_in_use", detail);
            return Err(problem.with(header::RETRY_AFTER, "1"));
        }
        Some(Use::Other) => {
            let detail = "this `Idempotency-Key` was used for another request";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::new(status, "key_reused", detail));
        }
    };
    // Before anything is published.
    let waits = waits.filter(|_| patience.is_some());
    let _waiting = waits.map(|Extension(waits)| waits.begin()).transpose()?;
    let (pushes, is_batch) = match asked {
        Asked::One(push) => (vec![push], false),
        Asked::Batch(pushes) => (pushes, true),
    };
    let named = |place| key.map_or_else(EventId::next, |key| named((path, key, body), place));
    let mut work = Work::begin(claim, pushes.len(), is_batch, named);
    let published = publish(view, pushes, &mut work, patience).await?;
    settle(published, &mut work, patience).await;
    Ok(accepted(&work.written()))
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

/// What is done for a request. Dropped amid it, as when nobody is left to hear the rest, what has been
/// done is known to who asks again under its key.
struct Work<'v> {
    claim: Option<Claim<'v>>,
    is_batch: bool,
    /// What is told of each push.
    told: Vec<Told>,
}

/// What is told of one push.
struct Told {
    id: EventId,
    /// Once the bus carries it.
    queued: Option<Value>,
}

impl<'v> Work<'v> {
    /// Goes on with what has come of it before, if it was asked for before.
    fn begin(
        claim: Option<Claim<'v>>,
        pushes: usize,
        is_batch: bool,
        named: impl Fn(usize) -> EventId,
    ) -> Self {
        let before = claim.as_ref().and_then(|claim| claim.before());
        // It was written here, about as many.
        let before = before.and_then(|before| serde_json::from_str(before).ok());
        let before: Vec<Value> = match before {
            Some(Value::Array(before)) => before,
            one => one.into_iter().collect(),
        };
        let mut before = before.into_iter().map(Told::read);
        let told = (0..pushes).map(|place| {
            let new = || Told {
                id: named(place),
                queued: None,
            };
            before.next().flatten().unwrap_or_else(new)
        });
        Self {
            told: told.collect(),
            claim,
            is_batch,
        }
    }

    fn written(&self) -> Arc<str> {
        let mut told = self.told.iter().map(Told::value);
        let text = match self.is_batch {
            true => Value::from_iter(told).to_string(),
            false => told
                .next()
                .map_or_else(String::new, |told| told.to_string()),
        };
        text.into()
    }
}

impl Drop for Work<'_> {
    fn drop(&mut self) {
        let queued = self.told.iter().filter(|told| told.queued.is_some());
        match (&self.claim, queued.count()) {
            (None, _) | (_, 0) => {}
            (Some(claim), queued) if queued == self.told.len() => claim.answered(&self.written()),
            (Some(claim), _) => claim.answered_in_part(&self.written()),
        }
    }
}

impl Told {
    /// What was told before.
    fn read(told: Value) -> Option<Self> {
        let id = told["event_id"].as_str()?.parse().ok()?;
        let queued = told["queued"] == true;
        Some(Self {
            id,
            queued: queued.then_some(told),
        })
    }

    fn value(&self) -> Value {
        let none = || json!({ "event_id": self.id.to_string(), "queued": false });
        self.queued.clone().unwrap_or_else(none)
    }
}

/// What becomes of an event that the bus carries.
struct Awaited<'v> {
    /// Which of the pushes it is.
    place: usize,
    here: Expected<'v>,
    /// The other nodes, where there are some.
    elsewhere: Option<cluster::Asked<'v>>,
}

/// Publishes all of them that are not published yet, and tells which of them; an error where the bus
/// carries none.
async fn publish<'v>(
    view: &'v View,
    pushes: Vec<PushEvent>,
    work: &mut Work<'_>,
    patience: Option<Duration>,
) -> Result<Vec<Awaited<'v>>, Problem> {
    let mut published = Vec::with_capacity(pushes.len());
    for (place, (mut push, told)) in pushes.into_iter().zip(&mut work.told).enumerate() {
        if told.queued.is_some() {
            continue;
        }
        // Other nodes hear of that by the event itself.
        push.ack |= patience.is_some();
        let mut event = event(view, push);
        event.id = told.id;
        let outcomes = &view.push.outcomes;
        let here = outcomes.expect(told.id, PushSource::Api, patience.is_some());
        let elsewhere = ask(view, told.id, patience).await;
        match view.bus.publish(event).await {
            Ok(()) => {
                let queued = json!({ "event_id": told.id.to_string(), "queued": true });
                told.queued = Some(queued);
                published.push(Awaited {
                    place,
                    here,
                    elsewhere,
                });
            }
            // What follows one that was refused would overtake it.
            Err(error) if work.told.iter().all(|told| told.queued.is_none()) => {
                return Err(bus_problem(error));
            }
            Err(_refused) => break,
        }
    }
    Ok(published)
}

/// Asks the other nodes what becomes of an event that is published next.
async fn ask(view: &View, id: EventId, patience: Option<Duration>) -> Option<cluster::Asked<'_>> {
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

/// Says what became of all of them, in time.
async fn settle(published: Vec<Awaited<'_>>, work: &mut Work<'_>, patience: Option<Duration>) {
    let now = Instant::now();
    let (routed, acked) = (now + ROUTED_WITHIN, patience.map(|patience| now + patience));
    for mut one in published {
        let queued = work.told.get_mut(one.place);
        let Some(told) = queued.and_then(|told| told.queued.as_mut()) else {
            continue;
        };
        match timeout_at(routed, one.here.outcome()).await {
            Ok(Some(Outcome::Left(matched))) => {
                told["matched"] = matched.into();
                if let Some(answers) = one.gather(0, routed).await {
                    told["matched"] = (matched as u64 + answers.count).into();
                    told["nodes"] = scope::nodes(answers);
                }
            }
            Ok(Some(Outcome::Repeated)) => told["repeated"] = true.into(),
            Ok(None) | Err(_) => {}
        }
        if let Some(until) = acked {
            // How many have it, is told either way.
            let _elapsed = timeout_at(until, one.here.acked()).await;
            let here = one.here.count().unwrap_or_default() as u64;
            let answers = one.gather(1, until + ROUTED_WITHIN).await;
            told["acked"] = (here + answers.unwrap_or_default().count).into();
            if let Some(answers) = answers.filter(|_| told["nodes"].is_object()) {
                // Who has said how many it is for, may not have said how many have it.
                told["nodes"] = scope::nodes(answers);
            }
        }
    }
}

impl Awaited<'_> {
    /// What the other nodes say in one round, where there are some.
    async fn gather(&mut self, round: usize, until: Instant) -> Option<Answers> {
        Some(self.elsewhere.as_mut()?.gather(round, until).await)
    }
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

pub(super) fn bus_problem(error: BusError) -> Problem {
    let (code, detail) = match error {
        BusError::TooBig => return too_big("the bus carries no event of this size"),
        BusError::Full => ("bus_full", "the bus has no room for more events"),
        BusError::NoTopic => ("bus_unreachable", "the bus has no topic for this"),
        BusError::Forbidden => (
            "bus_unreachable",
            "the bus does not let this gateway publish",
        ),
        BusError::Unreachable => ("bus_unreachable", "the bus cannot be reached"),
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
