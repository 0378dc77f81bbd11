//! Requests, written line by line, so that a case can get every line wrong.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

/// The key that [`Request::handshake`] sends.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A request to be.
#[derive(Debug, Clone)]
pub struct Request {
    start: String,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    /// `method target HTTP/1.1` with `Host: test.example`.
    #[must_use]
    pub fn new(method: &str, target: &str) -> Self {
        Self {
            start: format!("{method} {target} HTTP/1.1"),
            fields: vec![("Host".to_owned(), "test.example".to_owned())],
            body: Vec::new(),
        }
    }

    /// A GET.
    #[must_use]
    pub fn get(target: &str) -> Self {
        Self::new("GET", target)
    }

    /// A WebSocket handshake that is right in every line.
    #[must_use]
    pub fn handshake(target: &str) -> Self {
        Self::get(target)
            .with("Upgrade", "websocket")
            .with("Connection", "Upgrade")
            .with("Sec-WebSocket-Key", KEY)
            .with("Sec-WebSocket-Version", "13")
    }

    /// The same request with one more line at the end.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same request without the lines named `name`.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.fields
            .retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// The same request where `name` has one line, with `value`, in its old place.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Self {
        let place = self
            .fields
            .iter_mut()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        match place {
            Some(field) => field.1 = value.to_owned(),
            None => return self.with(name, value),
        }
        self
    }

    /// The same request with another `Host`.
    #[must_use]
    pub fn host(self, host: &str) -> Self {
        self.set("Host", host)
    }

    /// The same request with another protocol version, `HTTP/1.0` say.
    #[must_use]
    pub fn version(mut self, version: &str) -> Self {
        let end = self.start.rfind(' ').map_or(0, |at| at + 1);
        self.start.replace_range(end.., version);
        self
    }

    /// The same request with a body, framed by its length.
    #[must_use]
    pub fn body(self, body: impl AsRef<[u8]>) -> Self {
        let length = body.as_ref().len().to_string();
        self.with("Content-Length", &length).then(body)
    }

    /// The same request with a body in these chunks (RFC 9112 section 7.1).
    #[must_use]
    pub fn chunks(self, chunks: &[&str]) -> Self {
        let mut body = String::new();
        for chunk in chunks {
            body.push_str(&format!("{:x}\r\n{chunk}\r\n", chunk.len()));
        }
        self.with("Transfer-Encoding", "chunked")
            .then(body + "0\r\n\r\n")
    }

    /// The same request with these bytes behind it, framed by nothing.
    #[must_use]
    pub fn then(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.body.extend_from_slice(bytes.as_ref());
        self
    }

    /// The request line.
    #[must_use]
    pub fn start(&self) -> &str {
        &self.start
    }

    /// The bytes on the wire. Characters up to 255 stand for the byte of the same number.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut head = self.start.clone() + "\r\n";
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut bytes: Vec<u8> = head.chars().map(|letter| letter as u8).collect();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// The `Sec-WebSocket-Accept` that answers `key` (RFC 6455 section 4.2.2).
#[must_use]
pub fn accept_for(key: &str) -> String {
    let mut digest = Sha1::new();
    digest.update(key);
    digest.update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_as_in_the_rfc() {
        assert_eq!(accept_for(KEY), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn writes_lines_in_order() {
        let request = Request::get("/a")
            .host("x")
            .with("B", "1")
            .version("HTTP/1.0")
            .body("hi");
        let expected = "GET /a HTTP/1.0\r\nHost: x\r\nB: 1\r\nContent-Length: 2\r\n\r\nhi";
        assert_eq!(request.bytes(), expected.as_bytes());
    }
}
