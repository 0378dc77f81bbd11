//! The opening handshake (RFC 6455 section 4) as pure functions, for both of its ends.
//!
//! [`server::decide`] judges a request and says what is agreed to, or with which status it is
//! refused; [`client::Offer`] makes the fields of a request and judges what comes back. Both read
//! header fields through [`Fields`], so that any header map will do; what single fields mean is
//! also there on its own ([`Key`], [`offered_protocols`], [`extensions`]), for what stands between
//! the two ends.

pub mod client;
mod extension;
mod key;
mod protocol;
pub mod server;

use http::HeaderMap;

pub use client::ResponseError;
pub use extension::{Extension, MalformedExtensions, extensions};
pub use key::Key;
pub use protocol::{choose_protocol, chosen_protocol, offered_protocols};
pub use server::{RequestError, check_version};

/// Header fields, however they are kept.
pub trait Fields {
    /// The values of all lines named `name` (in lower case), in order.
    fn lines<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]>;
}

impl Fields for HeaderMap {
    fn lines<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
        self.get_all(name).iter().map(http::HeaderValue::as_bytes)
    }
}

/// Whether `Upgrade` is `websocket` and nothing besides, in any case and over all its lines.
#[must_use]
pub fn upgrades_to_websocket(fields: &impl Fields) -> bool {
    let mut protocols = list(fields, "upgrade");
    protocols
        .next()
        .is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

/// Whether `Connection` names `upgrade`, in any case and on any of its lines.
#[must_use]
pub fn connection_upgrades(fields: &impl Fields) -> bool {
    list(fields, "connection").any(|option| option.eq_ignore_ascii_case(b"upgrade"))
}

/// The elements of a list of tokens, over all lines; empty ones are skipped (RFC 9110 section 5.6.1).
fn list<'a>(fields: &'a impl Fields, name: &'static str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .lines(name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|element| !element.is_empty())
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

/// The lines of one field, for tests.
#[cfg(test)]
fn lines<'a>(values: &'a [&'a str]) -> impl Iterator<Item = &'a [u8]> {
    values.iter().map(|value| value.as_bytes())
}
