//! The server's end: a request is judged, and answered.

use http::header::{
    ALLOW, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_PROTOCOL,
    SEC_WEBSOCKET_VERSION, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version};

use super::{
    Extension, Fields, Key, choose_protocol, connection_upgrades, extensions, offered_protocols,
    upgrades_to_websocket,
};

/// What is wrong with the client's side of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A body of more than no bytes.
    #[error("a WebSocket handshake cannot have a body")]
    Body,
    /// `Sec-WebSocket-Extensions` does not follow its grammar.
    #[error("Sec-WebSocket-Extensions cannot be parsed")]
    Extensions,
    /// `Host` is missing, or stands more than once.
    #[error("Host does not stand once")]
    Host,
    /// No `Sec-WebSocket-Key`.
    #[error("Sec-WebSocket-Key is missing")]
    KeyMissing,
    /// More than one `Sec-WebSocket-Key`.
    #[error("Sec-WebSocket-Key stands more than once")]
    KeyRepeated,
    /// The key is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes of base64")]
    KeyMalformed,
    /// The upgrade is not a `GET`.
    #[error("a WebSocket handshake is a GET")]
    Method,
    /// `Sec-WebSocket-Protocol` is not a list of distinct tokens.
    #[error("Sec-WebSocket-Protocol is not a list of distinct tokens")]
    Protocols,
    /// It does not ask for an upgrade to `websocket`, and that alone, on HTTP/1.1.
    #[error("this is served over WebSocket only")]
    Upgrade,
    /// `Sec-WebSocket-Version` is missing, repeated or not 13.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
}

/// A client's wish to open a WebSocket, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish<'a> {
    /// Its key.
    pub key: Key,
    /// The subprotocols that it offers, in its order.
    pub protocols: Vec<&'a str>,
    /// The extensions that it offers, in its order.
    pub extensions: Vec<Extension<'a>>,
}

/// What a server agreed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    key: Key,
    subprotocol: Option<Box<str>>,
    extensions: Option<HeaderValue>,
}

/// Judges a request for a WebSocket (RFC 6455 section 4.2.1).
///
/// # Errors
/// The first that is wrong; [`RequestError::status`] is what to answer.
pub fn decide<'a>(
    method: &Method,
    version: Version,
    fields: &'a impl Fields,
) -> Result<Wish<'a>, RequestError> {
    let is_upgrade =
        version == Version::HTTP_11 && connection_upgrades(fields) && upgrades_to_websocket(fields);
    if !is_upgrade {
        return Err(RequestError::Upgrade);
    }
    if *method != Method::GET {
        return Err(RequestError::Method);
    }
    if fields.lines("host").count() != 1 {
        return Err(RequestError::Host);
    }
    let has_length = fields.lines("content-length").any(|length| length != b"0");
    if has_length || fields.lines("transfer-encoding").next().is_some() {
        return Err(RequestError::Body);
    }
    Wish::parse(fields)
}

/// Checks that the version is 13, once (RFC 6455 section 4.2.1 point 6).
pub fn check_version<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<(), RequestError> {
    match (values.next(), values.next()) {
        (Some(b"13"), None) => Ok(()),
        _ => Err(RequestError::Version),
    }
}

impl<'a> Wish<'a> {
    /// Reads the fields that are of the handshake alone.
    ///
    /// # Errors
    /// The first field that is wrong.
    pub fn parse(fields: &'a impl Fields) -> Result<Self, RequestError> {
        check_version(fields.lines("sec-websocket-version"))?;
        Ok(Self {
            key: Key::of_request(fields.lines("sec-websocket-key"))?,
            protocols: offered_protocols(fields.lines("sec-websocket-protocol"))?,
            extensions: extensions(fields.lines("sec-websocket-extensions"))
                .map_err(|_malformed| RequestError::Extensions)?,
        })
    }

