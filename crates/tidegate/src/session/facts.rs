//! What is known of a session from its opening on. There is one of these for every idle session, so
//! it shares what can be shared and keeps its texts in one piece.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};

use http::HeaderValue;

use crate::auth::Identity;
use crate::exchange::Exchange;
use crate::limits::RouteCaps;
use crate::mask;
use crate::presence::Eviction;
use crate::route::{Route, Target, TokenRules};
use crate::upstream::Endpoint;

/// The most bytes that are kept of one text.
const LONGEST: usize = 256;

/// What a session is.
#[derive(Debug)]
pub(crate) struct Facts {
    /// The route as it was when the session was opened.
    route: Arc<Route>,
    /// Where its upstream is; a handler has none.
    endpoint: Option<Arc<Endpoint>>,
    /// The name of the listener that it came through.
    pub(crate) listener: Arc<str>,
    /// Who holds the other end of the client's connection; on a socket for both families, an IPv4
    /// address is told as one.
    pub(crate) peer: SocketAddr,
    /// What few of them have.
    rare: Option<Box<Rare>>,
    /// Who opened it, once that is known.
    identity: OnceLock<Arc<Identity>>,
    /// Host, path, query, path at the upstream and subprotocol, one behind the other.
    texts: Box<str>,
    /// Where the first four of them end.
    ends: [u16; 4],
}

/// What there is besides of a client that is not merely its peer.
#[derive(Debug)]
struct Rare {
    /// The client that trusted proxies name, where it is not the peer.
    behind: Option<IpAddr>,
    /// The subject of its certificate.
    certificate: Option<Box<str>>,
}

impl Facts {
    /// The facts of a session that comes of `exchange`.
    pub(crate) fn new(
        route: &Arc<Route>,
        exchange: &Exchange,
        endpoint: Option<Arc<Endpoint>>,
        subprotocol: Option<&HeaderValue>,
    ) -> Self {
        let downstream = &exchange.downstream;
        let (asked, sent) = (exchange.original_path().as_str(), exchange.path.as_str());
        let host = exchange.authority.as_ref().map(ToString::to_string);
        let query = exchange.query.as_deref();
        let query = query.map(|query| {
            let mut told = vec![b'?'];
            mask::query(query, &mut |piece| told.extend_from_slice(piece));
            String::from_utf8_lossy(&told).into_owned()
        });
        // Masked before it is cut, so that a credential is known by all of it.
        let subprotocol = subprotocol.and_then(|one| one.to_str().ok());
        let subprotocol = subprotocol.map(mask::subprotocol);
        let (texts, ends) = joined([
            host.as_deref().unwrap_or_default(),
            asked,
            query.as_deref().unwrap_or_default(),
            // Every path has a slash, so nothing means the same one.
            if sent == asked { "" } else { sent },
            subprotocol.as_deref().unwrap_or_default(),
        ]);
        let mut peer = downstream.peer;
        peer.set_ip(peer.ip().to_canonical());
        let behind = Some(exchange.client).filter(|client| *client != peer.ip());
        let certificate = downstream.client_certificate();
        let certificate = certificate.map(|one| cut(one.subject()).into());
        let is_rare = behind.is_some() || certificate.is_some();
        Self {
            route: Arc::clone(route),
            endpoint,
            listener: Arc::clone(&downstream.listener),
            peer,
            rare: is_rare.then(|| {
                Box::new(Rare {
                    behind,
                    certificate,
                })
            }),
            identity: exchange
                .principal
                .as_ref()
                .map_or_else(OnceLock::new, |one| Arc::clone(one.identity()).into()),
            texts,
            ends,
        }
    }

    /// The caps of its route.
    pub(crate) fn caps(&self) -> &RouteCaps {
        &self.route.caps
    }

    /// What its route says of tokens.
    pub(crate) fn tokens(&self) -> &TokenRules {
        &self.route.tokens
    }

