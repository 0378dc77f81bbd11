//! What a handler is told of the request that became its session.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, Uri};
use tidegate_ws::HandshakeInfo;
use tidegate_ws::attributes::{Attributes, Principal};

use crate::exchange::{Downstream, Exchange};
use crate::router::Captures;
use crate::tls::ClientCertificate;

/// How a session came to its handler; among the attributes of [`HandshakeInfo`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RouteFacts {
    /// The name of the route.
    pub route: Arc<str>,
    /// What its path pattern captured.
    pub captures: Captures,
    /// The path that the client asked for, whatever filters made of it.
    pub original_path: Box<str>,
    /// The client's address: the peer's, or the one that trusted proxies name.
    pub client: IpAddr,
    /// The connection that it came on.
    pub downstream: Arc<Downstream>,
}

impl RouteFacts {
    /// The client's certificate, where it showed one and we have seen it.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.downstream.client_certificate()
    }
}

/// What the handler of `route` is told.
pub(super) fn info(
    exchange: &Exchange,
    route: &Arc<str>,
    subprotocol: Option<&str>,
) -> HandshakeInfo {
    let downstream = &exchange.downstream;
    let mut info = HandshakeInfo::new(uri(exchange), fields(exchange));
    info.cookies = cookies(exchange);
    info.subprotocol = subprotocol.map(Into::into);
    let is_peer = downstream.peer.ip().to_canonical() == exchange.client;
    // A port that trusted proxies know is not told to us.
    let port = if is_peer { downstream.peer.port() } else { 0 };
    info.remote_address = Some(SocketAddr::new(exchange.client, port));
    let principal = exchange.extensions.get();
    info.principal = principal.map(|Principal(name)| Arc::clone(name));
    info.attributes.insert(RouteFacts {
        route: Arc::clone(route),
        captures: exchange.captures.clone(),
        original_path: exchange.original_path().as_str().into(),
        client: exchange.client,
        downstream: Arc::clone(downstream),
    });
    info
}

/// Which attributes a handler is given, by their names.
pub(crate) type Selector = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Gives the handler those of the exchange's attributes that are `wanted`, none without that.
pub(super) fn select(info: &mut HandshakeInfo, exchange: &Exchange, wanted: Option<&Selector>) {
    if let (Some(attributes), Some(wanted)) = (exchange.extensions.get::<Attributes>(), wanted) {
        info.attributes.insert(attributes.select(&**wanted));
    }
}

/// `wss://host/path?query`; without a host the path alone. What no URI may hold is left out.
fn uri(exchange: &Exchange) -> Uri {
    let mut target = exchange.path.as_str().to_owned();
    if let Some(query) = exchange.query.as_deref().map(str::from_utf8) {
        target.push('?');
        target.push_str(query.unwrap_or_default());
    }
    let scheme = if exchange.downstream.secure {
        "wss"
    } else {
        "ws"
    };
    let whole = exchange.authority.as_ref().and_then(|authority| {
        let parts = Uri::builder()
            .scheme(scheme)
            .authority(authority.to_string());
        parts.path_and_query(target.as_str()).build().ok()
    });
    let alone = || {
        Uri::builder()
            .path_and_query(exchange.path.as_str())
            .build()
    };
    whole
        .or_else(|| target.parse().ok())
        .unwrap_or_else(|| alone().unwrap_or_default())
}

fn fields(exchange: &Exchange) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(exchange.headers.len());
    for field in exchange.headers.iter() {
        if let Ok(name) = HeaderName::from_bytes(field.name.as_str().as_bytes()) {
            fields.append(name, field.value.clone());
        }
    }
    fields
}

/// Names and values, in their order, as RFC 6265 section 5.4 has them.
fn cookies(exchange: &Exchange) -> Vec<(String, String)> {
    let lines = exchange.headers.get_all("cookie");
    let lines = lines.filter_map(|line| str::from_utf8(line.as_bytes()).ok());
    let pairs = lines.flat_map(|line| line.split(';'));
    pairs
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
        .collect()
}
