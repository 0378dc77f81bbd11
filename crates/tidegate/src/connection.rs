//! One accepted connection: request after request until it ends or becomes a WebSocket.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::body::Body;
use crate::dispatch::{self, Outcome};
use crate::error::GatewayError;
use crate::exchange::{Answer, Downstream, Exchange};
use crate::forwarded;
use crate::http1::Limits;
use crate::http1::head::{Framing, RequestHead, Version};
use crate::http1::pace::MinRate;
use crate::http1::server::{AnswerFailure, DownstreamIo, NoHead};
use crate::http1::write::{self, Text};
use crate::limits::{Overload, Permits};
use crate::metrics::ExchangeMeter;
use crate::router::Path;
use crate::session::Cause;
use crate::task::{self, Kind};
use crate::transport::Transport;
use crate::upgrade;
use crate::worker::Worker;

/// How long a connection that is refused has for its request, and then for its answer.
const REFUSAL: Duration = Duration::from_secs(2);

/// How long a connection has for its first request, or to end the head that it has begun, when the
/// gateway has closed.
pub(crate) const FIRST_WORDS: Duration = Duration::from_secs(2);

/// What the answer depends on besides itself.
struct Wire {
    version: Version,
    head_only: bool,
    keep_alive: bool,
    upgrade: bool,
}

