//! One accepted connection: request after request until it ends or becomes a WebSocket.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;

use crate::dispatch::{self, Outcome};
use crate::error::GatewayError;
use crate::exchange::{Answer, Downstream, Exchange};
use crate::forwarded;
use crate::http1::Limits;
use crate::http1::head::{Framing, RequestHead, Version};
use crate::http1::server::{AnswerFailure, DownstreamIo, NoHead, WRITE_STALL};
use crate::http1::write::{self, Text};
use crate::metrics::ExchangeMeter;
use crate::router::Path;
use crate::transport::Transport;
use crate::upgrade;
use crate::worker::Worker;

/// How long a head may take from its first byte to its last.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// What the answer depends on besides itself.
struct Wire {
    version: Version,
    head_only: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// Serves a connection to its end.
pub(crate) async fn serve(transport: Transport, downstream: Arc<Downstream>, worker: Arc<Worker>) {
    let io = DownstreamIo::new(transport);
    let limits = Limits::default();
    let mut idle = HEAD_TIMEOUT;
    loop {
        let head = tokio::select! {
            biased;
            head = io.read_head(&limits, idle, HEAD_TIMEOUT) => head,
            // Nothing is owed to a connection between two requests.
            () = worker.stopping.cancelled() => return,
        };
        idle = KEEP_ALIVE;
        let head = match head {
            Ok(head) => head,
            Err(NoHead::Over) => return,
            Err(NoHead::Slow) => return refuse(io, &GatewayError::SlowHead, &worker).await,
            Err(NoHead::Refused(error)) => return refuse(io, &error.into(), &worker).await,
        };
        let wire = Wire {
            version: head.version,
            head_only: head.method == Method::HEAD,
            keep_alive: head.keep_alive,
            upgrade: head.version == Version::Http11 && head.headers.ask_for_websocket(),
        };
        let mut meter = ExchangeMeter::new(&worker.meters, &head.method, wire.upgrade);
        let outcome = match exchange(head, wire.upgrade, &io, &downstream, &worker) {
            // Boxed, so that a connection that waits for its next request does not hold the room.
            Ok(exchange) => {
                Box::pin(settled(
                    &io,
                    dispatch::answer(&worker, exchange, &mut meter),
                ))
                .await
            }
            Err(error) => Some(Outcome::Answer(dispatch::rescue(&error, None))),
        };
        match outcome {
            None => return,
            Some(Outcome::Switch(acceptance)) => {
                meter.switched();
                return upgrade::settle(*acceptance, io, &worker).await;
            }
            Some(Outcome::Answer(answer)) => {
                meter.answered(answer.status);
                let stays = Box::pin(settled(&io, reply(&io, answer, &wire, &worker))).await;
                match stays {
                    Some(After::Stay) => {}
                    Some(After::Close) => return io.close().await,
                    Some(After::Abort) => return io.abort(),
                    None => return,
                }
            }
        }
    }
}

/// The work's result, or `None` when the client leaves before.
async fn settled<T>(io: &DownstreamIo, work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        result = work => Some(result),
        () = io.gone() => None,
    }
}

fn exchange(
    mut head: RequestHead,
    upgrade: bool,
    io: &DownstreamIo,
    downstream: &Arc<Downstream>,
    worker: &Worker,
) -> Result<Exchange, GatewayError> {
    // Before the path is judged, so that a refused request's body is passed over.
    let body = io.body(head.framing, head.expects_continue);
    let path = Path::normalise(&head.path)?;
    let client = forwarded::client_address(downstream.peer.ip(), &head.headers, |address| {
        worker.trusts(address)
    });
    forwarded::distrust(&mut head.headers, downstream.trusted);
    Ok(Exchange {
        method: head.method,
        path,
        query: head.query,
        authority: head.authority,
        headers: head.headers,
        body,
        upgrade,
        downstream: Arc::clone(downstream),
        client,
        captures: crate::router::Captures::default(),
        extensions: http::Extensions::new(),
    })
}

/// What happens to the connection behind an answer.
enum After {
    Stay,
    Close,
    /// The answer was cut where its end would look like the whole.
    Abort,
}

async fn reply(io: &DownstreamIo, mut answer: Answer, wire: &Wire, worker: &Worker) -> After {
    let bodiless = wire.head_only || matches!(answer.status.as_u16(), 204 | 304);
    let framing = match answer.body.length() {
        _ if bodiless => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if wire.version == Version::Http11 => Framing::Chunked,
        None => Framing::UntilClose,
    };
    let keep = wire.keep_alive
        && framing != Framing::UntilClose
        && !worker.stopping.is_cancelled()
        && !answer.headers.list_has("connection", "close")
        && io.request_is_over()
        // What follows a refused upgrade may be frames, which are no request.
        && !(wire.upgrade && io.has_bytes_ahead());
    let body = std::mem::take(&mut answer.body);
    let head = answer_head(&answer, (!bodiless).then_some(framing), keep, wire.version);
    match io.write(head, framing, body, WRITE_STALL).await {
        Ok(()) if keep && io.request_is_over() => After::Stay,
        Ok(()) => After::Close,
        Err(AnswerFailure::Body(error)) => {
            tracing::warn!(%error, "answer cut");
            if framing == Framing::UntilClose {
                After::Abort
            } else {
                After::Close
            }
        }
        Err(AnswerFailure::Client) => After::Abort,
    }
}

fn answer_head(
    answer: &Answer,
    framing: Option<Framing>,
    keep: bool,
    version: Version,
) -> BytesMut {
    let mut head = BytesMut::with_capacity(512);
    let status = answer.status;
    // Writing into memory does not fail.
    let _ = write!(Text(&mut head), "HTTP/1.1 {} ", status.as_str());
    match &answer.reason {
        Some(reason) => head.extend_from_slice(reason),
        None => head.extend_from_slice(status.canonical_reason().unwrap_or_default().as_bytes()),
    }
    head.extend_from_slice(b"\r\n");
    write::fields(&mut head, &answer.headers);
    if let Some(framing) = framing {
        write::framing_field(&mut head, framing);
    }
    match (keep, version) {
        (false, _) if answer.headers.list_has("connection", "close") => {}
        (false, _) => write::field(&mut head, b"Connection", b"close"),
        (true, Version::Http10) => write::field(&mut head, b"Connection", b"keep-alive"),
        (true, Version::Http11) => {}
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// Answers what was no request, and ends the connection: where its next request would begin cannot
/// be known.
async fn refuse(io: DownstreamIo, error: &GatewayError, worker: &Worker) {
    ExchangeMeter::refused(&worker.meters, error.status());
    let mut answer = dispatch::rescue(error, None);
    let body = std::mem::take(&mut answer.body);
    let framing = Framing::Length(body.length().unwrap_or(0));
    let head = answer_head(&answer, Some(framing), false, Version::Http11);
    if io.write(head, framing, body, WRITE_STALL).await.is_ok() {
        io.close().await;
    }
}
