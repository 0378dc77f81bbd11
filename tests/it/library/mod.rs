//! `tidegate-ws` without the gateway, with parties that we did not write.

mod client_meets_strangers;
mod client_speaks_tls;
mod deflates;
mod server_meets_strangers;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue, SET_COOKIE, WWW_AUTHENTICATE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tidegate_ws::service::HandshakeService;
use tidegate_ws::{BoxError, Limits, SessionConfig, WebSocketSession, deflate};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

/// Sessions that compress all that is worth it, and take messages of any size in question.
fn config() -> SessionConfig {
    let mut config = SessionConfig::default();
    config.limits = Limits::new().with_max_message(16 << 20);
    config.deflate = Some(deflate::Config::default());
    config
}

async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

/// A server as the strangers' are: it chooses `second`, sets two cookies, compresses, echoes, and
/// refuses `/refuse` with a body.
async fn answer(
    service: Arc<HandshakeService>,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/refuse" {
        let mut response = Response::new(Full::from("not today"));
        *response.status_mut() = StatusCode::UNAUTHORIZED;
        let basic = HeaderValue::from_static("Basic realm=\"rust\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, basic);
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(CONNECTION, close);
        return Ok(response);
    }
    let (mut response, pending) = service.handle(&request).into_parts();
    for cookie in ["a=1", "b=2"] {
        let headers = response.headers_mut();
        headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
    }
    if let Some(pending) = pending {
        let connection = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let connection = TokioIo::new(connection.await.unwrap());
            pending.run(connection, echo).await
        });
    }
    Ok(response.map(Full::new))
}

/// Serves one connection.
async fn serve(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
    let service = HandshakeService::new()
        .subprotocols(["second"])
        .session(config());
    let service = Arc::new(service);
    let serve = service_fn(move |request| answer(Arc::clone(&service), request));
    let served = http1::Builder::new().serve_connection(TokioIo::new(io), serve);
    // A client may end as it likes.
    served.with_upgrades().await.ok();
}

/// That server, listening.
async fn server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((io, _)) = listener.accept().await {
            tokio::spawn(serve(io));
        }
    });
    address
}
