//! `bridge.request`: a call that came in an envelope.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::AccessLog;
use super::exchange::trace_id;
use crate::auth::Principal;
use crate::config::plan::AccessLogFormat;
use crate::route::Route;
use crate::router::Path;
use crate::session::id::ConnectionId;

/// What a call's line will say.
#[derive(Debug)]
pub(crate) struct Bridged {
    pub(crate) connection: ConnectionId,
    /// As the client wrote it.
    pub(crate) id: Option<Box<str>>,
    /// The service that the envelope names; `None`: the routes are asked.
    pub(crate) service: Option<Arc<str>>,
    /// The route that it took: that of its bridge, where the envelope names the service.
    pub(crate) route: Option<Arc<Route>>,
    /// Who opened its session.
    pub(crate) user: Option<Arc<Principal>>,
    pub(crate) method: Method,
    pub(crate) path: Path,
    pub(crate) query: Option<Bytes>,
    pub(crate) trace: Option<HeaderValue>,
    /// Its `X-Request-Id`.
    pub(crate) request_id: Option<HeaderValue>,
    /// The code of the problem that the client was told.
    pub(crate) code: Option<&'static str>,
    /// Of the request's body.
    pub(crate) bytes_in: u64,
    /// Of the frames of the answer.
    pub(crate) bytes_out: u64,
}

impl AccessLog {
    /// Writes the line of a call that is over. The combined format has none: it is no HTTP request.
    pub(crate) fn bridged(&self, call: &Bridged, status: u16, is_of_gateway: bool, took: Duration) {
        if self.format == AccessLogFormat::Combined {
            return;
        }
        self.line("bridge.request", |line| {
            line.word("conn", call.connection);
            if let Some(id) = &call.id {
                line.text("id", id.as_bytes());
            }
            if let Some(route) = &call.route {
                line.label("route", &route.name);
            }
            let routed = || Some(&*call.route.as_ref()?.target.service()?.plan.name);
            let service = call.service.as_deref().or_else(routed);
            line.label("service", service.unwrap_or("-"));
            if let Some(user) = &call.user {
                line.text("user", user.user().as_bytes());
            }
            line.label("method", call.method.as_str())
                .path("path", call.path.as_str().as_bytes(), call.query.as_deref())
                .number("status", status.into())
                .label("source", if is_of_gateway { "gateway" } else { "upstream" });
            if let Some(code) = call.code {
                line.label("code", code);
            }
            line.millis("duration_ms", took)
                .number("bytes_in", call.bytes_in)
                .number("bytes_out", call.bytes_out);
            let trace = call.trace.as_ref().map(HeaderValue::as_bytes);
            if let Some(id) = trace.and_then(trace_id) {
                line.label("trace_id", id);
            }
            if let Some(id) = &call.request_id {
                line.text("request_id", id.as_bytes());
            }
        });
    }
}
