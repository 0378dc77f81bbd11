//! Why there is no session.

use std::{fmt, io};

use bytes::Bytes;
use http::{HeaderName, Response};

use crate::error::BoxError;
use crate::handshake::ResponseError;
use crate::handshake::client::BadProtocol;
use crate::names::Head;

/// Why a client has no session.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No connection: the host has no address, or none of its addresses accepts.
    #[error("cannot connect: {0}")]
    Connect(#[source] io::Error),
    /// A header field that is the handshake's own to set.
    #[error("the header `{0}` is set by the handshake itself")]
    Header(HeaderName),
    /// The connection ended or failed before the answer was there.
    #[error("the connection ended inside the handshake: {0}")]
    Lost(#[source] io::Error),
    /// The answer is no HTTP/1, or its head is too large.
    #[error("the answer is malformed: {0}")]
    Malformed(&'static str),
    /// A subprotocol that cannot be offered.
    #[error(transparent)]
    Protocol(#[from] BadProtocol),
    /// The server does not open a session; what it says instead.
    #[error("the server refused with {}", .0.response.status())]
    Refused(Box<Refused>),
    /// A 101 that breaks the handshake. The connection was ended.
    #[error("the handshake's answer is wrong: {0}")]
    Response(#[from] ResponseError),
    /// It took too long.
    #[error("no session in time")]
    Timeout,
    /// TLS failed.
    #[error("TLS failed: {0}")]
    Tls(#[source] BoxError),
    /// The URL is none that a WebSocket can be opened at.
    #[error("the url is not one of a WebSocket: {0}")]
    Url(&'static str),
}

/// The answer of a server that does not open a session.
#[non_exhaustive]
pub struct Refused {
    /// The whole answer.
    pub response: Response<Bytes>,
    /// Whether its body is all there: it is cut at [`WebSocketClient::max_body`], and where the
    /// connection or the time ends inside it.
    ///
    /// [`WebSocketClient::max_body`]: crate::client::WebSocketClient::max_body
    pub is_whole: bool,
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("response", &Head(&self.response))
            .field("body_length", &self.response.body().len())
            .field("is_whole", &self.is_whole)
            .finish()
    }
}
