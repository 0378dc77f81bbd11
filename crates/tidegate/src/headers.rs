//! Header fields as they stand on the wire: in order, repeated ones apart, names in their case.
//!
//! `http::HeaderMap` lower-cases names and forgets the order between them. A gateway forwards what
//! it was given, so it keeps a plain list and compares names without case. A request has
//! about twenty fields, where a list also beats a hash.

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use tidegate_ws::handshake::{self, Fields};

/// A field name: a token (RFC 9110 section 5.6.2) in the case in which it was written.
#[derive(Clone, Eq)]
pub struct FieldName(Bytes);

/// The bytes are not a token, so they cannot name a header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a header name is made of letters, digits and !#$%&'*+-.^_`|~ alone")]
pub struct InvalidFieldName;

impl FieldName {
    /// Parses a name. Errors when `name` is empty or is not a token.
    pub fn parse(name: impl Into<Bytes>) -> Result<Self, InvalidFieldName> {
        let name = name.into();
        if !name.is_empty() && name.iter().copied().all(is_token_byte) {
            Ok(Self(name))
        } else {
            Err(InvalidFieldName)
        }
    }

    /// A name that is known when the program is compiled.
    ///
    /// # Panics
    /// When `name` is not a token, which a constant shows on its first use.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty(), "a header name cannot be empty");
        let mut at = 0;
        while at < bytes.len() {
            assert!(is_token_byte(bytes[at]), "a header name is a token");
            at += 1;
        }
        Self(Bytes::from_static(bytes))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // A token is ASCII, and nothing else is let in.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Whether this is `name`, whatever the case.
    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl PartialEq for FieldName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// RFC 9110 section 5.6.2, `tchar`.
#[must_use]
pub const fn is_token_byte(byte: u8) -> bool {
    matches!(byte,
        b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z')
}

/// One field line.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    /// Its name.
    pub name: FieldName,
    /// Its value, without the white space around it.
    pub value: HeaderValue,
}

/// The field lines of one message head (or of its trailers), in wire order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headers {
    fields: Vec<Field>,
}

impl Headers {
    /// No fields.
    #[must_use]
    pub const fn new() -> Self {
        Self { fields: Vec::new() }
    }

    /// No fields, with room for `capacity` of them.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            fields: Vec::with_capacity(capacity),
        }
    }

    /// The same lines, with room for `more` of them.
    pub(crate) fn clone_with_room(&self, more: usize) -> Self {
        let mut fields = Vec::with_capacity(self.fields.len() + more);
        fields.extend_from_slice(&self.fields);
        Self { fields }
    }

    /// Gives back the room for more lines.
    pub(crate) fn shrink(&mut self) {
        self.fields.shrink_to_fit();
    }

    /// These lines, for tests.
    #[cfg(test)]
    pub(crate) fn of(lines: &[(&'static str, &'static str)]) -> Self {
        let mut headers = Self::new();
        for (name, value) in lines {
            headers.append(
                FieldName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        headers
    }

    /// How many field lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there is no field line.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// All field lines in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Field> + '_ {
        self.fields.iter()
    }

    /// The value of the first line named `name`, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&HeaderValue> {
        self.fields
            .iter()
            .find(|field| field.name.is(name))
            .map(|field| &field.value)
    }

    /// The values of all lines named `name`, in order.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a HeaderValue> + 'a {
        self.fields
            .iter()
            .filter(move |field| field.name.is(name))
            .map(|field| &field.value)
    }

    /// Whether a line is named `name`.
    #[must_use]
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The elements of a comma-separated field, over all its lines, trimmed; empty ones left out
    /// (RFC 9110 section 5.6.1). Quoted strings are not understood: use it for lists of tokens.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> + 'a {
        self.get_all(name)
            .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
            .map(<[u8]>::trim_ascii)
            .filter(|element| !element.is_empty())
    }

    /// Whether the list `name` holds `token`, in any case.
    #[must_use]
    pub fn list_has(&self, name: &str, token: &str) -> bool {
        self.list(name)
            .any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether they ask for a WebSocket: `Connection: upgrade`, and `Upgrade: websocket` alone. Anything
    /// less, or another protocol beside it, is a plain request (RFC 9110 section 7.8: a server may
    /// ignore `Upgrade`).
    #[must_use]
    pub fn ask_for_websocket(&self) -> bool {
        handshake::connection_upgrades(self) && handshake::upgrades_to_websocket(self)
    }

    /// Adds a line behind all others.
    pub fn append(&mut self, name: FieldName, value: HeaderValue) {
        self.fields.push(Field { name, value });
    }

    /// Makes `value` the only line named `name`: at the place of the first such line, or at the end.
    pub fn set(&mut self, name: FieldName, value: HeaderValue) {
        let Some(first) = self.fields.iter().position(|field| field.name == name) else {
            return self.append(name, value);
        };
        let mut at = 0;
        self.fields.retain(|field| {
            at += 1;
            at - 1 == first || field.name != name
        });
        self.fields[first] = Field { name, value };
    }

    /// Removes all lines named `name`; says whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.fields.len();
        self.fields.retain(|field| !field.name.is(name));
        self.fields.len() != before
    }

    /// Removes what its sender meant for this connection alone: the lines that `Connection` names,
    /// but for those that protect somebody, and `Connection` itself. Once, and before the gateway adds
    /// lines of its own, which nobody else can name away.
    pub(crate) fn remove_named(&mut self) {
        let named: Vec<Vec<u8>> = self
            .list("connection")
            .filter(|name| std::str::from_utf8(name).is_ok_and(|name| !stays_though_named(name)))
            .map(<[u8]>::to_vec)
            .collect();
        self.retain(|field| {
            let name = field.name.as_str().as_bytes();
            !field.name.is("connection")
                && !named.iter().any(|named| name.eq_ignore_ascii_case(named))
        });
    }

    /// Keeps the lines for which `keep` holds.
    pub fn retain(&mut self, keep: impl FnMut(&Field) -> bool) {
        self.fields.retain(keep);
    }

    /// Adds all lines of `other` behind ours.
    pub fn extend(&mut self, other: Self) {
        self.fields.extend(other.fields);
    }
}

