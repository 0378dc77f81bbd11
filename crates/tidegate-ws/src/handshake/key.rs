//! The key of a handshake and what answers it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest as _, Sha1};

use super::{RequestError, ResponseError};

const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::lines;

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
}