    /// Agrees to it: with the first subprotocol of the client that is among `supported`, and
    /// without extensions.
    #[must_use]
    pub fn accept(&self, supported: &[impl AsRef<str>]) -> Accepted {
        Accepted {
            key: self.key,
            subprotocol: choose_protocol(&self.protocols, supported).map(Into::into),
            extensions: None,
        }
    }
}

impl Accepted {
    /// With the extensions of this value of `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn with_extensions(mut self, value: HeaderValue) -> Self {
        self.extensions = Some(value);
        self
    }

    /// The subprotocol.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// The 101 (RFC 6455 section 4.2.2 point 5).
    #[must_use]
    pub fn response(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let headers = response.headers_mut();
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        // An accept is base64, and a subprotocol a token: both are legal values.
        let accept = HeaderValue::from_bytes(&self.key.accept()).ok();
        let subprotocol = self.subprotocol().map(HeaderValue::from_str);
        for (name, value) in [
            (SEC_WEBSOCKET_ACCEPT, accept),
            (SEC_WEBSOCKET_PROTOCOL, subprotocol.and_then(Result::ok)),
            (SEC_WEBSOCKET_EXTENSIONS, self.extensions.clone()),
        ] {
            if let Some(value) = value {
                headers.insert(name, value);
            }
        }
        response
    }
}