    /// The name of its route.
    pub(crate) fn route(&self) -> &str {
        &self.route.name
    }

    /// The same, to keep.
    pub(crate) fn route_name(&self) -> Arc<str> {
        Arc::clone(&self.route.name)
    }

    /// Who goes where its route has one session too many, where that is wanted.
    pub(crate) fn eviction(&self) -> Option<&Eviction> {
        self.route.caps.eviction()
    }

    /// Where it ends.
    pub(crate) fn target(&self) -> &Target {
        &self.route.target
    }

    /// The name of its service, where it has one.
    pub(crate) fn service(&self) -> Option<&str> {
        self.route.target.service().map(|one| &*one.plan.name)
    }

    /// Where its upstream is, where it has one.
    pub(crate) fn endpoint(&self) -> Option<&Endpoint> {
        self.endpoint.as_deref()
    }

    /// The client's address: the peer's, or the one that trusted proxies name.
    pub(crate) fn client(&self) -> IpAddr {
        let behind = self.rare.as_ref().and_then(|rare| rare.behind);
        behind.unwrap_or_else(|| self.peer.ip())
    }

    /// The subject of the client's certificate, where it showed one.
    pub(crate) fn certificate(&self) -> Option<&str> {
        self.rare.as_ref()?.certificate.as_deref()
    }

    /// The host that the client asked for, with its port where it named one.
    pub(crate) fn host(&self) -> &str {
        self.text(0, self.ends[0])
    }

    /// The path that the client asked for, without the query, which may hold secrets.
    pub(crate) fn path(&self) -> &str {
        self.text(self.ends[0], self.ends[1])
    }

    /// The query that the client asked with and the upstream was asked with, with its `?` and the
    /// values of secrets masked; empty where there is none.
    pub(crate) fn query(&self) -> &str {
        self.text(self.ends[1], self.ends[2])
    }

    /// The path that the upstream was asked for, below that of the endpoint.
    pub(crate) fn sent_path(&self) -> &str {
        match self.text(self.ends[2], self.ends[3]) {
            "" => self.path(),
            sent => sent,
        }
    }

    /// The user who opened it, where that is known.
    pub(crate) fn user(&self) -> Option<&str> {
        self.identity().map(|identity| identity.user())
    }

    /// Who opened it, and by what token, where that is known.
    pub(crate) fn identity(&self) -> Option<&Arc<Identity>> {
        self.identity.get()
    }

    /// It is known only now who opened it; whether it was not known before.
    pub(super) fn identify(&self, identity: &Arc<Identity>) -> bool {
        self.identity.set(Arc::clone(identity)).is_ok()
    }

    /// The subprotocol that was agreed upon, a credential in it masked.
    pub(crate) fn subprotocol(&self) -> Option<&str> {
        let chosen = self.texts.get(usize::from(self.ends[3])..);
        chosen.filter(|text| !text.is_empty())
    }

    fn text(&self, from: u16, to: u16) -> &str {
        self.texts
            .get(usize::from(from)..usize::from(to))
            .unwrap_or_default()
    }
}

/// Texts one behind the other, each cut to what is kept, and where all but the last end.
fn joined(texts: [&str; 5]) -> (Box<str>, [u16; 4]) {
    let texts = texts.map(cut);
    let mut ends = [0; 4];
    let mut end = 0;
    for (place, text) in ends.iter_mut().zip(texts) {
        end += text.len();
        *place = u16::try_from(end).unwrap_or(u16::MAX);
    }
    (texts.concat().into(), ends)
}

/// As much of a text as is kept of it.
fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_two_characters() {
        let long = "é".repeat(200);
        let (texts, ends) = joined(["host", &format!("/{long}"), "", "", "chat"]);
        assert_eq!(ends, [4, 4 + 255, 4 + 255, 4 + 255]);
        assert_eq!(texts.len(), 4 + 255 + 4);
        assert_eq!(&texts[259..], "chat");
    }
}
