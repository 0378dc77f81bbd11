//! What is said to a bridge: envelopes, and a token to be let in with.

use std::net::SocketAddr;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use tidegate_tests::frame::Frame;
use tidegate_tests::request::KEY;

use super::client::MASK;

/// What `auth` of the gateway's configuration has as its secret.
const SECRET: &[u8] = b"a secret that is for nothing but the bench";
/// Later than any bench.
const END: u64 = 4_102_444_800;
/// Bytes of a token.
const TOKEN: usize = 700;

/// A call with this id.
pub(super) fn call(id: usize) -> Vec<u8> {
    let envelope = format!("{{\"id\":{id},\"baseUrl\":\"upstream\",\"uri\":\"/get\"}}");
    Frame::text(&envelope).masked(MASK).bytes()
}

/// The body of an answer: JSON of so many bytes.
pub(super) fn body(size: usize) -> Vec<u8> {
    format!("{{\"a\":\"{}\"}}", "x".repeat(size.saturating_sub(8))).into_bytes()
}

/// The id and the body of an answer, where it is one.
pub(crate) fn answered(payload: &[u8]) -> Option<(usize, &[u8])> {
    let text = payload.strip_prefix(b"{\"id\":")?;
    let end = text.iter().position(|byte| *byte == b',')?;
    let id = str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    let rest = text[end..].strip_prefix(b",\"status\":200,")?;
    let at = memchr::memmem::find(rest, b",\"body\":")?;
    let body = rest[at + 8..].strip_suffix(b"}")?;
    Some((id, body))
}

/// A handshake of version 1; of the user of that number, where there are users.
pub(crate) fn handshake(host: SocketAddr, user: Option<usize>) -> Vec<u8> {
    let (path, token) = match user {
        Some(user) => (
            "/known",
            format!("Authorization: Bearer {}\r\n", token(user)),
        ),
        None => ("/bridge", String::new()),
    };
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\n\
         Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Protocol: tidegate.v1.json\r\n\
         Accept-Language: de-DE,de;q=0.9,en;q=0.8\r\n{token}\r\n"
    )
    .into_bytes()
}

fn token(user: usize) -> String {
    signed(user, TOKEN)
}

/// A token of that user, of so many bytes.
pub(crate) fn signed(user: usize, size: usize) -> String {
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let header = encode(b"{\"alg\":\"HS256\",\"typ\":\"JWT\"}");
    let signature = 43;
    let payload = (size - header.len() - signature - 2) * 3 / 4;
    let known = format!("{{\"sub\":\"user-{user}\",\"roles\":[\"user\"],\"exp\":{END},\"note\":\"");
    let note = "n".repeat(payload.saturating_sub(known.len() + 2));
    let text = format!(
        "{header}.{}",
        encode(format!("{known}{note}\"}}").as_bytes())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
    format!(
        "{text}.{}",
        encode(hmac::sign(&key, text.as_bytes()).as_ref())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_from_other_frames() {
        let good = b"{\"id\":7,\"status\":200,\"headers\":{},\"body\":{\"a\":\"x\"}}";
        assert_eq!(answered(good), Some((7, &b"{\"a\":\"x\"}"[..])));
        for other in [
            &b"{\"op\":\"welcome\",\"v\":1}"[..],
            b"{\"id\":7,\"status\":502,\"body\":null}",
            b"",
        ] {
            assert_eq!(answered(other), None);
        }
    }

    #[test]
    fn sizes_are_those_that_are_told() {
        assert_eq!(body(1024).len(), 1024);
        for user in [1, 9_999] {
            assert!(token(user).len().abs_diff(TOKEN) <= 2);
        }
    }
}