impl RequestError {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Upgrade | Self::Version => StatusCode::UPGRADE_REQUIRED,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The fields that belong to that status: what would be right instead (RFC 9110 sections
    /// 15.5.6 and 15.5.22, RFC 6455 section 4.4), and whether the connection can be used again.
    #[must_use]
    pub fn headers(self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.status() {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(ALLOW, HeaderValue::from_static("GET"));
            }
            StatusCode::UPGRADE_REQUIRED => {
                headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            _ => {
                headers.insert(CONNECTION, HeaderValue::from_static("close"));
            }
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 5] = [
        ("host", "example.com"),
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    type Changes = &'static [(&'static str, &'static str)];

    /// The good request without the fields named in `changes`, and with those of them that have a
    /// value.
    fn request(changes: &[(&'static str, &'static str)]) -> HeaderMap {
        let is_changed = |name: &str| changes.iter().any(|(changed, _)| *changed == name);
        let kept = GOOD.iter().filter(|(name, _)| !is_changed(name));
        let added = changes.iter().filter(|(_, value)| !value.is_empty());
        let mut headers = HeaderMap::new();
        for (name, value) in kept.chain(added) {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn refusal(changes: &[(&'static str, &'static str)]) -> Option<RequestError> {
        decide(&Method::GET, Version::HTTP_11, &request(changes)).err()
    }

    #[test]
    fn the_answer_of_the_rfc() {
        let headers = request(&[
            ("sec-websocket-protocol", "chat, superchat"),
            ("origin", "http://example.com"),
        ]);
        let wish = decide(&Method::GET, Version::HTTP_11, &headers).unwrap();
        let accepted = wish.accept(&["superchat", "chat"]);
        assert_eq!(accepted.subprotocol(), Some("chat"));
        let response = accepted.response();
        assert_eq!(response.status(), 101);
        let mut fields: Vec<_> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                ("connection", "Upgrade"),
                ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                ("sec-websocket-protocol", "chat"),
                ("upgrade", "websocket"),
            ]
        );
    }

    #[test]
    fn nothing_is_named_that_was_not_agreed() {
        let headers = request(&[
            ("sec-websocket-protocol", "chat"),
            ("sec-websocket-extensions", "permessage-deflate"),
        ]);
        let wish = decide(&Method::GET, Version::HTTP_11, &headers).unwrap();
        assert!(wish.extensions[0].is_deflate());
        let response = wish.accept(&["Chat"]).response();
        assert!(!response.headers().contains_key("sec-websocket-protocol"));
        assert!(!response.headers().contains_key("sec-websocket-extensions"));
        let value = HeaderValue::from_static("permessage-deflate");
        let response = wish.accept(&["chat"]).with_extensions(value).response();
        assert_eq!(
            response.headers()["sec-websocket-extensions"],
            "permessage-deflate"
        );
        assert_eq!(response.headers()["sec-websocket-protocol"], "chat");
    }

    #[test]
    fn tokens_are_read_in_any_case_and_over_all_lines() {
        for changes in [
            &[("upgrade", "WebSocket")][..],
            &[("upgrade", ""), ("upgrade", ", websocket ,")],
            &[("connection", "keep-alive, UPGRADE")],
            &[("connection", "keep-alive"), ("connection", "x,upgrade")],
            &[("content-length", "0")],
            &[
                ("sec-websocket-protocol", "a"),
                ("sec-websocket-protocol", "b , c"),
            ],
        ] {
            assert_eq!(refusal(changes), None, "{changes:?}");
        }
    }

    #[test]
    fn what_is_wrong_and_its_status() {
        use RequestError::*;
        const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
        let cases: &[(Changes, RequestError, u16)] = &[
            (&[("upgrade", "")], Upgrade, 426),
            (&[("upgrade", "h2c")], Upgrade, 426),
            (&[("upgrade", "websocket, h2c")], Upgrade, 426),
            (
                &[("upgrade", "websocket"), ("upgrade", "websocket")],
                Upgrade,
                426,
            ),
            (&[("upgrade", "websocket/13")], Upgrade, 426),
            (&[("connection", "")], Upgrade, 426),
            (&[("connection", "keep-alive")], Upgrade, 426),
            (&[("connection", "upgraded")], Upgrade, 426),
            (&[("host", "")], Host, 400),
            (&[("host", "a"), ("host", "a")], Host, 400),
            (&[("content-length", "1")], Body, 400),
            (
                &[("content-length", "0"), ("content-length", "5")],
                Body,
                400,
            ),
            (&[("transfer-encoding", "chunked")], Body, 400),
            (&[("sec-websocket-version", "")], Version, 426),
            (&[("sec-websocket-version", "12")], Version, 426),
            (&[("sec-websocket-version", "013")], Version, 426),
            (&[("sec-websocket-version", "13, 8")], Version, 426),
            (
                &[
                    ("sec-websocket-version", "13"),
                    ("sec-websocket-version", "13"),
                ],
                Version,
                426,
            ),
            (&[("sec-websocket-key", "")], KeyMissing, 400),
            (&[("sec-websocket-key", "c2hvcnQ=")], KeyMalformed, 400),
            (
                &[("sec-websocket-key", KEY), ("sec-websocket-key", KEY)],
                KeyRepeated,
                400,
            ),
            (&[("sec-websocket-protocol", "a b")], Protocols, 400),
            (&[("sec-websocket-protocol", "a, a")], Protocols, 400),
            (&[("sec-websocket-extensions", "a; =")], Extensions, 400),
        ];
        for (changes, error, status) in cases {
            assert_eq!(refusal(changes), Some(*error), "{changes:?}");
            assert_eq!(error.status().as_u16(), *status);
        }
        let good = request(&[]);
        for version in [http::Version::HTTP_10, http::Version::HTTP_2] {
            let refused = decide(&http::Method::GET, version, &good);
            assert_eq!(refused.unwrap_err(), Upgrade);
        }
        let refused = decide(&http::Method::POST, http::Version::HTTP_11, &good);
        assert_eq!(refused.unwrap_err(), Method);
    }

    #[test]
    fn a_refusal_says_what_would_be_right() {
        let all = |error: RequestError| {
            let headers = error.headers();
            let mut all: Vec<_> = headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
                .collect();
            all.sort_unstable();
            all
        };
        let upgrade = [
            "connection: Upgrade",
            "sec-websocket-version: 13",
            "upgrade: websocket",
        ];
        assert_eq!(all(RequestError::Version), upgrade);
        assert_eq!(all(RequestError::Upgrade), upgrade);
        assert_eq!(RequestError::Method.status(), 405);
        assert_eq!(all(RequestError::Method), ["allow: GET"]);
        assert_eq!(all(RequestError::KeyRepeated), ["connection: close"]);
    }
}
