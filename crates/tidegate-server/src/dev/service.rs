//! What the demo's service does for its users, as services do: by the gateway's admin listener it tells
//! them something, asks who is online, and ends their sessions.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use anyhow::Context as _;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::AUTHORIZATION;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tidegate::auth;
use tokio::task::spawn_blocking;

use crate::sessions::client::{Answer, Client, encoded};

/// Where the admin listener is, once that is known.
type Admin = Arc<OnceLock<SocketAddr>>;

pub(super) fn application(admin: Admin) -> Router {
    Router::new()
        .route("/_tidegate/demo/online", get(online))
        .route("/_tidegate/demo/push", post(push))
        .route("/_tidegate/demo/kick", post(kick))
        .with_state(admin)
}

async fn online(State(admin): State<Admin>) -> Response {
    ask(admin, "GET", "/v1/users".to_owned(), None).await
}

/// Tells who asks something, in all their tabs, and waits a moment for word that it has arrived.
async fn push(State(admin): State<Admin>, headers: HeaderMap, Json(push): Json<Value>) -> Response {
    let target = |user: &str| format!("/v1/users/{user}/push?wait=ack&timeout=2s");
    match user(&headers) {
        Some(user) => ask(admin, "POST", target(&user), Some(push)).await,
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// Ends all sessions of who asks.
async fn kick(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    match user(&headers) {
        Some(user) => ask(admin, "DELETE", format!("/v1/users/{user}/sessions"), None).await,
        None => StatusCode::UNAUTHORIZED.into_response(),
    }
}

/// The claims of who calls, by the token that the gateway has verified.
pub(super) fn claims(headers: &HeaderMap) -> Option<Value> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (_, claims) = auth::inspect(token.strip_prefix("Bearer ")?)?;
    Some(claims)
}

/// Who that is, as it stands in a path.
fn user(headers: &HeaderMap) -> Option<String> {
    claims(headers)?.get("sub")?.as_str().map(encoded)
}

async fn ask(admin: Admin, method: &'static str, target: String, body: Option<Value>) -> Response {
    let asking = spawn_blocking(move || {
        let admin = admin.get().context("there is no admin listener yet")?;
        Client::at(*admin).ask(method, &target, body.as_ref())
    });
    match asking.await {
        Ok(Ok(Answer { status, body })) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            (status, Json(body)).into_response()
        }
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error.into()),
    }
}

fn failed(error: &anyhow::Error) -> Response {
    let body = Json(json!({ "detail": format!("{error:#}") }));
    (StatusCode::BAD_GATEWAY, body).into_response()
}
