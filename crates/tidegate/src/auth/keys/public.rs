//! Public keys as files and certificates hold them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::pem::{self, SectionKind};

use super::KeyError;
use super::algorithm::KeyKind;
use crate::tls::der::{self, BITS, INTEGER, OID, Reader, SEQUENCE};
use crate::tls::public_key_of;

const RSA_BEGIN: &str = "-----BEGIN RSA PUBLIC KEY-----";
const RSA: &str = "1.2.840.113549.1.1.1";
const RSA_PSS: &str = "1.2.840.113549.1.1.10";
const ED25519: &str = "1.3.101.112";
const ELLIPTIC: &str = "1.2.840.10045.2.1";
const CURVES: [(&str, KeyKind); 3] = [
    ("1.2.840.10045.3.1.7", KeyKind::P256),
    ("1.3.132.0.34", KeyKind::P384),
    ("1.3.132.0.35", KeyKind::P521),
];

/// A key and its bytes as a verifier wants them.
pub(super) type Bytes = (KeyKind, Vec<u8>);

/// The first key of a PEM text.
pub(super) fn of_pem(text: &str) -> Result<Bytes, KeyError> {
    const WHAT: KeyError = KeyError::Malformed("PEM with a public key or a certificate in it");
    // Of RFC 8017, which the reader of PEM does not know.
    if let Some((_, body)) = text.split_once(RSA_BEGIN) {
        let body = body.split("-----").next().unwrap_or_default();
        let bare: String = body.split_ascii_whitespace().collect();
        let der = BASE64_STANDARD.decode(bare).map_err(|_malformed| WHAT)?;
        return Ok((KeyKind::Rsa, der));
    }
    let mut rest = text.as_bytes();
    while let Some((kind, der)) = pem::from_buf(&mut rest).map_err(|_malformed| WHAT)? {
        match kind {
            SectionKind::PublicKey => return of_info(&der),
            SectionKind::Certificate => return of_info(public_key_of(&der).ok_or(WHAT)?),
            SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey => {
                return Err(KeyError::Private);
            }
            _ => {}
        }
    }
    Err(WHAT)
}

/// The key of a certificate in base64, with or without the lines of PEM around it.
pub(super) fn of_certificate(text: &str) -> Result<Bytes, KeyError> {
    const WHAT: KeyError = KeyError::Malformed("X.509 certificate in base64");
    if text.contains("-----BEGIN") {
        return of_pem(text);
    }
    let bare: String = text.split_ascii_whitespace().collect();
    let der = BASE64_STANDARD.decode(bare).map_err(|_malformed| WHAT)?;
    of_info(public_key_of(&der).ok_or(WHAT)?)
}

/// The key in a `SubjectPublicKeyInfo` (RFC 5280 section 4.1).
fn of_info(der: &[u8]) -> Result<Bytes, KeyError> {
    let (algorithm, parameters, bits) = parts(der).ok_or(KeyError::Malformed("public key"))?;
    let kind = match algorithm.as_str() {
        RSA | RSA_PSS => KeyKind::Rsa,
        ED25519 => KeyKind::Ed25519,
        ELLIPTIC => {
            let named = |(curve, _): &&(&str, KeyKind)| parameters.as_deref() == Some(*curve);
            let curve = CURVES.iter().find(named);
            curve.ok_or(KeyError::Unsupported)?.1
        }
        _ => return Err(KeyError::Unsupported),
    };
    Ok((kind, bits.to_vec()))
}

fn parts(der: &[u8]) -> Option<(String, Option<String>, &[u8])> {
    let mut info = Reader::new(der).expect(SEQUENCE)?.inside();
    let mut algorithm = info.expect(SEQUENCE)?.inside();
    let name = der::dotted(algorithm.expect(OID)?.value)?;
    let curve = algorithm.optional(OID);
    let curve = curve.and_then(|curve| der::dotted(curve.value));
    // The first byte counts the bits that are left over, of which a key has none.
    let (0, bits) = info.expect(BITS)?.value.split_first()? else {
        return None;
    };
    Some((name, curve, bits))
}

/// Whether an `RSAPublicKey` has a size that is safe, and that does not take long.
pub(super) fn check_size(der: &[u8]) -> Result<(), KeyError> {
    let modulus = Reader::new(der).expect(SEQUENCE);
    let modulus = modulus.and_then(|key| key.inside().expect(INTEGER));
    let modulus = modulus.ok_or(KeyError::Malformed("RSA key"))?.value;
    let leading = modulus.iter().take_while(|byte| **byte == 0).count();
    match (modulus.len() - leading) * 8 {
        2048..=8192 => Ok(()),
        _ => Err(KeyError::Short("RSA keys have 2048 to 8192 bits")),
    }
}
