//! Says what it hears: a WebSocket server on hyper, without the gateway. `ADDRESS` may be given as
//! the first argument.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own"
)]

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryFutureExt as _};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_ws::service::HandshakeService;
use tidegate_ws::{BoxError, WebSocketSession};
use tokio::net::TcpListener;

// The server, in twelve lines:
async fn answer(mut request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (response, pending) = HandshakeService::new().handle(&request).into_parts();
    if let Some(pending) = pending {
        let connection = hyper::upgrade::on(&mut request).map_ok(TokioIo::new);
        tokio::spawn(pending.run_when(connection, echo));
    }
    Ok(response.map(Full::new))
}
async fn echo(session: WebSocketSession) -> Result<(), BoxError> {
    let (receiver, sender) = session.split();
    Ok(receiver.forward(sender).await?)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".into());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    loop {
        let (connection, _peer) = listener.accept().await?;
        let served =
            http1::Builder::new().serve_connection(TokioIo::new(connection), service_fn(answer));
        tokio::spawn(served.with_upgrades());
    }
}