impl Fields for Headers {
    fn lines<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).map(HeaderValue::as_bytes)
    }
}

/// Fields that `Connection` may name and that stay all the same: somebody relies on them for
/// protection, or (`TE`, `Trailer`) the proxy itself makes them anew.
pub(crate) fn stays_though_named(name: &str) -> bool {
    const EXACT: [&str; 13] = [
        "authorization",
        "content-length",
        "content-type",
        "cookie",
        "forwarded",
        "host",
        "origin",
        "set-cookie",
        "te",
        "trailer",
        "www-authenticate",
        "x-real-ip",
        "x-request-id",
    ];
    const PREFIXES: [&str; 2] = ["sec-websocket-", "x-forwarded-"];
    EXACT.iter().any(|exact| name.eq_ignore_ascii_case(exact))
        || PREFIXES.iter().any(|prefix| {
            name.get(..prefix.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_compare_without_case_and_keep_theirs() {
        let headers = Headers::of(&[("X-Trace-ID", "1")]);
        assert_eq!(headers.get("x-trace-id").unwrap(), "1");
        assert_eq!(headers.iter().next().unwrap().name.as_str(), "X-Trace-ID");
    }

    #[test]
    fn set_replaces_every_line_at_the_place_of_the_first() {
        let mut headers = Headers::of(&[("A", "1"), ("B", "2"), ("a", "3"), ("C", "4")]);
        headers.set(FieldName::from_static("a"), HeaderValue::from_static("9"));
        let lines: Vec<_> = headers
            .iter()
            .map(|field| (field.name.as_str(), field.value.to_str().unwrap()))
            .collect();
        assert_eq!(lines, [("a", "9"), ("B", "2"), ("C", "4")]);
    }

    #[test]
    fn a_list_runs_over_all_lines_and_skips_empty_elements() {
        let headers = Headers::of(&[
            ("Connection", "keep-alive, ,Upgrade"),
            ("connection", " x "),
        ]);
        let tokens: Vec<_> = headers.list("connection").collect();
        assert_eq!(tokens, [&b"keep-alive"[..], b"Upgrade", b"x"]);
        assert!(headers.list_has("Connection", "upgrade"));
    }

    #[test]
    fn a_name_is_a_token() {
        assert!(FieldName::parse("").is_err());
        assert!(FieldName::parse("a b").is_err());
        assert!(FieldName::parse("a:").is_err());
        assert!(FieldName::parse("X_y-1").is_ok());
    }
}
