//! What can go wrong with an exchange, and what whom is told: the one table from cause to status.

use std::io;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use nix::libc;
use tidegate_ws::cors::CorsRefusal;
use tidegate_ws::handshake::{RequestError, ResponseError};

use crate::auth::AuthError;
use crate::body::{Body, BodyError};
use crate::exchange::Answer;
use crate::headers::FieldName;
use crate::http1::head::HeadError;
use crate::limits::Overload;
use crate::pipeline::FilterError;
use crate::router::{PathError, RouteError};
use crate::tls::TlsFailure;

/// Whose fault an error is; it decides how loudly it is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The caller's.
    Downstream,
    /// Ours.
    Gateway,
    /// The service's.
    Upstream,
}

/// Why a service gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// Every local address and port towards the endpoint is in use.
    #[error("no local address is left to dial from; give the service more `source_addresses`")]
    AddressesExhausted,
    /// The connection ended inside the head of an answer.
    #[error("the connection ended inside the head of the answer: {0}")]
    Broken(io::Error),
    /// The connection was not accepted.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The connection was not accepted in time.
    #[error("not connected in time")]
    ConnectTimeout,
    /// Connected, but no answer to the handshake in time.
    #[error("no answer to the handshake in time")]
    HandshakeTimeout,
    /// The connection ended before an answer came.
    #[error("the connection ended before an answer: {0}")]
    Lost(io::Error),
    /// The answer is not HTTP/1 as RFC 9112 has it.
    #[error("the answer is malformed: {0}")]
    Malformed(HeadError),
    /// No endpoint can be tried.
    #[error("the service has no endpoint to try")]
    NoEndpoint,
    /// The request is out, but no answer came in time.
    #[error("no answer in time")]
    ResponseTimeout,
    /// A 101 that breaks the handshake.
    #[error("the handshake's answer is wrong: {0}")]
    Switch(ResponseError),
    /// A 101 that nobody asked for.
    #[error("the upstream switched protocols unasked")]
    SwitchUnasked,
    /// This process has no descriptor or memory left for a connection.
    #[error("no descriptor or memory is left for a connection: {0}")]
    Shortage(io::Error),
    /// TLS with the endpoint failed.
    #[error("TLS failed: {0}")]
    Tls(TlsFailure),
    /// The endpoint ended TLS once a request was sent, as one does that misses a certificate of ours.
    #[error("TLS failed: {0}")]
    TlsRefused(TlsFailure),
    /// The endpoint's name has no address.
    #[error("the name cannot be resolved: {0}")]
    Unresolvable(io::Error),
}

