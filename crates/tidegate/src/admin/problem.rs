//! Errors of the admin API: problem+json (RFC 9457), as on the data plane.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::error::is_retryable;

/// An answer that is an error.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    header: Option<Box<(HeaderName, HeaderValue)>>,
    is_retryable: bool,
    beside: Option<Box<(&'static str, Value)>>,
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            header: None,
            is_retryable: is_retryable(status),
            beside: None,
        }
    }

    /// With one more field.
    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.header = Some(Box::new((name, HeaderValue::from_static(value))));
        self
    }

    /// With one more member.
    pub(super) fn beside(mut self, name: &'static str, value: Value) -> Self {
        self.beside = Some(Box::new((name, value)));
        self
    }

    /// It may be another answer then.
    pub(super) fn again_in(mut self, wait: Duration) -> Self {
        let seconds = HeaderValue::from(wait.as_secs() + 1);
        self.header = Some(Box::new((header::RETRY_AFTER, seconds)));
        self
    }

    /// It is the same answer until somebody changes something, whatever its status is otherwise.
    pub(super) const fn for_good(mut self) -> Self {
        self.is_retryable = false;
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = serde_json::json!({
            "type": format!("urn:tidegate:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "code": self.code,
            "source": "gateway",
            "retryable": self.is_retryable,
        });
        if let Some((name, value)) = self.beside.map(|beside| *beside) {
            body[name] = value;
        }
        let mut response = (self.status, body.to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.extend(self.header.map(|header| *header));
        response
    }
}
