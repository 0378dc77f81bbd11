//! A message head as it stood on the wire.

use std::fmt;

/// The head of a request or an answer: its exact bytes, and their strict reading.
#[derive(Clone, PartialEq, Eq)]
pub struct Head {
    /// Every byte, the empty line included.
    pub raw: Vec<u8>,
    /// The request or status line.
    pub start: String,
    /// The field lines in order: names in their case, values without white space around them.
    /// Bytes above 127 stand as the character of the same number.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// Reads `raw`, which ends with an empty line.
    ///
    /// # Panics
    /// When the bytes are not what RFC 9112 lets a sender send: a bare LF or CR, a line without
    /// a colon, white space before the colon, a folded line.
    #[must_use]
    pub fn parse(raw: Vec<u8>) -> Self {
        let text: String = raw.iter().copied().map(char::from).collect();
        let body = text
            .strip_suffix("\r\n\r\n")
            .unwrap_or_else(|| panic!("a head ends with an empty line: {text:?}"));
        let mut lines = body.split("\r\n");
        let start = lines.next().unwrap_or_default().to_owned();
        let fields = lines.map(|line| field(line, &text)).collect();
        assert!(
            !body.replace("\r\n", "").contains(['\r', '\n', '\0']),
            "stray CR, LF or NUL in {text:?}"
        );
        Self { raw, start, fields }
    }

    /// The status code of an answer.
    ///
    /// # Panics
    /// When this is not the head of an HTTP/1.1 answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.start
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok())
            .unwrap_or_else(|| panic!("not a status line: {:?}", self.start))
    }

    /// The reason phrase of an answer.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.start.splitn(3, ' ').nth(2).unwrap_or_default()
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or_default()
    }

    /// The target of a request, byte for byte.
    #[must_use]
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// The value of the only line named `name`; `None` without one.
    ///
    /// # Panics
    /// When there are several.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.fields(name);
        assert!(all.len() < 2, "{name} stands more than once in {self:?}");
        all.first().copied()
    }

    /// The values of all lines named `name`, in order.
    #[must_use]
    pub fn fields(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// Whether a line named `name` is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        !self.fields(name).is_empty()
    }

    /// The members of the lists in all lines named `name`, in lower case.
    #[must_use]
    pub fn tokens(&self, name: &str) -> Vec<String> {
        self.fields(name)
            .iter()
            .flat_map(|value| value.split(','))
            .map(|token| token.trim().to_ascii_lowercase())
            .filter(|token| !token.is_empty())
            .collect()
    }

    /// Whether it asks for a WebSocket, or agrees to one.
    #[must_use]
    pub fn is_upgrade(&self) -> bool {
        self.tokens("upgrade") == ["websocket"]
            && self.tokens("connection").contains(&"upgrade".to_owned())
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

fn field(line: &str, text: &str) -> (String, String) {
    let (name, value) = line
        .split_once(':')
        .unwrap_or_else(|| panic!("a field line without a colon in {text:?}"));
    assert!(
        !name.is_empty() && !name.contains([' ', '\t']),
        "a field name with white space in {text:?}"
    );
    let value = value.trim_matches([' ', '\t']);
    (name.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_case_and_bytes() {
        let head =
            Head::parse(b"GET /a?b HTTP/1.1\r\nHost: x\r\nX-A:1\r\nx-a: \xff \r\n\r\n".into());
        assert_eq!((head.method(), head.target()), ("GET", "/a?b"));
        assert_eq!(head.fields("X-a"), ["1", "\u{ff}"]);
        assert_eq!(head.fields[2].0, "x-a");
    }
}