/// Why an exchange ends with an answer of ours.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The client's request body failed or broke the rules.
    #[error("the request body failed: {0}")]
    Body(BodyError),
    /// The request body is larger than the route allows.
    #[error("the request body is larger than the {limit} bytes allowed")]
    BodyTooLarge {
        /// The limit in bytes.
        limit: u64,
    },
    /// The gateway drains.
    #[error("the gateway drains")]
    Draining,
    /// A filter refused or failed.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// A browser may not call from there, or not in this way.
    #[error(transparent)]
    Cors(#[from] CorsRefusal),
    /// The client's side of a WebSocket handshake is wrong.
    #[error(transparent)]
    Handshake(#[from] RequestError),
    /// The request head is refused.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// A cap is reached.
    #[error(transparent)]
    Overload(#[from] Overload),
    /// The request is for a host that its listener does not send on.
    #[error("requests for this host are not served here")]
    Misdirected,
    /// There is no session of that id.
    #[error("there is no session with this id, or it has ended")]
    NoSession,
    /// A session takes newer tokens in its own messages only: it shows them to others.
    #[error("a session with a bridge takes a newer token in a message: `auth`")]
    RenewedInBand,
    /// The request names no host, and without one there is nowhere to send it.
    #[error("the request names no host")]
    NoHost,
    /// A fault of ours ended the work on the request.
    #[error("a fault of the gateway ended the request")]
    Panicked,
    /// The path is refused.
    #[error(transparent)]
    Path(#[from] PathError),
    /// No route takes the request.
    #[error(transparent)]
    Route(#[from] RouteError),
    /// HTTP without TLS where TLS is spoken.
    #[error("this port speaks HTTPS, and the request came without TLS")]
    PlainHttp,
    /// The request body stopped coming.
    #[error("the request body did not come in time")]
    SlowBody,
    /// The request head did not come in time.
    #[error("the request head did not come in time")]
    SlowHead,
    /// A WebSocket handshake with a body.
    #[error("a WebSocket handshake cannot have a body")]
    UpgradeBody,
    /// The service gave no answer.
    #[error(transparent)]
    Upstream(#[from] UpstreamError),
}

impl UpstreamError {
    /// Whether nothing of the request can have been acted on, so that any request may go to the
    /// next endpoint.
    #[must_use]
    pub const fn is_before_request(&self) -> bool {
        matches!(
            self,
            Self::AddressesExhausted
                | Self::Connect(_)
                | Self::ConnectTimeout
                | Self::Tls(_)
                | Self::Unresolvable(_)
        )
    }

    /// One word for it, the same in log, metric and answer.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        self.status_and_label().1
    }

    const fn status_and_label(&self) -> (StatusCode, &'static str) {
        match self {
            Self::AddressesExhausted => (StatusCode::SERVICE_UNAVAILABLE, "addresses_exhausted"),
            Self::NoEndpoint => (StatusCode::SERVICE_UNAVAILABLE, "no_endpoint"),
            Self::Shortage(_) => (StatusCode::SERVICE_UNAVAILABLE, "descriptors_short"),
            Self::ConnectTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_connect_timeout"),
            Self::HandshakeTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_handshake_timeout"),
            Self::ResponseTimeout => (StatusCode::GATEWAY_TIMEOUT, "upstream_response_timeout"),
            Self::Connect(_) => (StatusCode::BAD_GATEWAY, "upstream_refused"),
            Self::Broken(_) | Self::Lost(_) => (StatusCode::BAD_GATEWAY, "upstream_lost"),
            Self::Malformed(_) => (StatusCode::BAD_GATEWAY, "upstream_malformed"),
            Self::Switch(_) | Self::SwitchUnasked => {
                (StatusCode::BAD_GATEWAY, "upstream_bad_switch")
            }
            Self::Tls(_) | Self::TlsRefused(_) => (StatusCode::BAD_GATEWAY, "upstream_tls_failed"),
            Self::Unresolvable(_) => (StatusCode::BAD_GATEWAY, "upstream_unresolvable"),
        }
    }
}

impl GatewayError {
    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Upstream(UpstreamError::AddressesExhausted | UpstreamError::Shortage(_))
            | Self::Draining
            | Self::Panicked => Fault::Gateway,
            Self::Upstream(_) => Fault::Upstream,
            Self::Filter(error) if !error.blames_downstream() => Fault::Gateway,
            _ => Fault::Downstream,
        }
    }

    /// The status of the answer (`docs/statuses.md`).
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status_and_label().0
    }

    /// One word for it, the same in log, metric and answer.
    #[must_use]
    pub fn label(&self) -> &'static str {
        self.status_and_label().1
    }

    fn status_and_label(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Body(_) => (StatusCode::BAD_REQUEST, "bad_body"),
            Self::BodyTooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
            Self::Cors(refusal) => (CorsRefusal::STATUS, cors_label(*refusal)),
            Self::Draining => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
            Self::Filter(error) => filter_status(error),
            Self::Handshake(RequestError::Version) => (StatusCode::UPGRADE_REQUIRED, "bad_version"),
            Self::Handshake(_) => (StatusCode::BAD_REQUEST, "bad_handshake"),
            Self::Head(HeadError::TargetTooLong) => (StatusCode::URI_TOO_LONG, "target_too_long"),
            Self::Head(HeadError::TooLarge | HeadError::TooManyFields) => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
            ),
            Self::Head(_) => (StatusCode::BAD_REQUEST, "bad_request"),
            Self::Overload(overload) => overload.status_and_label(),
            Self::Misdirected => (StatusCode::MISDIRECTED_REQUEST, "misdirected"),
            Self::NoSession => (StatusCode::NOT_FOUND, "no_session"),
            Self::RenewedInBand => (StatusCode::CONFLICT, "renewed_in_band"),
            Self::NoHost => (StatusCode::BAD_REQUEST, "no_host"),
            Self::Panicked => (StatusCode::INTERNAL_SERVER_ERROR, "internal_error"),
            Self::Path(_) => (StatusCode::BAD_REQUEST, "bad_path"),
            Self::Route(RouteError::NotFound) => (StatusCode::NOT_FOUND, "no_route"),
            Self::Route(RouteError::MethodNotAllowed { .. }) => {
                (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed")
            }
            Self::Route(RouteError::UpgradeRequired) => {
                (StatusCode::UPGRADE_REQUIRED, "upgrade_required")
            }
            Self::PlainHttp => (StatusCode::BAD_REQUEST, "plain_http"),
            Self::SlowBody => (StatusCode::REQUEST_TIMEOUT, "slow_body"),
            Self::SlowHead => (StatusCode::REQUEST_TIMEOUT, "slow_head"),
            Self::UpgradeBody => (StatusCode::BAD_REQUEST, "upgrade_with_body"),
            Self::Upstream(error) => error.status_and_label(),
        }
    }

    /// Whether it is only that too much is under way.
    #[must_use]
    pub const fn is_overload(&self) -> bool {
        matches!(
            self,
            Self::Overload(_) | Self::Upstream(UpstreamError::Shortage(_))
        )
    }

    /// Whether the same request may succeed a moment later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        is_retryable(self.status())
    }

    /// Whether the connection that it came on cannot be trusted any further.
    #[must_use]
    pub const fn ends_connection(&self) -> bool {
        match self {
            Self::Handshake(error) => !matches!(error, RequestError::Version),
            Self::Body(_)
            | Self::BodyTooLarge { .. }
            | Self::Head(_)
            | Self::Panicked
            | Self::PlainHttp
            | Self::SlowBody
            | Self::SlowHead
            | Self::UpgradeBody => true,
            _ => false,
        }
    }

    /// The answer that the client gets: problem+json (RFC 9457), without an address or a name of
    /// ours in it.
    #[must_use]
    pub fn answer(&self, route: Option<&str>) -> Answer {
        let (status, label) = self.status_and_label();
        let mut problem = serde_json::json!({
            "type": format!("urn:tidegate:problem:{label}"),
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.detail(),
            "code": label,
            "source": "gateway",
            "retryable": self.is_retryable(),
        });
        if let Some(route) = route {
            problem["route"] = route.into();
        }
        let mut answer = Answer::new(status);
        let headers = &mut answer.headers;
        let mut add = |name, value| headers.append(FieldName::from_static(name), value);
        add("Date", date());
        add(
            "Content-Type",
            HeaderValue::from_static("application/problem+json"),
        );
        match self {
            Self::Route(RouteError::MethodNotAllowed { allow }) => {
                add("Allow", allow_value(allow));
            }
            _ if status == StatusCode::UPGRADE_REQUIRED => {
                add("Upgrade", HeaderValue::from_static("websocket"));
                add("Connection", HeaderValue::from_static("Upgrade"));
                add("Sec-WebSocket-Version", HeaderValue::from_static("13"));
            }
            Self::Overload(overload) => add("Retry-After", overload.retry_after().into()),
            Self::Filter(FilterError::Auth(error)) => challenge(error, &mut add),
            _ if status == StatusCode::SERVICE_UNAVAILABLE => {
                add("Retry-After", HeaderValue::from_static("1"));
            }
            _ => {}
        }
        if self.ends_connection() {
            headers.append(
                FieldName::from_static("Connection"),
                HeaderValue::from_static("close"),
            );
        }
        answer.body = Body::full(Bytes::from(problem.to_string()));
        answer
    }

    /// What the client is told beyond the status. An upstream's addresses and the words of the
    /// operating system are for the log.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::Upstream(UpstreamError::Connect(_)) => "cannot connect to the service".into(),
            Self::Upstream(UpstreamError::Broken(_) | UpstreamError::Lost(_)) => {
                "the service ended the connection before it answered".into()
            }
            Self::Upstream(UpstreamError::Tls(_) | UpstreamError::TlsRefused(_)) => {
                "TLS with the service failed".into()
            }
            Self::Upstream(UpstreamError::Unresolvable(_)) => "the service has no address".into(),
            Self::Upstream(UpstreamError::Shortage(_)) => {
                "no descriptor is left for a connection".into()
            }
            Self::Upstream(UpstreamError::AddressesExhausted) => {
                "no local address is left to dial from".into()
            }
            Self::Upstream(UpstreamError::Malformed(_)) => {
                "the service's answer is malformed".into()
            }
            Self::Body(_) => "the request body failed".into(),
            other => other.to_string(),
        }
    }
}

