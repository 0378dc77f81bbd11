//! The opening handshake (RFC 6455 section 4) as pure functions over header values.
//!
//! Values come as an iterator over the lines of one field, so that any header map will do.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// What is wrong with the client's side of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// `Sec-WebSocket-Extensions` does not follow its grammar.
    #[error("Sec-WebSocket-Extensions cannot be parsed")]
    Extensions,
    /// No `Sec-WebSocket-Key`.
    #[error("Sec-WebSocket-Key is missing")]
    KeyMissing,
    /// More than one `Sec-WebSocket-Key`.
    #[error("Sec-WebSocket-Key stands more than once")]
    KeyRepeated,
    /// The key is not 16 bytes in base64.
    #[error("Sec-WebSocket-Key is not 16 bytes of base64")]
    KeyMalformed,
    /// `Sec-WebSocket-Protocol` is not a list of distinct tokens.
    #[error("Sec-WebSocket-Protocol is not a list of distinct tokens")]
    Protocols,
    /// `Sec-WebSocket-Version` is missing, repeated or not 13.
    #[error("Sec-WebSocket-Version is not 13")]
    Version,
}

/// What is wrong with the server's side of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
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
}

/// A `Sec-WebSocket-Key` that follows its grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 24]);

impl Key {
    /// The key of these 16 random bytes.
    #[must_use]
    pub fn new(random: [u8; 16]) -> Self {
        let mut key = [0; 24];
        // 16 bytes are always 24 characters.
        let _ = STANDARD.encode_slice(random, &mut key);
        Self(key)
    }

    /// The one key of a request (RFC 6455 section 4.2.1 point 5).
    pub fn of_request<'a>(
        mut values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, RequestError> {
        let value = values.next().ok_or(RequestError::KeyMissing)?;
        if values.next().is_some() {
            return Err(RequestError::KeyRepeated);
        }
        let key: [u8; 24] = value
            .try_into()
            .map_err(|_length| RequestError::KeyMalformed)?;
        // Decoded with canonical padding: `==` and no stray bits.
        match STANDARD.decode(key) {
            Ok(bytes) if bytes.len() == 16 => Ok(Self(key)),
            _ => Err(RequestError::KeyMalformed),
        }
    }

    /// Its text.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 24] {
        &self.0
    }

    /// The `Sec-WebSocket-Accept` that answers it (RFC 6455 section 4.2.2 point 5.4).
    #[must_use]
    pub fn accept(&self) -> [u8; 28] {
        let digest = Sha1::new()
            .chain_update(self.0)
            .chain_update(GUID)
            .finalize();
        let mut accept = [0; 28];
        // 20 bytes are always 28 characters.
        let _ = STANDARD.encode_slice(digest, &mut accept);
        accept
    }

    /// Whether the lines of `Sec-WebSocket-Accept` are the one answer to this key.
    pub fn check_accept<'a>(
        &self,
        mut values: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), ResponseError> {
        match (values.next(), values.next()) {
            (Some(value), None) if value == self.accept() => Ok(()),
            _ => Err(ResponseError::Accept),
        }
    }
}

/// Checks that the version is 13, once (RFC 6455 section 4.2.1 point 6).
pub fn check_version<'a>(mut values: impl Iterator<Item = &'a [u8]>) -> Result<(), RequestError> {
    match (values.next(), values.next()) {
        (Some(b"13"), None) => Ok(()),
        _ => Err(RequestError::Version),
    }
}

/// The subprotocols that a client offers, over all lines of `Sec-WebSocket-Protocol`.
///
/// # Errors
/// When an element is no token, or stands twice (RFC 6455 section 4.1 point 10).
pub fn offered_protocols<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<&'a str>, RequestError> {
    let mut offered = Vec::new();
    for element in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let element = element.trim_ascii();
        if element.is_empty() {
            continue; // RFC 9110 section 5.6.1: empty elements are skipped
        }
        let protocol = token(element).ok_or(RequestError::Protocols)?;
        if offered.contains(&protocol) {
            return Err(RequestError::Protocols);
        }
        offered.push(protocol);
    }
    Ok(offered)
}

/// The subprotocol that a server chose, which must be one of those offered (RFC 6455 section 4.1,
/// last list, point 6).
pub fn chosen_protocol<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
    offered: &[&str],
) -> Result<Option<&'a str>, ResponseError> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let chosen = std::str::from_utf8(value).map_err(|_not_text| ResponseError::Protocol)?;
    if values.next().is_some() || !offered.contains(&chosen) {
        return Err(ResponseError::Protocol);
    }
    Ok(Some(chosen))
}

/// One element of `Sec-WebSocket-Extensions`: a name with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name, a token.
    pub name: &'a str,
    /// The whole element as it was written, trimmed.
    pub text: &'a str,
}

impl<'a> Extension<'a> {
    /// Parses one element. Each parameter must be a token with an optional value that is a token or a
    /// quoted token.
    #[must_use]
    pub fn parse(element: &'a str) -> Option<Self> {
        let text = element.trim_ascii();
        // A quoted value is a token too (RFC 6455 section 9.1), so no comma and no semicolon can
        // hide inside quotes, and a plain split is exact.
        let mut parts = text.split(';').map(str::trim_ascii);
        let name = parts.next().and_then(|name| token(name.as_bytes()))?;
        parts
            .all(|part| parameter(part).is_some())
            .then_some(Self { name, text })
    }

