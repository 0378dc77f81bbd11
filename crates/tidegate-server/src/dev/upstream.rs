//! The demo's upstream: an application of a few small parts.

use std::convert::Infallible;
use std::io;
use std::thread;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use http::header::{AUTHORIZATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tidegate::auth;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::sleep;

/// Serves the application, with `page` for browsers, on `listener`, without end, from a thread of its own. Dropped, it ends
/// with every connection: a stop that waited for the events would wait in vain.
pub(super) async fn serve(listener: std::net::TcpListener, page: String) -> io::Result<Infallible> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (mut watch, ended) = oneshot::channel();
    let run = move || {
        let served = runtime.block_on(async {
            let listener = TcpListener::from_std(listener)?;
            tokio::select! {
                served = axum::serve(listener, application(page)) => served,
                () = watch.closed() => Ok(()),
            }
        });
        drop(runtime);
        let _nobody_asks = watch.send(served);
    };
    thread::Builder::new()
        .name("demo-upstream".into())
        .spawn(run)?;
    match ended.await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Err(io::Error::other("the built-in upstream has ended")),
    }
}

fn application(page: String) -> Router {
    Router::new()
        .route("/_tidegate/demo", get(async move || Html(page)))
        .route("/me", get(me))
        .route("/customers", get(customers))
        .route("/hello", get(hello))
        .route("/refuse", get(refuse))
        .route("/sse", get(events))
}

async fn customers() -> Response {
    Json(json!({ "customers": [] })).into_response()
}

/// Who calls, by the token that the gateway has verified.
async fn me(headers: HeaderMap) -> Response {
    let token = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let claims = token.and_then(|token| auth::inspect(token.strip_prefix("Bearer ")?));
    Json(json!({ "claims": claims.map(|(_, claims)| claims) })).into_response()
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
