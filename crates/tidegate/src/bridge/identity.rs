//! Who a service is told that calls, in header fields that nobody else can sign.

use std::fmt::Write as _;

use aws_lc_rs::hmac;
use http::HeaderValue;

use crate::auth::Principal;
use crate::config::Secret;
use crate::headers::{FieldName, Headers};

/// What the signed text begins with.
const VERSION: &str = "tidegate-identity-1";

/// Signs who calls.
#[derive(Debug)]
pub(super) struct Signer(hmac::Key);

impl Signer {
    pub(super) fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.reveal()))
    }

    /// Says that `principal` calls, in the session of that id and at `time`, in seconds since 1970.
    pub(super) fn tell(
        &self,
        headers: &mut Headers,
        principal: &Principal,
        session: &str,
        time: u64,
    ) {
        let roles: Vec<_> = principal.roles().map(plain).collect();
        let fields = [
            ("X-Tidegate-Time", time.to_string()),
            ("X-Tidegate-User", plain(principal.user())),
            ("X-Tidegate-Roles", roles.join(",")),
            ("X-Tidegate-Session", session.to_owned()),
        ];
        let mut text = VERSION.to_owned();
        for (_, value) in &fields {
            text.push('\n');
            text.push_str(value);
        }
        let mut signature = String::with_capacity(64);
        for byte in hmac::sign(&self.0, text.as_bytes()).as_ref() {
            // Formatting into memory does not fail.
            let _ = write!(signature, "{byte:02x}");
        }
        let signature = ("X-Tidegate-Signature", signature);
        for (name, value) in fields.into_iter().chain([signature]) {
            // Visible letters of ASCII, all of them.
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.set(FieldName::from_static(name), value);
            }
        }
    }
}

/// Percent-encodes what has a meaning in a list, or none in a header field.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' && byte != b',' {
            plain.push(byte.into());
        } else {
            let _ = write!(plain, "%{byte:02X}");
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn names_are_one_word_each() {
        for (name, word) in [
            ("u42", "u42"),
            ("a b", "a%20b"),
            ("a,b%", "a%2Cb%25"),
            ("é", "%C3%A9"),
            ("auth0|x@y.z", "auth0|x@y.z"),
            ("", ""),
        ] {
            assert_eq!(plain(name), word);
        }
    }
}
