//! A call over HTTP: lease, connect, send, and hand the answer back while it is still coming.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Sleep, sleep};

use super::{Proxy, headers, request_head};
use crate::body::Body;
use crate::error::{GatewayError, UpstreamError};
use crate::exchange::{Answer, Exchange};
use crate::http1::Limits;
use crate::http1::client::{Call, CallFailure, ClientIo};
use crate::http1::head::{Framing, ResponseHead};
use crate::http1::write;
use crate::upstream::{Lease, Purpose, dial};
use crate::worker::Worker;

/// How long an upstream may keep silent about a 100 before the body is sent all the same.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// Calls the service, going on to the next endpoint where nothing can have been acted on.
pub(super) async fn call(
    proxy: &Proxy,
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
) -> Result<Answer, GatewayError> {
    let service = &proxy.service;
    let mut tried = Vec::with_capacity(service.size());
    let mut repeated = false;
    let mut last = UpstreamError::NoEndpoint;
    while let Some(lease) = service.lease(Purpose::Call, &mut tried) {
        match attempt(proxy, worker, exchange, lease).await {
            Ok(answer) => return Ok(answer),
            Err(GatewayError::Upstream(error)) if error.is_before_request() => last = error,
            Err(GatewayError::Upstream(error @ UpstreamError::Lost(_)))
                if !repeated && is_repeatable(exchange) =>
            {
                repeated = true;
                last = error;
                // An idle connection may have ended just then, which says nothing of its endpoint.
                tried.pop();
            }
            Err(error) => return Err(error),
        }
    }
    Err(last.into())
}

/// Whether the request may be sent a second time when the connection was lost before a byte of an
/// answer (RFC 9110 section 9.2.2).
fn is_repeatable(exchange: &Exchange) -> bool {
    exchange.method.is_idempotent() && exchange.body.length() == Some(0)
}

async fn attempt(
    proxy: &Proxy,
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
    lease: Lease,
) -> Result<Answer, GatewayError> {
    let io = match worker.pool.take(lease.endpoint()).await {
        Some(io) => io,
        None => ClientIo::new(dial::dial(&proxy.service, lease.endpoint()).await?),
    };
    let (head, framing) = head_for(proxy, exchange, &lease);
    let expects_continue =
        exchange.headers.list_has("expect", "100-continue") && framing != Framing::Length(0);
    let body = std::mem::take(&mut exchange.body);
    let mut call = io.call(
        exchange.method.clone(),
        head,
        framing,
        body,
        expects_continue,
    );
    let head = answer_head(&mut call, proxy.plan.service.response_timeout).await?;
    if head.status.as_u16() == 101 {
        return Err(UpstreamError::SwitchUnasked.into());
    }
    Ok(answer(call, head, worker, proxy, lease))
}

fn head_for(proxy: &Proxy, exchange: &Exchange, lease: &Lease) -> (BytesMut, Framing) {
    let endpoint = &lease.endpoint().plan;
    let headers = headers::for_upstream(exchange, &proxy.plan, endpoint);
    let framing = exchange
        .body
        .length()
        .map_or(Framing::Chunked, Framing::Length);
    let mut head = request_head(exchange, endpoint, &headers);
    if framing != Framing::Length(0) {
        write::framing_field(&mut head, framing);
    }
    if headers.contains("te") {
        // It is of one connection only, and says so (RFC 9110 section 10.1.4).
        write::field(&mut head, b"Connection", b"TE");
    }
    head.extend_from_slice(b"\r\n");
    (head, framing)
}

/// Waits for the answer's head. The response timeout begins anew with every byte of the request
/// that the upstream takes.
async fn answer_head(call: &mut Call, patience: Duration) -> Result<ResponseHead, GatewayError> {
    let mut silence: Pin<Box<Sleep>> = Box::pin(sleep(patience));
    let mut interim = call
        .awaits_continue()
        .then(|| Box::pin(sleep(CONTINUE_PATIENCE.min(patience))));
    let waited = poll_fn(|cx: &mut Context<'_>| {
        loop {
            if let Poll::Ready(head) = call.poll_answer(&Limits::default(), cx) {
                return Poll::Ready(head.map_err(failure));
            }
            if call.progressed() {
                silence
                    .as_mut()
                    .reset(tokio::time::Instant::now() + patience);
            }
            if interim
                .as_mut()
                .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
            {
                interim = None;
                call.stop_awaiting_continue();
                continue;
            }
            return match silence.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) if call.awaits_body() => Poll::Ready(Err(GatewayError::SlowBody)),
                Poll::Ready(()) => Poll::Ready(Err(UpstreamError::ResponseTimeout.into())),
            };
        }
    });
    waited.await
}

/// What a call's failure means.
pub(super) fn failure(failure: CallFailure) -> GatewayError {
    match failure {
        CallFailure::Request(error) => GatewayError::Body(error),
        CallFailure::Connection {
            error,
            answered: false,
        } => UpstreamError::Lost(error).into(),
        CallFailure::Connection {
            error,
            answered: true,
        } => UpstreamError::Broken(error).into(),
        CallFailure::Malformed(error) => UpstreamError::Malformed(error).into(),
    }
}

/// The answer, its body still on the connection, which goes back to the pool when it is over.
pub(super) fn answer(
    call: Call,
    head: ResponseHead,
    worker: &Arc<Worker>,
    proxy: &Proxy,
    lease: Lease,
) -> Answer {
    let (worker, service) = (Arc::clone(worker), Arc::clone(&proxy.plan.service));
    let body: Body = call.into_body(&head, move |io| {
        if let Some(io) = io {
            worker.pool.put(&service, lease.endpoint().index, io);
        }
    });
    let mut headers = head.headers;
    headers::for_downstream(&mut headers, body.length().is_none());
    Answer {
        status: head.status,
        reason: head.reason,
        headers,
        body,
    }
}