/// Serves a connection to its end. It holds `permits` as long as it lives.
pub(crate) async fn serve(
    transport: Transport,
    downstream: Arc<Downstream>,
    mut permits: Permits,
    worker: Arc<Worker>,
) {
    let limits = &downstream.limits;
    let io = DownstreamIo::new(transport, limits.write_timeout);
    let mut idle = limits.head_timeout;
    let mut is_new = true;
    let of_heads = Limits::of(limits);
    loop {
        let head = tokio::select! {
            biased;
            head = io.read_head(&of_heads, idle, limits.head_timeout) => head,
            () = of_no_use(&io, is_new, &worker) => return,
        };
        idle = limits.keep_alive_timeout;
        is_new = false;
        let refused = match head {
            Ok(head) => Ok(head),
            Err(NoHead::Over) => return,
            Err(NoHead::Slow) => Err(GatewayError::SlowHead),
            Err(NoHead::Refused(error)) => Err(error.into()),
        };
        let head = match refused {
            Ok(head) => head,
            Err(error) => return refuse(io, &error, &worker, &downstream).await,
        };
        let wire = Wire {
            version: head.version,
            head_only: head.method == Method::HEAD,
            keep_alive: head.keep_alive,
            upgrade: head.version == Version::Http11 && head.headers.ask_for_websocket(),
        };
        let mut used = Permits::default();
        let mut meter = ExchangeMeter::new(&worker, &head, wire.upgrade, &downstream);
        let outcome = match exchange(head, wire.upgrade, &io, &downstream, &worker) {
            // Boxed, so that a connection that waits for its next request does not hold the room.
            Ok(exchange) => {
                meter.come_from(exchange.client);
                let outcome = outcome(exchange, &mut used, &mut meter, &worker);
                settled(&io, Box::pin(outcome)).await
            }
            Err(error) => {
                meter.failed(&error);
                Some(Outcome::Answer(dispatch::rescue(&error, None)))
            }
        };
        match outcome {
            None => return meter.left(io.carried()),
            Some(Outcome::Switch(acceptance)) => {
                permits.join(used);
                let held = (permits, &*downstream);
                return upgrade::settle(*acceptance, io, held, &worker, meter).await;
            }
            Some(Outcome::Answer(answer)) => {
                meter.answered(answer.status);
                let reply = reply(&io, answer, &wire, &worker, &mut meter);
                let stays = settled(&io, Box::pin(reply)).await;
                // What follows is not the answer's.
                match stays {
                    Some(_) => meter.ended(io.carried()),
                    None => meter.left(io.carried()),
                }
                drop(used); // a client that is slow to leave holds nothing but its connection
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

/// Waits until the gateway has closed and nothing is owed to a connection any more that has no request:
/// at once between two of them; one that is new, or in the middle of a head, has a moment.
async fn of_no_use(io: &DownstreamIo, is_new: bool, worker: &Worker) {
    worker.drain.closed().await;
    if is_new || io.has_bytes_ahead() {
        sleep(FIRST_WORDS).await;
    } else {
        // What the kernel has by now is read first.
        yield_now().await;
    }
}

/// What becomes of a request; where the work on it panics, an answer that says so.
async fn outcome(
    exchange: Exchange,
    used: &mut Permits,
    meter: &mut ExchangeMeter<'_>,
    worker: &Arc<Worker>,
) -> Outcome {
    let mut entered = None;
    let work = dispatch::answer(worker, exchange, &mut entered, used, meter);
    let survived = task::survive(Kind::Exchange, worker.panics(), work).await;
    survived.unwrap_or_else(|| {
        meter.failed(&GatewayError::Panicked);
        Outcome::Answer(dispatch::rescue(&GatewayError::Panicked, entered))
    })
}

/// The work's result, or `None` when the client leaves before.
async fn settled<T>(io: &DownstreamIo, work: Pin<Box<impl Future<Output = T>>>) -> Option<T> {
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
    let limits = &downstream.limits;
    let least = limits.min_body_rate.map(|bytes| MinRate {
        bytes,
        grace: limits.body_timeout,
    });
    let body = io.body(head.framing, head.expects_continue, least);
    let path = Path::normalise(&head.path)?;
    let believed = downstream.trusted.then(|| worker.caps().forwarded_header());
    forwarded::distrust(&mut head.headers, believed);
    let client = forwarded::client_address(downstream.peer.ip(), &head.headers, |address| {
        worker.caps().trusts(address)
    });
    // Before any filter runs, so that what a filter sets cannot be named away.
    head.headers.remove_named();
    if let Some(tls) = downstream
        .tls
        .as_ref()
        .filter(|tls| tls.forwards_certificate)
    {
        forwarded::tell_of_certificate(&mut head.headers, tls.client_certificate.as_ref());
    }
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
        principal: None,
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

async fn reply(
    io: &DownstreamIo,
    mut answer: Answer,
    wire: &Wire,
    worker: &Worker,
    meter: &mut ExchangeMeter<'_>,
) -> After {
    let bodiless = wire.head_only || matches!(answer.status.as_u16(), 204 | 304);
    let framing = match answer.body.length() {
        _ if bodiless => Framing::Length(0),
        Some(length) => Framing::Length(length),
        None if wire.version == Version::Http11 => Framing::Chunked,
        None => Framing::UntilClose,
    };
    let keep = wire.keep_alive
        && framing != Framing::UntilClose
        && !worker.drain.has_begun()
        && !answer.headers.list_has("connection", "close")
        && io.request_is_over()
        // What follows a refused upgrade may be frames, which are no request.
        && !(wire.upgrade && io.has_bytes_ahead());
    let body = std::mem::take(&mut answer.body);
    let head = answer_head(&answer, (!bodiless).then_some(framing), keep, wire.version);
    match io.write(head, framing, body).await {
        Ok(()) if keep && io.request_is_over() => After::Stay,
        Ok(()) => After::Close,
        Err(AnswerFailure::Body(error)) => {
            meter.cut(Cause::UpstreamLost);
            tracing::warn!(%error, "answer cut");
            if framing == Framing::UntilClose {
                After::Abort
            } else {
                After::Close
            }
        }
        Err(AnswerFailure::Client) => {
            meter.cut(Cause::ClientLost);
            After::Abort
        }
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
async fn refuse(io: DownstreamIo, error: &GatewayError, worker: &Worker, downstream: &Downstream) {
    ExchangeMeter::refused(worker, downstream, error);
    end_with(io, error).await;
}

async fn end_with(io: DownstreamIo, error: &GatewayError) {
    // The whole answer goes as a head would, so that there is no body to wait for.
    let bytes = refusal(&dispatch::rescue(error, None));
    let written = io.write(bytes, Framing::Length(0), Body::empty());
    if written.await.is_ok() {
        io.close().await;
    }
}

/// Answers the first request of a connection that is not served, and ends the connection.
pub(crate) async fn turn_away(
    transport: Transport,
    downstream: &Downstream,
    overload: Overload,
    worker: &Worker,
) {
    let io = DownstreamIo::new(transport, REFUSAL);
    let limits = Limits::of(&downstream.limits);
    let head = tokio::select! {
        biased;
        head = timeout(REFUSAL, io.read_head(&limits, REFUSAL, REFUSAL)) => head,
        () = worker.drain.closed() => return,
    };
    // Whoever has said nothing by then is let go in silence, whichever clock was first to notice.
    let is_silent = match &head {
        Ok(head) => matches!(head, Err(NoHead::Over)),
        Err(_elapsed) => !io.has_bytes_ahead(),
    };
    if !is_silent {
        // A client that takes neither its answer nor its end is not waited for.
        let _ = timeout(REFUSAL, refuse(io, &overload.into(), worker, downstream)).await;
    }
}

/// Answers HTTP that came where TLS is spoken, without having read it, and ends the connection. It
/// counts as a handshake that failed, and as no request.
pub(crate) async fn refuse_plain(transport: Transport) {
    let io = DownstreamIo::new(transport, REFUSAL);
    let _in_time = timeout(REFUSAL, end_with(io, &GatewayError::PlainHttp)).await;
}

/// The bytes of an answer of ours that ends its connection.
pub(crate) fn refusal(answer: &Answer) -> BytesMut {
    let framing = Framing::Length(answer.body.length().unwrap_or(0));
    let mut bytes = answer_head(answer, Some(framing), false, Version::Http11);
    bytes.extend_from_slice(answer.body.at_hand());
    bytes
}
