//! The rooms: seen page by page, and looked into one by one.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::problem::Problem;
use super::query::{self, bad};
use super::sessions::limit;
use super::view::View;
use crate::push::rooms::RoomState;

/// Users that are told of one room.
const MOST_TOLD: usize = 1000;

/// `GET /v1/rooms`.
pub(super) async fn list(
    State(view): State<Arc<View>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let [limited, cursor] = query::parse(query.as_deref(), ["limit", "cursor"])?;
    let limit = limit(limited.as_deref())?;
    let after = query::name_behind(cursor.as_deref())?;
    // One more, so that it is known whether there are more.
    let mut rooms = view.push.rooms.page(&after, limit + 1);
    let has_more = rooms.len() > limit;
    rooms.truncate(limit);
    let last = rooms.last().filter(|_| has_more);
    let next = last.map(|last| query::cursor_of(&last.name));
    let [open, members] = view.push.rooms.counts();
    let answer = json!({
        "rooms_open": open,
        "members": members,
        "rooms": rooms.iter().map(described).collect::<Vec<_>>(),
        "next_cursor": next,
    });
    Ok(Json(answer).into_response())
}

/// `GET /v1/rooms/{room}`.
pub(super) async fn one(
    State(view): State<Arc<View>>,
    room: Result<Path<String>, PathRejection>,
) -> Result<Response, Problem> {
    let Path(room) = room.map_err(|_no_text| bad("the room's name is no UTF-8 text"))?;
    let rooms = &view.push.rooms;
    let Some((state, seen)) = rooms.state(&room).zip(rooms.look(&room)) else {
        let detail = "nobody is in a room of this name, and nothing is kept of one";
        return Err(Problem::new(StatusCode::NOT_FOUND, "no_such_room", detail));
    };
    let mut told = described(&state);
    let users = seen.users.iter().take(MOST_TOLD);
    let users = users.map(|(user, sessions)| json!({ "user": user, "sessions": sessions }));
    told["users"] = users.collect::<Vec<_>>().into();
    Ok(Json(told).into_response())
}

fn described(room: &RoomState) -> Value {
    json!({
        "room": &*room.name,
        "epoch": room.epoch.to_string(),
        "seq": room.seq,
        "members": room.members,
        "user_count": room.users,
        "kept": room.kept,
    })
}
