//! Where a route ends at a service: a call over HTTP, or a WebSocket that is asked for first and
//! relayed then.

pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod relay;
pub(crate) mod websocket;

use std::sync::Arc;

use bytes::BytesMut;

use crate::config::plan::{EndpointPlan, ProxyPlan};
use crate::error::{GatewayError, UpstreamError};
use crate::exchange::{Answer, Exchange};
use crate::headers::Headers;
use crate::http1::body::BodyFailure;
use crate::http1::client::{Call, CallFailure, UpstreamIo};
use crate::http1::head::ResponseHead;
use crate::http1::write;
use crate::metrics::ExchangeMeter;
use crate::tls::TlsFailure;
use crate::upstream::{Endpoint, Lease, Purpose, Service, dial};
use crate::worker::Worker;

/// A route's proxy: its plan, and the service that runs.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) plan: ProxyPlan,
    pub(crate) service: Arc<Service>,
    /// The route's place.
    pub(crate) place: usize,
}

/// The endpoints that one request was tried on.
struct Attempts<'a> {
    service: &'a Service,
    purpose: Purpose,
    /// Whether the request may be sent a second time when the connection was lost before a byte of
    /// an answer (RFC 9110 section 9.2.2).
    repeatable: bool,
    /// It is to be sent a second time, to an endpoint that had it if there is no other.
    again: bool,
    tried: Vec<usize>,
    last: Option<UpstreamError>,
}

impl<'a> Attempts<'a> {
    fn new(service: &'a Service, purpose: Purpose, repeatable: bool) -> Self {
        Self {
            service,
            purpose,
            repeatable,
            again: false,
            tried: Vec::with_capacity(service.size()),
            last: None,
        }
    }

    /// Whether the request was sent once already.
    const fn repeats(&self) -> bool {
        matches!(self.last, Some(UpstreamError::Lost(_)))
    }

    /// The next endpoint to try; the last failure when there is none.
    fn lease(&mut self, meter: &mut ExchangeMeter<'_>) -> Result<Lease, GatewayError> {
        let lease = self.choose()?;
        meter.tried(self.service.place, lease.endpoint(), self.last.as_ref());
        Ok(lease)
    }

    fn choose(&mut self) -> Result<Lease, GatewayError> {
        if let Some(lease) = self.service.lease(self.purpose, &mut self.tried)? {
            return Ok(lease);
        }
        if std::mem::take(&mut self.again) {
            // An idle connection may have ended just then, which says nothing of its endpoint.
            self.tried.clear();
            let lease = self.service.lease(self.purpose, &mut self.tried)?;
            return lease.ok_or_else(|| UpstreamError::NoEndpoint.into());
        }
        let last = self.last.take();
        Err(last.unwrap_or(UpstreamError::NoEndpoint).into())
    }

    /// Logs a failure, and hands it back unless another endpoint may be tried: because nothing of
    /// the request can have been acted on, or once because it may be repeated.
    fn failed(&mut self, endpoint: &Endpoint, error: GatewayError) -> Result<(), GatewayError> {
        let GatewayError::Upstream(error) = error else {
            return Err(error);
        };
        let (service, endpoint) = (&*self.service.plan.name, &endpoint.plan.authority);
        tracing::warn!(service, %endpoint, label = error.label(), %error, "endpoint failed");
        match error {
            error if error.is_before_request() && !self.repeats() => self.last = Some(error),
            // What was lost after it was sent says more than what could not be sent again.
            error if error.is_before_request() => tracing::debug!(%error, "not sent again"),
            UpstreamError::Lost(_) if self.repeatable => {
                self.repeatable = false;
                self.again = true;
                self.last = Some(error);
            }
            error => return Err(error.into()),
        }
        Ok(())
    }
}

/// Dials `endpoint`; where descriptors are short, once more without some of the idle connections.
async fn connect(
    proxy: &Proxy,
    worker: &Worker,
    endpoint: &Endpoint,
) -> Result<UpstreamIo, UpstreamError> {
    let mut dialled = dial::dial(&proxy.service, endpoint).await;
    if matches!(dialled, Err(UpstreamError::Shortage(_))) && worker.make_room() {
        dialled = dial::dial(&proxy.service, endpoint).await;
    }
    dialled.map(|(transport, trust)| UpstreamIo::new(transport, trust))
}

/// Writes the head of a request to `endpoint`: the endpoint's path before the routed one, the query
/// byte for byte.
fn request_head(exchange: &Exchange, endpoint: &EndpointPlan, headers: &Headers) -> BytesMut {
    let mut head = BytesMut::with_capacity(1024);
    head.extend_from_slice(exchange.method.as_str().as_bytes());
    head.extend_from_slice(b" ");
    head.extend_from_slice(endpoint.path.as_bytes());
    head.extend_from_slice(exchange.path.as_str().as_bytes());
    if let Some(query) = &exchange.query {
        head.extend_from_slice(b"?");
        head.extend_from_slice(query);
    }
    head.extend_from_slice(b" HTTP/1.1\r\n");
    write::fields(&mut head, headers);
    head
}

/// What a call's failure means.
fn failure(failure: CallFailure) -> GatewayError {
    match failure {
        CallFailure::Request(error) => match error.downcast_ref() {
            Some(&BodyFailure::TooLarge { limit }) => GatewayError::BodyTooLarge { limit },
            Some(BodyFailure::Slow) => GatewayError::SlowBody,
            _ => GatewayError::Body(error),
        },
        CallFailure::Connection {
            error,
            answered: false,
        } => match TlsFailure::within(&error) {
            // It may have been sent, so it is not sent again.
            Some(failure) => UpstreamError::TlsRefused(failure).into(),
            None => UpstreamError::Lost(error).into(),
        },
        CallFailure::Connection {
            error,
            answered: true,
        } => UpstreamError::Broken(error).into(),
        CallFailure::Malformed(error) => UpstreamError::Malformed(error).into(),
    }
}

/// The upstream's answer, its body still on the connection, which goes back to the pool when it is
/// over.
fn answer(
    call: Call,
    head: ResponseHead,
    worker: &Arc<Worker>,
    proxy: &Proxy,
    lease: Lease,
) -> Answer {
    let (worker, service) = (Arc::clone(worker), Arc::clone(&proxy.plan.service));
    let body = call.into_body(&head, move |io| {
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
