//! The answers that open no session.

use std::fmt::Write as _;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};

use crate::cors::CorsRefusal;
use crate::handshake::RequestError;

/// A request that opens no session, and the answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The status of the answer.
    pub status: StatusCode,
    /// Its fields, but for those that tell of its body.
    pub headers: HeaderMap,
    /// Why.
    pub why: Why,
}

/// Why a request opens no session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// Its origin may not (403).
    #[error(transparent)]
    Cors(#[from] CorsRefusal),
    /// No handler is there (404).
    #[error("there is nothing at this path")]
    NoHandler,
    /// Its path could be read in two ways (400).
    #[cfg(feature = "mapping")]
    #[error("the path is refused: {0}")]
    Path(#[from] crate::path::PathError),
    /// It is no handshake, or a wrong one (400, 405, 426).
    #[error(transparent)]
    Request(#[from] RequestError),
}

impl Refusal {
    /// The refusal for this reason.
    #[must_use]
    pub fn new(why: impl Into<Why>) -> Self {
        let why = why.into();
        Self {
            status: why.status(),
            headers: match why {
                Why::Request(error) => error.headers(),
                _ => HeaderMap::new(),
            },
            why,
        }
    }

    /// The answer, with a body of `application/problem+json` (RFC 9457).
    #[must_use]
    pub fn into_response(self) -> Response<Bytes> {
        let status = self.status;
        let code = self.why.code();
        let title = status.canonical_reason().unwrap_or("Error");
        let body = format!(
            r#"{{"type":"urn:tidegate:problem:{code}","title":"{title}","status":{},"detail":"{}","code":"{code}"}}"#,
            status.as_u16(),
            json_text(&self.why.to_string()),
        );
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        let length = HeaderValue::from(response.body().len());
        let headers = response.headers_mut();
        *headers = self.headers;
        let kind = HeaderValue::from_static("application/problem+json");
        headers.insert(CONTENT_TYPE, kind);
        headers.insert(CONTENT_LENGTH, length);
        response
    }
}

impl Why {
    const fn status(self) -> StatusCode {
        match self {
            Self::Cors(_) => CorsRefusal::STATUS,
            Self::NoHandler => StatusCode::NOT_FOUND,
            #[cfg(feature = "mapping")]
            Self::Path(_) => StatusCode::BAD_REQUEST,
            Self::Request(error) => error.status(),
        }
    }

    /// One word for it, which stays the same: the `code` of the answer's body.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Cors(_) => "origin_not_allowed",
            Self::NoHandler => "no_route",
            #[cfg(feature = "mapping")]
            Self::Path(_) => "bad_path",
            Self::Request(RequestError::Body) => "upgrade_with_body",
            Self::Request(RequestError::Method) => "method_not_allowed",
            Self::Request(RequestError::Upgrade) => "upgrade_required",
            Self::Request(RequestError::Version) => "bad_version",
            Self::Request(_) => "bad_handshake",
        }
    }
}

/// `text` as it stands within the quotes of JSON.
fn json_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control < ' ' => {
                // Into a String nothing fails.
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            plain => out.push(plain),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_a_problem() {
        let response = Refusal::new(RequestError::Version).into_response();
        assert_eq!(response.status(), 426);
        assert_eq!(response.headers()["sec-websocket-version"], "13");
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
        let length = response.body().len().to_string();
        assert_eq!(response.headers()["content-length"], length.as_str());
        assert_eq!(
            response.body(),
            concat!(
                r#"{"type":"urn:tidegate:problem:bad_version","title":"Upgrade Required","#,
                r#""status":426,"detail":"Sec-WebSocket-Version is not 13","code":"bad_version"}"#
            )
        );
    }

    #[test]
    fn statuses() {
        for (why, status) in [
            (Why::Cors(CorsRefusal::OriginNull), 403),
            (Why::NoHandler, 404),
            (Why::Request(RequestError::Method), 405),
            (Why::Request(RequestError::Upgrade), 426),
            (Why::Request(RequestError::Body), 400),
        ] {
            let refusal = Refusal::new(why);
            assert_eq!(refusal.status.as_u16(), status);
            assert_eq!(refusal.into_response().status().as_u16(), status);
        }
    }

    #[test]
    fn any_text_is_a_json_string() {
        assert_eq!(json_text("a \"b\" \\ \n é"), r#"a \"b\" \\ \u000a é"#);
    }
}
