//! The demo's upstream: an application of a few small parts.

use std::convert::Infallible;
use std::io;
use std::thread;
use std::time::Duration;

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures_util::stream::{self, Stream};
use http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::page::Page;
use super::service;

/// Serves the application, with `page` for browsers, on `listener`, without end, from a thread of its own. Dropped, it ends
/// with every connection: a stop that waited for the events would wait in vain.
pub(super) async fn serve(listener: std::net::TcpListener, page: Page) -> io::Result<Infallible> {
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
        runtime.shutdown_background();
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

fn application(page: Page) -> Router {
    Router::new()
        .merge(service::application(page.admin.clone()))
        .merge(page.application())
        .route("/me", get(me))
        .route("/customers", get(customers))
        .route("/hello", get(hello))
        .route("/refuse", get(refuse))
        .route("/sse", get(events))
}

async fn customers() -> Response {
    Json(json!({ "customers": [] })).into_response()
}

async fn me(headers: HeaderMap) -> Response {
    Json(json!({ "claims": service::claims(&headers) })).into_response()
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
