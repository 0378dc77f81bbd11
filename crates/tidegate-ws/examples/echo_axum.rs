//! Says what it hears: a WebSocket route in an axum application. `ADDRESS` may be given as the
//! first argument.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own"
)]

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::{any, get};
use futures_util::TryFutureExt as _;
use hyper_util::rt::TokioIo;
use tidegate_ws::service::HandshakeService;
use tidegate_ws::{BoxError, WebSocketSession};
use tokio::net::TcpListener;

async fn open(mut request: Request) -> Response {
    let (response, pending) = HandshakeService::new().handle(&request).into_parts();
    if let Some(pending) = pending {
        let connection = hyper::upgrade::on(&mut request).map_ok(TokioIo::new);
        tokio::spawn(pending.run_when(connection, echo));
    }
    response.map(Body::from)
}

async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let routes = Router::new()
        .route("/", get(|| async { "a page" }))
        .route("/echo", any(open));
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, routes).await?;
    Ok(())
}