    /// Its parameters in their order: names as they are written, values without quotes.
    pub fn parameters(&self) -> impl Iterator<Item = (&'a str, Option<Cow<'a, str>>)> + use<'a> {
        self.text.split(';').skip(1).filter_map(parameter)
    }

    /// Whether this is permessage-deflate (RFC 7692).
    #[must_use]
    pub fn is_deflate(&self) -> bool {
        self.name.eq_ignore_ascii_case("permessage-deflate")
    }
}

/// A value of `Sec-WebSocket-Extensions` that does not follow its grammar (RFC 6455 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedExtensions;

/// Parses the elements of `Sec-WebSocket-Extensions` over all its lines, see [`Extension::parse`].
pub fn extensions<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Extension<'a>>, MalformedExtensions> {
    let mut extensions = Vec::new();
    for value in values {
        let value = std::str::from_utf8(value).map_err(|_not_text| MalformedExtensions)?;
        for element in value
            .split(',')
            .map(str::trim_ascii)
            .filter(|element| !element.is_empty())
        {
            extensions.push(Extension::parse(element).ok_or(MalformedExtensions)?);
        }
    }
    Ok(extensions)
}

/// A parameter with its value, unquoted.
fn parameter(text: &str) -> Option<(&str, Option<Cow<'_, str>>)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value.trim_ascii())?)),
        None => (text, None),
    };
    Some((token(name.trim_ascii().as_bytes())?, value))
}

/// A token, or what is one when its quotes and backslashes are gone (RFC 6455 section 9.1).
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else {
        return token(value.as_bytes()).map(Cow::Borrowed);
    };
    let quoted = quoted.strip_suffix('"')?;
    if !quoted.contains('\\') {
        return token(quoted.as_bytes()).map(Cow::Borrowed);
    }
    let mut plain = String::with_capacity(quoted.len());
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        plain.push(match character {
            '\\' => characters.next()?,
            other => other,
        });
    }
    token(plain.as_bytes())?;
    Some(Cow::Owned(plain))
}

/// The bytes as a token (RFC 9110 section 5.6.2).
fn token(bytes: &[u8]) -> Option<&str> {
    let is_token_byte =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    if bytes.is_empty() || !bytes.iter().all(is_token_byte) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'a>(values: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
        values.iter().map(|value| value.as_bytes())
    }

    #[test]
    fn the_example_of_the_rfc() {
        let key = Key::of_request(lines(&["dGhlIHNhbXBsZSBub25jZQ=="])).unwrap();
        assert_eq!(&key.accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(
            key.check_accept(lines(&["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="])),
            Ok(())
        );
        assert_eq!(key.check_accept(lines(&[])), Err(ResponseError::Accept));
        assert_eq!(
            key.check_accept(lines(&["s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "x"])),
            Err(ResponseError::Accept)
        );
    }

    #[test]
    fn keys() {
        assert_eq!(Key::of_request(lines(&[])), Err(RequestError::KeyMissing));
        for bad in [
            "",
            "short",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZTEyMw==",
        ] {
            assert_eq!(
                Key::of_request(lines(&[bad])),
                Err(RequestError::KeyMalformed),
                "{bad}"
            );
        }
        let twice = ["dGhlIHNhbXBsZSBub25jZQ=="; 2];
        assert_eq!(
            Key::of_request(lines(&twice)),
            Err(RequestError::KeyRepeated)
        );
        assert_eq!(
            Key::new(*b"the sample nonce").as_bytes(),
            b"dGhlIHNhbXBsZSBub25jZQ=="
        );
    }

    #[test]
    fn protocols_are_read_over_all_lines_and_trimmed() {
        assert_eq!(
            offered_protocols(lines(&[" p1,p2", "p3 , p4 "])).unwrap(),
            ["p1", "p2", "p3", "p4"]
        );
        assert_eq!(
            offered_protocols(lines(&["a, a"])),
            Err(RequestError::Protocols)
        );
        assert_eq!(
            offered_protocols(lines(&["a b"])),
            Err(RequestError::Protocols)
        );
        assert_eq!(chosen_protocol(lines(&["b"]), &["a", "b"]), Ok(Some("b")));
        assert_eq!(
            chosen_protocol(lines(&["c"]), &["a", "b"]),
            Err(ResponseError::Protocol)
        );
        assert_eq!(
            chosen_protocol(lines(&["a, b"]), &["a", "b"]),
            Err(ResponseError::Protocol)
        );
        assert_eq!(chosen_protocol(lines(&[]), &["a"]), Ok(None));
    }

    #[test]
    fn extensions_follow_their_grammar() {
        let offer =
            ["permessage-deflate; client_max_window_bits; server_max_window_bits=\"10\", x-foo"];
        let parsed = extensions(lines(&offer)).unwrap();
        assert!(parsed[0].is_deflate());
        assert_eq!(
            parsed[1],
            Extension {
                name: "x-foo",
                text: "x-foo"
            }
        );
        for bad in ["a;", "a; =1", "a; b=", "a; b=\"c d\"", "a; b=\"c,d\"", ";"] {
            assert_eq!(extensions(lines(&[bad])), Err(MalformedExtensions), "{bad}");
        }
    }
}
