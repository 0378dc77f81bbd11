//! The client's end: a request is made, and what comes back is judged.

use http::header::{
    CONNECTION, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Version};

use super::{
    Extension, Fields, Key, chosen_protocol, connection_upgrades, extensions, token,
    upgrades_to_websocket,
};

/// What is wrong with the server's side of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// `Sec-WebSocket-Accept` is missing, repeated, or does not answer the key.
    #[error("Sec-WebSocket-Accept does not answer the key")]
    Accept,
    /// `Connection` does not name `upgrade`.
    #[error("Connection does not name upgrade")]
    Connection,
    /// An extension that was not offered, or that cannot be parsed.
    #[error("Sec-WebSocket-Extensions names what was not offered")]
    Extensions,
    /// A subprotocol that was not offered, or more than one.
    #[error("Sec-WebSocket-Protocol names what was not offered")]
    Protocol,
    /// `Upgrade` is not `websocket`.
    #[error("Upgrade is not websocket")]
    Upgrade,
    /// A 101 in another version than HTTP/1.1.
    #[error("the answer is not HTTP/1.1")]
    Version,
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    key: Key,
    protocols: Vec<Box<str>>,
    extensions: Option<HeaderValue>,
}

/// A subprotocol that is no token, or that was offered before (RFC 6455 section 4.1 point 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a subprotocol must be a token, and can be offered once")]
pub struct BadProtocol;

/// What a server agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agreed<'a> {
    /// The subprotocol.
    pub subprotocol: Option<&'a str>,
    /// The extensions: each was offered by name and stands once. Whether the parameters are right
    /// is the extension's to say.
    pub extensions: Vec<Extension<'a>>,
}

impl Offer {
    /// An offer with the key of these bytes, which must be random and new for each connection (RFC
    /// 6455 section 4.1 point 7): they prove that the answer is of a WebSocket server and of now.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        Self {
            key: Key::new(random),
            protocols: Vec::new(),
            extensions: None,
        }
    }

    /// Offers a subprotocol, behind those that were offered before.
    ///
    /// # Errors
    /// When it is no token, or is offered already.
    pub fn protocol(mut self, protocol: &str) -> Result<Self, BadProtocol> {
        let is_new = !self.protocols.iter().any(|known| **known == *protocol);
        if token(protocol.as_bytes()).is_none() || !is_new {
            return Err(BadProtocol);
        }
        self.protocols.push(protocol.into());
        Ok(self)
    }

    /// Offers the extensions of this value of `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn extensions(mut self, value: HeaderValue) -> Self {
        self.extensions = Some(value);
        self
    }

    /// The fields of the request that are of the handshake: all that is needed beside `GET`,
    /// HTTP/1.1 and `Host`.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        // A key is base64, and subprotocols are tokens: both are legal values.
        let key = HeaderValue::from_bytes(self.key.as_bytes()).ok();
        let protocols = HeaderValue::from_str(&self.protocols.join(", ")).ok();
        for (name, value) in [
            (SEC_WEBSOCKET_KEY, key),
            (SEC_WEBSOCKET_PROTOCOL, protocols),
            (SEC_WEBSOCKET_EXTENSIONS, self.extensions.clone()),
        ] {
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                headers.insert(name, value);
            }
        }
        headers
    }

    /// Judges the head of a 101 (RFC 6455 section 4.1, last list). An answer with another status is
    /// no answer to a handshake, and is HTTP's.
    ///
    /// # Errors
    /// The first that is wrong. There is no way to go on then but to end the connection.
    pub fn check<'a>(
        &self,
        version: Version,
        fields: &'a impl Fields,
    ) -> Result<Agreed<'a>, ResponseError> {
        // HTTP/1.0 knows no switch (RFC 9110 section 15.2).
        if version != Version::HTTP_11 {
            return Err(ResponseError::Version);
        }
        check_switch(&self.key, fields)?;
        let offered: Vec<&str> = self.protocols.iter().map(|offer| &**offer).collect();
        let subprotocol = chosen_protocol(fields.lines("sec-websocket-protocol"), &offered)?;
        let extensions = extensions(fields.lines("sec-websocket-extensions"))
            .map_err(|_malformed| ResponseError::Extensions)?;
        self.check_names(&extensions)?;
        Ok(Agreed {
            subprotocol,
            extensions,
        })
    }

    fn check_names(&self, accepted: &[Extension<'_>]) -> Result<(), ResponseError> {
        let offers = self.extensions.as_ref().map(HeaderValue::as_bytes);
        let offers = extensions(offers.into_iter()).unwrap_or_default();
        for (place, one) in accepted.iter().enumerate() {
            let is_same = |other: &Extension<'_>| other.name.eq_ignore_ascii_case(one.name);
            if !offers.iter().any(is_same) || accepted[..place].iter().any(is_same) {
                return Err(ResponseError::Extensions);
            }
        }
        Ok(())
    }
}

