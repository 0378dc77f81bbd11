//! Sets of JSON Web Keys (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::algorithm::KeyKind;
use super::{Algorithm, Key, MOST_KEYS};

/// The longest `kid`.
const LONGEST_ID: usize = 256;
/// The most bytes of an RSA modulus, those of 8192 bits and a sign.
const LONGEST_NUMBER: usize = 1025;

/// Why a text is no JWK set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwksError {
    /// It is no JSON object with a list of `keys`.
    #[error("it is no JWK set: a JSON object with a list `keys`")]
    Malformed,
    /// There is no key in it that could be used.
    #[error("no key in it is for an algorithm that is allowed")]
    NoKey,
}

/// The keys that can be used.
pub(super) fn parse(json: &[u8], allowed: &[Algorithm]) -> Result<Vec<Key>, JwksError> {
    let set: Value = serde_json::from_slice(json).map_err(|_malformed| JwksError::Malformed)?;
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or(JwksError::Malformed)?.iter();
    let objects = keys.filter_map(Value::as_object);
    let keys: Vec<_> = objects
        .filter_map(|jwk| key(jwk, allowed))
        .take(MOST_KEYS)
        .collect();
    if keys.is_empty() {
        return Err(JwksError::NoKey);
    }
    Ok(keys)
}

/// `None`: it is not for us, or nothing that can be used.
fn key(jwk: &Map<String, Value>, allowed: &[Algorithm]) -> Option<Key> {
    let text = |name: &str| jwk.get(name).map(Value::as_str);
    if !matches!(text("use"), None | Some(Some("sig"))) || !may_verify(jwk) {
        return None;
    }
    // The key's own word on its algorithm counts besides ours.
    let own;
    let allowed = match text("alg") {
        None => allowed,
        Some(name) => {
            own = [Algorithm::of_name(name?)?];
            own.iter().find(|own| allowed.contains(own))?;
            own.as_slice()
        }
    };
    let (kind, bytes) = match (text("kty")??, text("crv").flatten()) {
        ("RSA", _) => (KeyKind::Rsa, rsa(jwk)?),
        ("EC", Some("P-256")) => (KeyKind::P256, point(jwk, 32)?),
        ("EC", Some("P-384")) => (KeyKind::P384, point(jwk, 48)?),
        ("EC", Some("P-521")) => (KeyKind::P521, point(jwk, 66)?),
        ("OKP", Some("Ed25519")) => (KeyKind::Ed25519, member(jwk, "x")?),
        // A secret in a set that anybody can fetch is none.
        _ => return None,
    };
    let key = Key::public(kind, &bytes, allowed).ok()?;
    match jwk.get("kid") {
        None => Some(key),
        Some(Value::String(id)) if id.len() <= LONGEST_ID => Some(key.named(id)),
        Some(_) => None,
    }
}

fn may_verify(jwk: &Map<String, Value>) -> bool {
    match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(uses)) => uses.iter().any(|one| one == "verify"),
        Some(_) => false,
    }
}

fn member(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    let text = jwk.get(name)?.as_str()?;
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

/// A point that is not compressed (SEC 1 section 2.3.3).
fn point(jwk: &Map<String, Value>, length: usize) -> Option<Vec<u8>> {
    let (x, y) = (member(jwk, "x")?, member(jwk, "y")?);
    if x.len() != length || y.len() != length {
        return None;
    }
    Some([&[4], x.as_slice(), y.as_slice()].concat())
}

/// An `RSAPublicKey` (RFC 8017 appendix A.1.1).
fn rsa(jwk: &Map<String, Value>) -> Option<Vec<u8>> {
    let numbers = [integer(&member(jwk, "n")?)?, integer(&member(jwk, "e")?)?];
    element(0x30, &numbers.concat())
}

fn integer(bytes: &[u8]) -> Option<Vec<u8>> {
    let leading = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[leading..];
    if bytes.is_empty() || bytes.len() > LONGEST_NUMBER {
        return None;
    }
    // A first bit that is set would make it negative.
    let sign: &[u8] = if bytes[0] & 0x80 == 0 { &[] } else { &[0] };
    element(0x02, &[sign, bytes].concat())
}

fn element(tag: u8, value: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(value.len()).ok()?.to_be_bytes();
    let head: &[u8] = match length {
        [0, short @ 0..=0x7f] => &[tag, short],
        [0, length] => &[tag, 0x81, length],
        [high, low] => &[tag, 0x82, high, low],
    };
    Some([head, value].concat())
}
