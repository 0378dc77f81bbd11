//! Both roles for the Autobahn suite (`cargo xtask autobahn-ws`), which sends what is hard to get right,
//! and judges what comes back.
//!
//! - `autobahn server` echoes on a free port of the loopback, which it prints as JSON;
//! - `autobahn client ws://ADDRESS AGENT` echoes in each case of a fuzzing server, and asks it for its
//!   report.

#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program of its own"
)]

use std::net::Ipv4Addr;
use std::sync::Arc;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tidegate_ws::client::WebSocketClient;
use tidegate_ws::deflate::Config;
use tidegate_ws::service::HandshakeService;
use tidegate_ws::{BoxError, Limits, SessionConfig, WebSocketSession};
use tokio::net::TcpListener;

async fn echo(mut session: WebSocketSession) -> Result<(), BoxError> {
    while let Some(message) = session.receive().await {
        session.send(message?).await?;
    }
    Ok(())
}

/// Every message is compressed, with the context taken over where the suite does not forbid it.
fn config() -> Arc<SessionConfig> {
    let mut deflate = Config::default();
    deflate.server_no_context_takeover = false;
    deflate.client_no_context_takeover = false;
    deflate.threshold = 0;
    let mut config = SessionConfig::default();
    // The suite sends 16 MiB, and 4 MiB in frames of 64 bytes.
    config.limits = Limits::new().with_max_message(16 << 20);
    config.limits.max_parts = 128 << 10;
    config.deflate = Some(deflate);
    Arc::new(config)
}

async fn serve() -> Result<(), BoxError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    println!("{{\"port\":{}}}", listener.local_addr()?.port());
    let service = HandshakeService::new().session(config());
    loop {
        let (stream, _) = listener.accept().await?;
        let service = service.clone();
        let answer = service_fn(move |mut request| {
            let (response, pending) = service.handle(&request).into_parts();
            if let Some(pending) = pending {
                let upgrade = hyper::upgrade::on(&mut request);
                tokio::task::spawn(async move {
                    if let Ok(io) = upgrade.await {
                        pending.run(TokioIo::new(io), echo).await;
                    }
                });
            }
            let response = response.map(|body| String::from_utf8_lossy(&body).into_owned());
            async { Ok::<_, BoxError>(response) }
        });
        let connection = http1::Builder::new()
            .serve_connection(TokioIo::new(stream), answer)
            .with_upgrades();
        tokio::task::spawn(connection);
    }
}

async fn call(server: &str, agent: &str) -> Result<(), BoxError> {
    let client = WebSocketClient::new().session(config());
    let url = format!("{server}/getCaseCount");
    let mut counting = client.connect(&url).await?.session;
    let count = counting.receive().await.ok_or("no number of cases")??;
    let count: u32 = std::str::from_utf8(count.payload())?.parse()?;
    for case in 1..=count {
        let url = format!("{server}/runCase?case={case}&agent={agent}");
        client.execute(&url, echo).await?;
    }
    let url = format!("{server}/updateReports?agent={agent}");
    client.execute(&url, echo).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["server"] => serve().await,
        ["client", server, agent] => call(server, agent).await,
        _ => Err("autobahn server | autobahn client URL AGENT".into()),
    }
}
