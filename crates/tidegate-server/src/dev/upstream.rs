//! The demo's upstream: an application of four small parts.

use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use http::StatusCode;
use http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::sleep;

/// Serves the application on `listener`, without end.
pub(super) async fn serve(listener: std::net::TcpListener) -> io::Result<Infallible> {
    let listener = TcpListener::from_std(listener)?;
    axum::serve(listener, application()).await?;
    Err(io::Error::other("the built-in upstream has ended"))
}

fn application() -> Router {
    Router::new()
        .route("/customers", get(customers))
        .route("/hello", get(hello))
        .route("/refuse", get(refuse))
        .route("/sse", get(events))
}

async fn customers() -> Response {
    Json(json!({ "customers": [] })).into_response()
}

async fn hello(upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(echo)
}

/// Sends back each text and each binary message; pings and the close are answered below us.
async fn echo(mut socket: WebSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Text(_) | Message::Binary(_))
            && socket.send(message).await.is_err()
        {
            return;
        }
    }
}

async fn refuse() -> Response {
    let headers = [
        (WWW_AUTHENTICATE, "Bearer realm=\"dev\""),
        (SET_COOKIE, "visited=yes; Path=/refuse; HttpOnly"),
    ];
    let body = Json(json!({ "error": "no token" }));
    (StatusCode::UNAUTHORIZED, headers, body).into_response()
}

async fn events() -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    Sse::new(stream::unfold(1_u64, |number| async move {
        if number > 1 {
            sleep(Duration::from_secs(1)).await;
        }
        let event = Event::default().id(number.to_string());
        let event = event.data(format!("event {number}"));
        Some((Ok(event), number + 1))
    }))
}
