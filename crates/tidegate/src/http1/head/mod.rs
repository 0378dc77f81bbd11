//! Message heads: what they are, what they may take, and why one is refused.

mod parse;

use bytes::Bytes;
use http::{Method, StatusCode};

use crate::authority::Authority;
use crate::config::plan::ListenerLimits;
use crate::headers::Headers;

pub(crate) use self::parse::{parse_request, parse_response, parse_trailers};

/// What a message head may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// The whole head in bytes; 64 KiB.
    pub head: usize,
    /// The request target in bytes; 8 KiB.
    pub target: usize,
    /// Field lines; 100.
    pub fields: usize,
}

impl Limits {
    /// Those of a listener's requests.
    pub(crate) fn of(limits: &ListenerLimits) -> Self {
        Self {
            head: limits.max_head,
            target: limits.max_target,
            fields: limits.max_fields,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: 64 * 1024,
            target: 8 * 1024,
            fields: 100,
        }
    }
}

/// Why a head was refused. Each is the sender's fault; the connection it came on is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeadError {
    /// A line end that is not CRLF, or a CR that stands alone (RFC 9112 section 2.2).
    #[error("a line does not end with CR LF")]
    LineEnd,
    /// The start line or a field line does not follow its grammar.
    #[error("the {0} does not follow the grammar of HTTP/1.1")]
    Malformed(&'static str),
    /// The head is larger than the limit.
    #[error("the head is larger than the limit")]
    TooLarge,
    /// The head has more fields than the limit.
    #[error("the head has too many fields")]
    TooManyFields,
    /// The request target is longer than the limit.
    #[error("the request target is longer than the limit")]
    TargetTooLong,
    /// No `Host`, more than one, or one that names no host.
    #[error("there must be one Host field that names a host")]
    Host,
    /// Content-Length is repeated or no number.
    #[error("Content-Length is not one plain number")]
    ContentLength,
    /// Transfer-Encoding is something else than one `chunked`.
    #[error("Transfer-Encoding is not `chunked` alone")]
    TransferEncoding,
    /// Both Content-Length and Transfer-Encoding.
    #[error("Content-Length and Transfer-Encoding stand together")]
    TwoFramings,
    /// The protocol version is neither HTTP/1.0 nor HTTP/1.1.
    #[error("the version is neither HTTP/1.0 nor HTTP/1.1")]
    Version,
    /// The request target has no form that a gateway serves.
    #[error("the request target is neither a path nor an absolute http URL")]
    Target,
}

/// The two versions of HTTP/1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Version {
    /// HTTP/1.0: no chunks, no upgrade, the connection closes unless asked to stay.
    Http10,
    /// HTTP/1.1.
    Http11,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// There is none, or it is over after so many bytes.
    Length(u64),
    /// At its last chunk.
    Chunked,
    /// Where the sender ends the connection (answers alone).
    UntilClose,
}

/// The head of a request.
#[derive(Debug)]
pub(crate) struct RequestHead {
    /// The method.
    pub method: Method,
    /// The path as received, not normalised.
    pub path: Bytes,
    /// What follows the `?`, byte for byte.
    pub query: Option<Bytes>,
    /// From an absolute target, else from `Host`.
    pub authority: Option<Authority>,
    /// The version.
    pub version: Version,
    /// The fields, without those of the framing.
    pub headers: Headers,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection may serve another request.
    pub keep_alive: bool,
    /// Whether the client waits for a 100 before it sends the body.
    pub expects_continue: bool,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct ResponseHead {
    /// The version.
    pub(crate) version: Version,
    /// The status.
    pub status: StatusCode,
    /// The reason phrase, where it is not the usual one.
    pub reason: Option<Bytes>,
    /// The fields. Content-Length is left in for the answers that describe a body they do not have.
    pub headers: Headers,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection may serve another call.
    pub keep_alive: bool,
}
