//! The users who are online: seen page by page, looked at one by one, and their sessions ended.

use std::sync::Arc;

use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::everywhere;
use super::problem::Problem;
use super::query::{self, bad};
use super::scope::{self, Scope};
use super::sessions::{MOST_SAID, described, farewell, limit};
use super::view::View;
use crate::cluster::Order;

/// Sessions that are told of one user; all of them are at `/v1/sessions?user=`.
const MOST_TOLD: usize = 1000;

/// `GET /v1/users`.
pub(super) async fn list(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let [limited, cursor, scope] = query::parse(query.as_deref(), ["limit", "cursor", "scope"])?;
    let limit = limit(limited.as_deref())?;
    let after = query::name_behind(cursor.as_deref())?;
    let scope = Scope::parse(scope.as_deref())?;
    let cluster = view.cluster.as_ref().filter(|_| scope == Scope::Cluster);
    // One more, so that it is known whether there are more.
    let (online, mut users) = match cluster {
        Some(cluster) => everywhere::users(cluster, &after, limit + 1).await?,
        None => (
            view.directory().online() as u64,
            view.directory().page(&after, limit + 1),
        ),
    };
    let has_more = users.len() > limit;
    users.truncate(limit);
    let last = users.last().filter(|_| has_more);
    let next = last.map(|last| query::cursor_of(&last.user));
    let told = users.iter();
    let told = told.map(|one| json!({ "user": one.user, "sessions": one.sessions }));
    let answer = json!({
        "users_online": online,
        "users": told.collect::<Vec<_>>(),
        "next_cursor": next,
    });
    Ok(Json(answer).into_response())
}

/// The user in a path.
type Named = Result<Path<String>, PathRejection>;

fn named(user: Named) -> Result<String, Problem> {
    let user = user.map_err(|_no_text| bad("the user's name is no UTF-8 text"))?;
    Ok(user.0)
}

/// `GET /v1/users/{user}`.
pub(super) async fn one(
    State(view): State<Arc<View>>,
    user: Named,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let user = named(user)?;
    let [scope] = query::parse(query.as_deref(), ["scope"])?;
    let scope = Scope::parse(scope.as_deref())?;
    if let Some(cluster) = view.cluster.as_ref().filter(|_| scope == Scope::Cluster) {
        return everywhere::user(cluster, &user).await;
    }
    let handles = view.directory().sessions(&user);
    if handles.is_empty() {
        return Err(offline());
    }
    let told = handles.iter().take(MOST_TOLD).filter_map(|handle| {
        let mut workers = view.workers.iter();
        let (worker, _) = workers.find(|(one, _)| one.sessions.find(handle.id).is_some())?;
        Some(described(handle, &worker.clock))
    });
    let told: Vec<Value> = told.collect();
    let answer = json!({ "user": user, "session_count": handles.len(), "sessions": told });
    Ok(Json(answer).into_response())
}

pub(super) fn offline() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "user_offline",
        "no user of this name has a session open",
    )
}

/// `DELETE /v1/users/{user}/sessions`. That there is none is no failure: whoever asks for their end has
/// it.
pub(super) async fn end(
    State(view): State<Arc<View>>,
    user: Named,
    body: Body,
) -> Result<Response, Problem> {
    let said = to_bytes(body, MOST_SAID)
        .await
        .map_err(|_too_long| bad("the body is cut, or longer than 4096 bytes"))?;
    let (code, reason) = farewell(&said)?;
    let user = named(user)?;
    let handles = view.directory().sessions(&user);
    tracing::info!(
        sessions = handles.len(),
        "sessions of a user are ended by an admin"
    );
    for handle in &handles {
        handle.dismiss(code, reason.clone());
    }
    // Behind them, so that none that ends meanwhile is kept.
    view.push.forget_those(&|identity| identity.user() == user);
    let order = Order::EndUser {
        user: user.as_str().into(),
        code,
        reason,
    };
    let mut answer = json!({ "user": user, "sessions": handles.len() });
    if let Some(answers) = view.order(order).await {
        answer["sessions"] = (handles.len() as u64 + answers.count).into();
        answer["nodes"] = scope::nodes(answers);
    }
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}
