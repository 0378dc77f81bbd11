//! Where a route ends at a service: a call over HTTP, or a WebSocket that is asked for first and
//! relayed then.

pub(crate) mod headers;
pub(crate) mod http;
pub(crate) mod relay;
pub(crate) mod websocket;

use std::sync::Arc;

use bytes::BytesMut;

use crate::config::plan::{EndpointPlan, ProxyPlan};
use crate::error::GatewayError;
use crate::exchange::{Answer, Exchange};
use crate::headers::Headers;
use crate::http1::write;
use crate::upgrade::{Decision, Wish};
use crate::upstream::Service;
use crate::worker::Worker;

/// A route's proxy: its plan, and the service that runs.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) plan: ProxyPlan,
    pub(crate) service: Arc<Service>,
}

impl Proxy {
    /// Carries a plain request to the service.
    pub(crate) async fn call(
        &self,
        worker: &Arc<Worker>,
        exchange: &mut Exchange,
    ) -> Result<Answer, GatewayError> {
        http::call(self, worker, exchange).await
    }

    /// Asks the service whether it takes a WebSocket.
    pub(crate) async fn decide(
        &self,
        worker: &Arc<Worker>,
        exchange: &Exchange,
        wish: &Wish,
    ) -> Result<Decision, GatewayError> {
        websocket::decide(self, worker, exchange, wish).await
    }
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