/// Now, as `Date` has it (RFC 9110 section 6.6.1).
pub(crate) fn date() -> HeaderValue {
    let now = httpdate::fmt_http_date(std::time::SystemTime::now());
    // Letters, digits and punctuation.
    HeaderValue::from_str(&now).unwrap_or(HeaderValue::from_static(""))
}

/// What the gateway itself answers where it is asked for something of its own.
pub(crate) fn own_json(body: &serde_json::Value) -> Answer {
    let mut answer = Answer::new(StatusCode::OK);
    for (name, value) in [
        ("Date", date()),
        ("Content-Type", HeaderValue::from_static("application/json")),
        ("Cache-Control", HeaderValue::from_static("no-store")),
    ] {
        answer.headers.append(FieldName::from_static(name), value);
    }
    answer.body = Body::full(body.to_string());
    answer
}

/// Whether an answer with this status of ours may be another one a moment later.
pub(crate) fn is_retryable(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 502 | 503 | 504)
}

/// Whether the system is out of descriptors or memory.
pub(crate) fn is_shortage(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Which of what is asked is not allowed.
const fn cors_label(refusal: CorsRefusal) -> &'static str {
    match refusal {
        CorsRefusal::HeaderNotAllowed | CorsRefusal::MethodNotAllowed => "cors_not_allowed",
        _ => "origin_not_allowed",
    }
}

fn filter_status(error: &FilterError) -> (StatusCode, &'static str) {
    if let FilterError::Auth(error) = error {
        return error.status_and_label();
    }
    if error.blames_downstream() {
        (StatusCode::BAD_REQUEST, "bad_request")
    } else {
        (StatusCode::INTERNAL_SERVER_ERROR, "filter_failed")
    }
}

/// What goes with the answer to a client that is not let through.
fn challenge(error: &AuthError, add: &mut impl FnMut(&'static str, HeaderValue)) {
    for challenge in error.challenges() {
        // Words of ours, and scopes that the configuration has checked.
        if let Ok(challenge) = HeaderValue::try_from(challenge) {
            add("WWW-Authenticate", challenge);
        }
    }
    if let Some(seconds) = error.retry_after() {
        add("Retry-After", seconds.into());
    }
}

fn allow_value(allow: &[Method]) -> HeaderValue {
    let list = allow
        .iter()
        .map(Method::as_str)
        .collect::<Vec<_>>()
        .join(", ");
    // Methods are tokens, so their list is a legal value.
    HeaderValue::from_str(&list).unwrap_or(HeaderValue::from_static(""))
}
