//! What the tests of this room, and of the proxy, send.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use http::{Extensions, Method};

use crate::body::Body;
use crate::exchange::{Downstream, Exchange};
use crate::headers::Headers;
use crate::router::{Captures, Path};
use crate::session::id::ConnectionId;

/// A plain GET without headers.
pub(crate) fn exchange(path: &str) -> Exchange {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    Exchange {
        method: Method::GET,
        path: Path::normalise(path.as_bytes()).unwrap(),
        query: None,
        authority: None,
        headers: Headers::new(),
        body: Body::empty(),
        upgrade: false,
        downstream: Arc::new(Downstream {
            connection: ConnectionId::sample(),
            listener: "test".into(),
            peer: address,
            local: address,
            secure: false,
            tls: None,
            limits: Arc::default(),
            redirect: None,
            trusted: false,
        }),
        client: address.ip(),
        captures: Captures::default(),
        principal: None,
        extensions: Extensions::new(),
    }
}
