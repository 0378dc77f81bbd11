//! A call over HTTP: lease, connect, send, and hand the answer back while it is still coming.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use tokio::time::{Instant, sleep};

use super::{Attempts, Proxy, answer, connect, failure, headers, request_head};
use crate::error::{GatewayError, UpstreamError};
use crate::exchange::{Answer, Exchange};
use crate::http1::Limits;
use crate::http1::client::Call;
use crate::http1::head::{Framing, ResponseHead};
use crate::http1::write;
use crate::metrics::ExchangeMeter;
use crate::upstream::{Lease, Purpose};
use crate::worker::Worker;

/// How long an upstream may keep silent about a 100 before the body is sent all the same.
const CONTINUE_PATIENCE: Duration = Duration::from_secs(1);

/// Calls the service, going on to the next endpoint where nothing can have been acted on. Dropped, it
/// leaves nothing behind: the upstream connection goes with it.
pub(crate) async fn call(
    proxy: &Proxy,
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
    meter: &mut ExchangeMeter<'_>,
) -> Result<Answer, GatewayError> {
    // A body that was sent once is not there for a second time.
    let repeatable = exchange.method.is_idempotent() && exchange.body.length() == Some(0);
    let mut attempts = Attempts::new(&proxy.service, Purpose::Call, repeatable);
    loop {
        let lease = attempts.lease(meter)?;
        let endpoint = lease.endpoint();
        let fresh = attempts.repeats();
        match attempt(proxy, worker, exchange, lease, fresh, meter).await {
            Ok(answer) => return Ok(answer),
            Err(error) => attempts.failed(&endpoint, error)?,
        }
    }
}

/// One attempt; `fresh` asks for a new connection, because an idle one may be as dead as the last.
async fn attempt(
    proxy: &Proxy,
    worker: &Arc<Worker>,
    exchange: &mut Exchange,
    lease: Lease,
    fresh: bool,
    meter: &mut ExchangeMeter<'_>,
) -> Result<Answer, GatewayError> {
    let begun = Instant::now();
    let idle = if fresh {
        None
    } else {
        worker.pool.take(&lease.endpoint()).await
    };
    let io = match idle {
        Some(io) => io,
        None => connect(proxy, worker, &lease.endpoint()).await?,
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
    let patience = Patience {
        response: proxy.plan.service.response_timeout,
        body: exchange.downstream.limits.body_timeout,
    };
    call.set_upload_stall(patience.body);
    let head = answer_head(&mut call, &patience).await?;
    meter.call_answered(proxy.service.place, begun.elapsed());
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

/// How long is waited.
struct Patience {
    /// For the upstream's answer.
    response: Duration,
    /// For the client's body.
    body: Duration,
}

/// Waits for the answer's head. The response timeout begins anew with every byte of the request that
/// the upstream takes, and does not run while it is the client that keeps us waiting.
async fn answer_head(call: &mut Call, patience: &Patience) -> Result<ResponseHead, GatewayError> {
    let mut silence = pin!(sleep(patience.response));
    let mut stall = pin!(sleep(patience.body));
    let mut interim = call
        .awaits_continue()
        .then(|| Box::pin(sleep(CONTINUE_PATIENCE.min(patience.response))));
    let limits = Limits::default();
    poll_fn(|cx| {
        loop {
            if let Poll::Ready(head) = call.poll_answer(&limits, cx) {
                return Poll::Ready(head.map_err(failure));
            }
            let now = Instant::now();
            if call.progressed() {
                silence.as_mut().reset(now + patience.response);
                stall.as_mut().reset(now + patience.body);
            }
            if interim
                .as_mut()
                .is_some_and(|timer| timer.as_mut().poll(cx).is_ready())
            {
                interim = None;
                call.stop_awaiting_continue();
                continue;
            }
            if call.awaits_body() {
                silence.as_mut().reset(now + patience.response);
                return stall
                    .as_mut()
                    .poll(cx)
                    .map(|()| Err(GatewayError::SlowBody));
            }
            return silence
                .as_mut()
                .poll(cx)
                .map(|()| Err(UpstreamError::ResponseTimeout.into()));
        }
    })
    .await
}
