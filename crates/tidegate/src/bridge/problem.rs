//! What the bridge answers where the gateway could not do a call.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;

use crate::error::GatewayError;

/// A failure of the gateway as an envelope tells it: an RFC 9457 problem with members of ours.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    /// One word, the same in answer, log and metric.
    pub(super) code: &'static str,
    pub(super) status: StatusCode,
    /// For people; no address and no name of ours.
    pub(super) detail: Cow<'static, str>,
    pub(super) retry_after: Option<Duration>,
    /// The trace of the call that failed.
    pub(super) trace: Option<Box<str>>,
}

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident;)*) => {
        impl Problem {
            $($(#[$doc])*
            pub(super) fn $name(detail: impl Into<Cow<'static, str>>) -> Self {
                Self { code: $code, status: StatusCode::$status, detail: detail.into(), retry_after: None, trace: None }
            })*
        }
    };
}

problems! {
    /// A frame that is no envelope.
    malformed = "malformed_frame", BAD_REQUEST;
    /// A `uri` that is no path below a service.
    invalid_uri = "invalid_uri", BAD_REQUEST;
    /// A `baseUrl` that names no service of the route.
    service_not_allowed = "service_not_allowed", FORBIDDEN;
    /// What is not granted to who asks for it.
    forbidden = "forbidden", FORBIDDEN;
    /// More rooms than a session may be in.
    too_many_rooms = "too_many_rooms", TOO_MANY_REQUESTS;
    /// A key of a push that has no answer yet.
    key_in_use = "key_in_use", CONFLICT;
    /// What is told is too long.
    message_too_big = "message_too_big", PAYLOAD_TOO_LARGE;
    /// The bus takes nothing.
    bus_full = "bus_full", SERVICE_UNAVAILABLE;
    /// The bus is not there.
    bus_unreachable = "bus_unreachable", SERVICE_UNAVAILABLE;
    /// A method that the bridge does not send.
    method_not_allowed = "method_not_allowed", METHOD_NOT_ALLOWED;
    /// A request of somebody who has not said who that is.
    unauthenticated = "unauthenticated", UNAUTHORIZED;
    /// A token that is no longer good.
    token_expired = "token_expired", UNAUTHORIZED;
    /// A `uri` that no request over HTTP could have.
    uri_too_long = "uri_too_long", URI_TOO_LONG;
    /// An id that is in use.
    duplicate_id = "duplicate_id", CONFLICT;
    /// A body that cannot be sent in the encoding that was named.
    unsupported_encoding = "unsupported_encoding", UNSUPPORTED_MEDIA_TYPE;
    /// More calls at once than the session may have.
    too_many_in_flight = "too_many_in_flight", TOO_MANY_REQUESTS;
    /// Messages that come faster than they may.
    rate_limited = "rate_limited", TOO_MANY_REQUESTS;
    /// An answer with more bytes than the route lets through.
    response_too_big = "response_too_big", BAD_GATEWAY;
    /// A streamed answer whose client grants nothing.
    no_credit = "no_credit", REQUEST_TIMEOUT;
    /// An answer that ended before its end.
    bad_gateway = "bad_gateway", BAD_GATEWAY;
    /// No answer in the time that the envelope gave.
    upstream_timeout = "upstream_timeout", GATEWAY_TIMEOUT;
    /// A call whose session had to end before its answer was there.
    session_ended = "session_ended", GATEWAY_TIMEOUT;
    /// A fault of ours.
    internal = "internal", INTERNAL_SERVER_ERROR;
}

/// The status of a call that its client took back; HTTP has no name for it (nginx's 499).
pub(super) const CANCELLED: u16 = 499;

impl Problem {
    /// A call that its client took back.
    pub(super) fn cancelled() -> Self {
        Self {
            code: "cancelled",
            // 499 is between the bounds that a status has.
            status: StatusCode::from_u16(CANCELLED).unwrap_or(StatusCode::BAD_REQUEST),
            detail: "the client took the request back".into(),
            retry_after: None,
            trace: None,
        }
    }

    /// Messages that come faster than they may; the next is in time after `due`.
    pub(super) fn too_fast(due: Duration) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(due.as_secs() + 1)),
            ..Self::rate_limited("messages came faster than they may")
        }
    }

    /// The same, to be tried again in a second.
    pub(super) fn retry(self) -> Self {
        Self {
            retry_after: Some(Duration::from_secs(1)),
            ..self
        }
    }

    /// The same, of a call that belongs to this trace.
    pub(super) fn traced(self, trace: &str) -> Self {
        Self {
            trace: Some(trace.into()),
            ..self
        }
    }

    /// Whether the same request may succeed a moment later.
    pub(super) fn is_retryable(&self) -> bool {
        crate::error::is_retryable(self.status) && self.code != "response_too_big"
    }

    /// Writes it as a JSON object.
    pub(super) fn write(&self, route: Option<&str>, into: &mut Vec<u8>) {
        let title = match self.status.as_u16() {
            CANCELLED => "Client Closed Request",
            _ => self.status.canonical_reason().unwrap_or("Error"),
        };
        let mut problem = serde_json::json!({
            "type": format!("urn:tidegate:problem:{}", self.code),
            "title": title,
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "source": "gateway",
            "retryable": self.is_retryable(),
        });
        if let Some(after) = self.retry_after {
            problem["retry_after"] = after.as_secs().into();
        }
        if let Some(trace) = &self.trace {
            problem["trace_id"] = (**trace).into();
        }
        if let Some(route) = route {
            problem["route"] = route.into();
        }
        into.extend_from_slice(problem.to_string().as_bytes());
    }
}

impl From<&GatewayError> for Problem {
    /// The envelope's words for what an exchange failed with; where protocol and HTTP have names of
    /// their own for the same thing, the envelope has the protocol's.
    fn from(error: &GatewayError) -> Self {
        let code = match error.label() {
            "no_route" => "route_not_found",
            "body_too_large" => "message_too_big",
            "no_endpoint" => "upstream_unavailable",
            "upstream_connect_timeout"
            | "upstream_handshake_timeout"
            | "upstream_response_timeout" => "upstream_timeout",
            "upstream_refused"
            | "upstream_lost"
            | "upstream_malformed"
            | "upstream_bad_switch"
            | "upstream_tls_failed"
            | "upstream_unresolvable" => "bad_gateway",
            "bad_path" => "invalid_uri",
            "target_too_long" => "uri_too_long",
            "internal_error" | "filter_failed" => "internal",
            other => other,
        };
        Self {
            code,
            status: error.status(),
            detail: error.detail().into(),
            retry_after: match error {
                GatewayError::Overload(overload) => {
                    Some(Duration::from_secs(overload.retry_after().into()))
                }
                _ => None,
            },
            trace: None,
        }
    }
}
