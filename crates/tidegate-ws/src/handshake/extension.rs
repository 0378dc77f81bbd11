//! Extensions as they stand in a handshake (RFC 6455 section 9.1).

use std::borrow::Cow;

use super::token;

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
        let text = trim(element);
        // A quoted value is a token too (RFC 6455 section 9.1), so no comma and no semicolon can
        // hide inside quotes, and a plain split is exact.
        let mut parts = text.split(';').map(trim);
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
            .map(trim)
            .filter(|element| !element.is_empty())
        {
            extensions.push(Extension::parse(element).ok_or(MalformedExtensions)?);
        }
    }
    Ok(extensions)
}

/// Without the white space of HTTP (RFC 9110 section 5.6.3), which has no line feed and no form feed.
fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// A parameter with its value, unquoted.
fn parameter(text: &str) -> Option<(&str, Option<Cow<'_, str>>)> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(trim(value))?)),
        None => (text, None),
    };
    Some((token(trim(name).as_bytes())?, value))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::lines;

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
        for bad in [
            "a;",
            "a; =1",
            "a; b=",
            "a; b=\"c d\"",
            "a; b=\"c,d\"",
            ";",
            "a;\nb",
            "\x0ca",
            "a; b\r=1",
        ] {
            assert_eq!(extensions(lines(&[bad])), Err(MalformedExtensions), "{bad}");
        }
    }
}
