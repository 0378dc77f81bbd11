//! `POST /kafka`, as the predecessor has it (row B-037): an event for a topic that the caller names. It is
//! there where it is switched on, for callers whose token has one of certain roles, and for certain topics.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, post};
use tokio::time::timeout;

use super::listen::Peer;
use super::problem::Problem;
use super::push::{bus_problem, whole};
use super::view::View;
use crate::auth::AuthError;
use crate::bus::{BusError, Event, Payload, PushTarget};
use crate::config::plan::KafkaPlan;
use crate::metrics::PushSource;
use crate::push::request;

/// How long it is waited until a push is on its way, so that it is counted as this one's.
const ROUTED_WITHIN: Duration = Duration::from_secs(1);

/// What answers there.
pub(super) fn place(plan: Arc<KafkaPlan>) -> MethodRouter<Arc<View>> {
    post(
        move |State(view): State<Arc<View>>,
              Extension(Peer(peer)): Extension<Peer>,
              headers: HeaderMap,
              body: Body| async move { publish(&view, &plan, peer, &headers, body).await },
    )
}

async fn publish(
    view: &View,
    plan: &KafkaPlan,
    peer: IpAddr,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    admit(view, plan, peer, headers).await?;
    let body = whole(body).await?;
    let (topic, push) = request::parse_kafka(&body, plan.parse_string_body)?;
    let is_default = plan.topics.is_empty() && topic == *view.topics.push;
    if !is_default && !plan.topics.iter().any(|one| **one == *topic) {
        let detail = "events for this topic are not taken here";
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "topic_not_allowed",
            detail,
        ));
    }
    let key = match &*push.targets {
        [PushTarget::User(user)] => Some(user.clone()),
        _ => None,
    };
    let is_routed = topic == *view.topics.push;
    let event = Event::now(topic.as_str().into(), key, Payload::Push(Box::new(push)));
    let mut expected = view
        .push
        .outcomes
        .expect(event.id, PushSource::Kafka, false);
    let published = view.bus.publish(event).await;
    published.map_err(|error| match error {
        BusError::NoTopic => {
            let detail = format!("the brokers have no topic `{topic}`");
            Problem::new(StatusCode::NOT_FOUND, "no_such_topic", detail)
        }
        error => bus_problem(error),
    })?;
    if is_routed {
        let _told = timeout(ROUTED_WITHIN, expected.outcome()).await;
    }
    Ok(StatusCode::OK.into_response())
}

/// Lets pass who has a token with one of the roles.
async fn admit(
    view: &View,
    plan: &KafkaPlan,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    let unauthorized = |code, detail: String, challenge| {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, code, detail);
        problem.with(header::WWW_AUTHENTICATE, challenge)
    };
    let mut fields = headers.get_all(header::AUTHORIZATION).iter();
    let token = match (fields.next(), fields.next()) {
        (Some(field), None) => field.to_str().ok().and_then(bearer),
        _ => None,
    };
    let token = token.ok_or_else(|| {
        let detail = "send `Authorization: Bearer` with a user's token, once".to_owned();
        unauthorized("unauthorized", detail, "Bearer realm=\"tidegate\"")
    })?;
    let verified = match view.authenticator() {
        Some(authenticator) => authenticator.bearer(peer, token).await,
        None => Err(AuthError::KeysUnavailable),
    };
    let principal = verified.map_err(|error| {
        let (status, _) = error.status_and_label();
        match status {
            StatusCode::UNAUTHORIZED => {
                let challenge = "Bearer realm=\"tidegate\", error=\"invalid_token\"";
                unauthorized("unauthorized", error.to_string(), challenge)
            }
            StatusCode::TOO_MANY_REQUESTS => {
                let problem = Problem::new(status, "too_many_failures", error.to_string());
                problem.with(header::RETRY_AFTER, "1")
            }
            _ => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let problem = Problem::new(status, "keys_unavailable", error.to_string());
                problem.with(header::RETRY_AFTER, "1")
            }
        }
    })?;
    let has_role = principal
        .roles()
        .any(|role| plan.roles.iter().any(|one| **one == *role));
    if !has_role {
        let detail = "the token has none of the roles that may publish here";
        return Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", detail));
    }
    Ok(())
}

fn bearer(field: &str) -> Option<&str> {
    let (scheme, token) = field.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