/// Whether the fields of a 101 switch to WebSocket in answer to `key`.
///
/// # Errors
/// The first of `Upgrade`, `Connection` and `Sec-WebSocket-Accept` that is wrong.
pub fn check_switch(key: &Key, fields: &impl Fields) -> Result<(), ResponseError> {
    if !upgrades_to_websocket(fields) {
        return Err(ResponseError::Upgrade);
    }
    if !connection_upgrades(fields) {
        return Err(ResponseError::Connection);
    }
    key.check_accept(fields.lines("sec-websocket-accept"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::server::decide;

    fn offer() -> Offer {
        Offer::new(*b"the sample nonce")
            .protocol("chat")
            .and_then(|offer| offer.protocol("superchat"))
            .unwrap()
            .extensions(HeaderValue::from_static("permessage-deflate; a, x-b"))
    }

    const GOOD: [(&str, &str); 3] = [
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
    ];

    fn answer(changes: &[(&'static str, &'static str)]) -> HeaderMap {
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let kept = GOOD.iter().filter(|(name, _)| !is_changed(name));
        let added = changes.iter().filter(|(_, value)| !value.is_empty());
        let mut headers = HeaderMap::new();
        for (name, value) in kept.chain(added) {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn check(changes: &[(&'static str, &'static str)]) -> Result<(), ResponseError> {
        offer()
            .check(Version::HTTP_11, &answer(changes))
            .map(|_agreed| ())
    }

    #[test]
    fn an_offer_is_what_a_server_takes() {
        let mut headers = offer().headers();
        headers.insert("host", HeaderValue::from_static("example.com"));
        let wish = decide(&http::Method::GET, Version::HTTP_11, &headers).unwrap();
        assert_eq!(wish.protocols, ["chat", "superchat"]);
        assert_eq!(wish.extensions.len(), 2);
        let response = wish.accept(&["superchat"]).response();
        let offer = offer();
        let agreed = offer.check(Version::HTTP_11, response.headers()).unwrap();
        assert_eq!(agreed.subprotocol, Some("superchat"));
        assert!(agreed.extensions.is_empty());
    }

    #[test]
    fn an_empty_offer_names_nothing() {
        let headers = Offer::new([7; 16]).headers();
        assert!(!headers.contains_key("sec-websocket-protocol"));
        assert!(!headers.contains_key("sec-websocket-extensions"));
    }

    #[test]
    fn subprotocols_are_distinct_tokens() {
        for bad in ["", "a b", "a,b", "chat", "é"] {
            assert_eq!(offer().protocol(bad), Err(BadProtocol), "{bad}");
        }
    }

    #[test]
    fn right_answers() {
        for changes in [
            &[][..],
            &[("upgrade", "WebSocket")],
            &[("connection", "keep-alive"), ("connection", "upgrade")],
            &[("sec-websocket-protocol", "superchat")],
            &[("sec-websocket-extensions", "x-b; c=1")],
            &[
                ("sec-websocket-extensions", "x-b"),
                ("sec-websocket-extensions", "permessage-deflate"),
            ],
        ] {
            assert_eq!(check(changes), Ok(()), "{changes:?}");
        }
    }

    #[test]
    fn wrong_answers() {
        use ResponseError::*;
        const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        let cases: &[(&[(&'static str, &'static str)], ResponseError)] = &[
            (&[("upgrade", "")], Upgrade),
            (&[("upgrade", "h2c")], Upgrade),
            (&[("upgrade", "websocket, h2c")], Upgrade),
            (&[("connection", "")], Connection),
            (&[("connection", "close")], Connection),
            (&[("sec-websocket-accept", "")], Accept),
            (
                &[("sec-websocket-accept", "S3pPLMBiTxaQ9kYGzzhZRbK+xOo=")],
                Accept,
            ),
            (
                &[
                    ("sec-websocket-accept", ACCEPT),
                    ("sec-websocket-accept", ACCEPT),
                ],
                Accept,
            ),
            (&[("sec-websocket-protocol", "other")], Protocol),
            (&[("sec-websocket-protocol", "Chat")], Protocol),
            (&[("sec-websocket-protocol", "chat, superchat")], Protocol),
            (
                &[
                    ("sec-websocket-protocol", "chat"),
                    ("sec-websocket-protocol", "chat"),
                ],
                Protocol,
            ),
            (&[("sec-websocket-extensions", "x-c")], Extensions),
            (&[("sec-websocket-extensions", "x-b, X-B")], Extensions),
            (&[("sec-websocket-extensions", "x-b; =")], Extensions),
        ];
        for (changes, error) in cases {
            assert_eq!(check(changes), Err(*error), "{changes:?}");
        }
        assert_eq!(
            offer().check(http::Version::HTTP_10, &answer(&[])),
            Err(Version)
        );
    }
}
