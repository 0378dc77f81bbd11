//! Who is online, in figures: of all nodes, and which those are.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::problem::Problem;
use super::query;
use super::view::View;
use crate::cluster::{Cluster, Member};

/// `GET /v1/presence`.
pub(super) async fn seen(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let [] = query::parse(query.as_deref(), [])?;
    let Some(cluster) = &view.cluster else {
        return Ok(Json(alone(&view, None)).into_response());
    };
    let store = cluster.store();
    let both = async { Ok((store.online().await?, store.members().await?)) };
    let answer = match cluster.look(both).await {
        Ok((online, members)) if has(&members, cluster) => told(cluster, online, members),
        // What is known here is known all the same. A store that has lost this node has lost others too.
        _ => alone(&view, Some(cluster)),
    };
    Ok(Json(answer).into_response())
}

/// Whether this node is among them, or was.
fn has(members: &[Member], cluster: &Cluster) -> bool {
    let me = cluster.id();
    members.iter().any(|one| one.node == me)
}

fn told(cluster: &Cluster, online: u64, mut members: Vec<Member>) -> Value {
    members.sort_by(|one, other| one.node.cmp(&other.node));
    let me = cluster.id();
    let nodes = members.iter().map(|one| {
        let seen = one.lease.map(|left| cluster.lease().saturating_sub(left));
        json!({
            "node": &**one.node.name(),
            "incarnation": format!("{:016x}", one.node.incarnation()),
            "this": one.node == me,
            "sessions": one.sessions,
            "lease_left_seconds": one.lease.map(seconds),
            "last_seen_seconds": seen.map(seconds),
        })
    });
    json!({
        "degraded": false,
        "users_online": online,
        "sessions": members.iter().map(|one| one.sessions).sum::<u64>(),
        "nodes": nodes.collect::<Vec<_>>(),
    })
}

/// This node, as it sees itself.
fn alone(view: &View, cluster: Option<&Arc<Cluster>>) -> Value {
    let census = view.census();
    let id = cluster.map(|cluster| cluster.id());
    json!({
        "degraded": cluster.is_some(),
        "users_online": census.users,
        "sessions": census.sessions,
        "nodes": [{
            "node": view.directory().teller().node(),
            "incarnation": id.map(|id| format!("{:016x}", id.incarnation())),
            "this": true,
            "sessions": census.sessions,
            "lease_left_seconds": null,
            "last_seen_seconds": 0.0,
        }],
    })
}

/// With the milliseconds.
fn seconds(time: Duration) -> f64 {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)).as_secs_f64()
}
