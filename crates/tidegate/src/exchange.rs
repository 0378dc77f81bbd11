//! One HTTP request and what we learn about it until its answer.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Extensions, Method, StatusCode};

use crate::auth::Principal;
use crate::authority::Authority;
use crate::body::Body;
use crate::config::plan::{ListenerLimits, RedirectPlan};
use crate::headers::Headers;
use crate::router::{Captures, Path, RequestView};
use crate::session::id::ConnectionId;
use crate::tls::{ClientCertificate, Secured};

/// One HTTP request on its way down, with what each room has learnt about it.
#[derive(Debug)]
pub struct Exchange {
    /// The method, as received.
    pub method: Method,
    /// The normalised path: what is routed is what is forwarded. Filters replace it.
    pub path: Path,
    /// The query without its `?`, byte for byte as received; `None` where there was no `?`.
    pub query: Option<Bytes>,
    /// Whom the request is for; `None` only from HTTP/1.0 clients that name nobody.
    pub authority: Option<Authority>,
    /// The header fields as received (then as filters leave them), hop-by-hop ones included.
    pub headers: Headers,
    /// The request body; empty for an upgrade.
    pub body: Body,
    /// Whether the client asks for a WebSocket: HTTP/1.1, `Connection: upgrade` and
    /// `Upgrade: websocket`. The router refuses those that are not a GET.
    pub upgrade: bool,
    /// From where it came.
    pub downstream: Arc<Downstream>,
    /// The client's address: the peer's, or the right-most untrusted one that trusted proxies name.
    pub client: IpAddr,
    /// What the route's patterns captured.
    pub captures: Captures,
    /// Who sent it, once the filter `require` knows.
    pub principal: Option<Arc<Principal>>,
    /// Room for what filters tell each other, by type.
    pub extensions: Extensions,
}

/// The path of an exchange before a filter replaced it; kept in its extensions.
#[derive(Clone)]
struct OriginalPath(Path);

impl Exchange {
    /// What the router looks at.
    #[must_use]
    pub fn view(&self) -> RequestView<'_> {
        RequestView {
            method: &self.method,
            path: &self.path,
            authority: self.authority.as_ref(),
            headers: &self.headers,
            upgrade: self.upgrade,
            secure: self.downstream.secure,
            certificate: self.downstream.client_certificate(),
        }
    }

    /// Replaces the path that is forwarded, and remembers the one that was asked for.
    pub fn replace_path(&mut self, path: Path) {
        let original = std::mem::replace(&mut self.path, path);
        self.extensions
            .get_or_insert_with(|| OriginalPath(original));
    }

    /// The path that the client asked for, whatever filters made of it by [`Self::replace_path`].
    #[must_use]
    pub fn original_path(&self) -> &Path {
        self.extensions
            .get::<OriginalPath>()
            .map_or(&self.path, |OriginalPath(path)| path)
    }
}

/// The connection on which exchanges arrive, as far as they need to know it.
#[derive(Debug)]
pub struct Downstream {
    /// What the log calls it.
    pub(crate) connection: ConnectionId,
    /// The listener's name.
    pub listener: Arc<str>,
    /// The peer's address: a client's, or that of a proxy in front of us. It is the one that a PROXY
    /// header told, where there was one, and 127.0.0.1 with port 0 on a unix socket.
    pub peer: SocketAddr,
    /// Our own address on this connection; 127.0.0.1 with port 0 on a unix socket.
    pub local: SocketAddr,
    /// Whether the connection came through TLS.
    pub secure: bool,
    /// What TLS agreed upon and knows of the client, where we spoke it.
    pub tls: Option<Arc<Secured>>,
    /// Whether the peer is one of `trusted_proxies`.
    pub trusted: bool,
    /// What the listener grants its clients.
    pub limits: Arc<ListenerLimits>,
    /// Where the listener sends every request; `None`: the routes are asked.
    pub redirect: Option<Arc<RedirectPlan>>,
}

impl Downstream {
    /// The client's certificate, where it showed one and we have seen it.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.tls.as_ref()?.client_certificate.as_ref()
    }
}

/// An answer on its way up.
#[derive(Debug)]
pub struct Answer {
    /// Its status; codes that HTTP has no name for pass as they are.
    pub status: StatusCode,
    /// The upstream's reason phrase, where it is not the usual one.
    pub reason: Option<Bytes>,
    /// Its header fields, without hop-by-hop ones and without framing.
    pub headers: Headers,
    /// Its body.
    pub body: Body,
}

impl Answer {
    /// An answer with `status` and nothing else.
    #[must_use]
    pub fn new(status: StatusCode) -> Self {
        Self {
            status,
            reason: None,
            headers: Headers::new(),
            body: Body::empty(),
        }
    }
}
