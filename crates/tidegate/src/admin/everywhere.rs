//! What concerns sessions of other nodes: seen as the cluster's store has them, and ended where they are.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::problem::Problem;
use super::query::bad;
use super::scope::{nodes, unreachable};
use super::sessions::{Said, limit, no_session};
use super::users::offline;
use super::view::View;
use crate::cluster::{Cluster, Entry, Facts, NodeId, Order};
use crate::presence::Online;
use crate::time;

/// `GET /v1/sessions?scope=cluster`.
pub(super) async fn list(
    cluster: &Cluster,
    limited: Option<&str>,
    cursor: Option<&str>,
) -> Result<Response, Problem> {
    let limit = limit(limited)?;
    let from = cursor.map_or(Ok(0), |text| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let from = text.parse().ok().filter(|_| is_plain);
        from.ok_or_else(|| bad("`cursor` is none that was given out here"))
    })?;
    let looked = cluster.look(cluster.store().sessions(from, limit)).await;
    let page = looked.map_err(|_away| unreachable())?;
    let told = page.sessions.iter().filter_map(told);
    Ok(Json(json!({
        "sessions": told.collect::<Vec<_>>(),
        "next_cursor": page.next.map(|next| next.to_string()),
    }))
    .into_response())
}

/// What is told of a session of whatever node.
fn told((node, entry): &(NodeId, Entry)) -> Option<Value> {
    let facts = Facts::parse(entry)?;
    Some(json!({
        "id": entry.session,
        "node": &**node.name(),
        "user": entry.user,
        "route": facts.route,
        "client": facts.client.to_string(),
        "opened": time::rfc3339(facts.opened()),
    }))
}

/// Users of all nodes behind `after`, and how many there are in all.
pub(super) async fn users(
    cluster: &Cluster,
    after: &str,
    most: usize,
) -> Result<(u64, Vec<Online>), Problem> {
    let store = cluster.store();
    let both = async { Ok((store.online().await?, store.users(after, most).await?)) };
    let looked = cluster.look(both).await;
    let (online, users) = looked.map_err(|_away| unreachable())?;
    let users = users.into_iter().map(|one| Online {
        user: one.user,
        sessions: usize::try_from(one.sessions).unwrap_or(usize::MAX),
    });
    Ok((online, users.collect()))
}

/// `GET /v1/users/{user}?scope=cluster`.
pub(super) async fn user(cluster: &Cluster, user: &str) -> Result<Response, Problem> {
    let looked = cluster.look(cluster.store().sessions_of(user)).await;
    let sessions = looked.map_err(|_away| unreachable())?;
    if sessions.is_empty() {
        return Err(offline());
    }
    let told: Vec<_> = sessions.iter().filter_map(told).collect();
    let answer = json!({ "user": user, "session_count": sessions.len(), "sessions": told });
    Ok(Json(answer).into_response())
}

/// Ends a session that is not here; a `problem` where it is nowhere.
pub(super) async fn end(
    view: &View,
    id: &str,
    (code, reason): Said,
    problem: Problem,
) -> Result<Response, Problem> {
    let order = Order::EndSession {
        session: id.into(),
        code,
        reason,
    };
    match view.order(order).await {
        Some(answers) if answers.count > 0 => {
            tracing::info!(session = id, "session of another node is ended by an admin");
            Ok((StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response())
        }
        // It may be on a node that said nothing.
        Some(answers) if answers.answered < answers.asked => Err(unreachable()),
        _ if view.is_apart() => Err(unreachable()),
        _ => Err(problem),
    }
}

/// Takes back the token of a session that is not here.
pub(super) async fn revoke(view: &View, id: &str) -> Result<Response, Problem> {
    let order = Order::RevokeSession { session: id.into() };
    match view.order(order).await {
        Some(answers) if answers.count > 0 => {
            let told = json!({ "sessions": answers.count, "nodes": nodes(answers) });
            Ok(Json(told).into_response())
        }
        Some(answers) if answers.answered < answers.asked => Err(unreachable()),
        _ if view.is_apart() => Err(unreachable()),
        _ => Err(no_session()),
    }
}
