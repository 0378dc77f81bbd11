//! What a handshake told.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Uri};

use crate::names::Names;

/// What was learnt of a session by its handshake. A handler that no longer needs it
/// lets it go with [`super::WebSocketSession::take_handshake`].
///
/// Printed with `{:?}` it shows the path without the query, and of fields and cookies the names.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct HandshakeInfo {
    /// The URL that was asked for (RFC 6455 section 3); a server that knows no more has the path alone.
    pub uri: Uri,
    /// The fields of the request; for a client those of the answer.
    pub headers: HeaderMap,
    /// The cookies of the request, names and values as they stand there (RFC 6265 section 5.4).
    pub cookies: Vec<(String, String)>,
    /// The name of who was verified; `None` unless somebody in front of the handshake did.
    pub principal: Option<Arc<str>>,
    /// The subprotocol that was agreed (RFC 6455 section 1.9); `None` without one.
    pub subprotocol: Option<Box<str>>,
    /// Where the peer is, if who accepted the connection told.
    pub remote_address: Option<SocketAddr>,
    /// What filters left for the handler, by type.
    pub attributes: Extensions,
}

impl HandshakeInfo {
    /// What is known of a request for `uri` with `headers`.
    #[must_use]
    pub fn new(uri: Uri, headers: HeaderMap) -> Self {
        Self {
            uri,
            headers,
            ..Self::default()
        }
    }
}

impl fmt::Debug for HandshakeInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cookies: Vec<&str> = self.cookies.iter().map(|(name, _)| &**name).collect();
        f.debug_struct("HandshakeInfo")
            .field("path", &self.uri.path())
            .field("headers", &Names(&self.headers))
            .field("cookies", &cookies)
            .field("principal", &self.principal)
            .field("subprotocol", &self.subprotocol)
            .field("remote_address", &self.remote_address)
            .finish_non_exhaustive()
    }
}
