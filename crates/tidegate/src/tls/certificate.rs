//! What a certificate says of its holder. It was verified before anybody reads it here.

use std::fmt::Write as _;
use std::net::IpAddr;

use super::der::{self, Element, INTEGER, OCTETS, OID, Reader, SEQUENCE, SET};

const EXPLICIT_VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 0x11];
const BOOLEAN: u8 = 0x01;

/// The short names of RFC 4514 section 3, and that of addresses, which everybody uses.
const SHORT: [(&[u8], &str); 10] = [
    (&[0x55, 4, 3], "CN"),
    (&[0x55, 4, 6], "C"),
    (&[0x55, 4, 7], "L"),
    (&[0x55, 4, 8], "ST"),
    (&[0x55, 4, 9], "STREET"),
    (&[0x55, 4, 10], "O"),
    (&[0x55, 4, 11], "OU"),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1],
        "UID",
    ),
    (
        &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        "DC",
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
        "emailAddress",
    ),
];

/// A client's certificate: who it says the client is. All of its texts are ASCII; what is not, and
/// what could be taken for a separator, is written as a backslash and two hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    subject: Box<str>,
    names: Box<[Box<str>]>,
    der: Box<[u8]>,
}

impl ClientCertificate {
    /// Reads a certificate; `None` where it is none.
    #[must_use]
    pub fn parse(der: &[u8]) -> Option<Self> {
        let parts = Parts::of(der)?;
        Some(Self {
            subject: distinguished_name(parts.subject)?.into(),
            names: parts.alternative_names().map(Into::into).collect(),
            der: der.into(),
        })
    }

    /// Its subject as RFC 4514 writes it, such as `CN=client,O=Example`.
    #[must_use]
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Its subject alternative names with their kind, such as `DNS:a.example`, `IP:10.0.0.1`,
    /// `URI:spiffe://example/a` or `email:a@example.org`.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &**name)
    }

    /// The certificate itself.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }
}

/// The public key of a certificate: its `SubjectPublicKeyInfo` (RFC 5280 section 4.1). `None`: it is no
/// certificate.
pub(crate) fn public_key_of(der: &[u8]) -> Option<&[u8]> {
    Some(Parts::of(der)?.key)
}

/// The parts of a certificate that are looked at.
pub(super) struct Parts<'a> {
    /// The names that it is issued by and for, encoded.
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
    /// Its public key, encoded with its algorithm.
    key: &'a [u8],
    extensions: Option<Element<'a>>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(der: &'a [u8]) -> Option<Self> {
        let certificate = Reader::new(der).expect(SEQUENCE)?;
        let mut signed = certificate.inside().expect(SEQUENCE)?.inside();
        let _version = signed.optional(EXPLICIT_VERSION);
        let _serial = signed.expect(INTEGER)?;
        let _algorithm = signed.expect(SEQUENCE)?;
        let issuer = signed.expect(SEQUENCE)?.value;
        let _validity = signed.expect(SEQUENCE)?;
        let subject = signed.expect(SEQUENCE)?.value;
        let key = signed.expect(SEQUENCE)?.whole;
        let extensions = signed.find(|element| element.tag == EXTENSIONS);
        Some(Self {
            issuer,
            subject,
            key,
            extensions: extensions.and_then(|element| element.inside().expect(SEQUENCE)),
        })
    }

    fn alternative_name_elements(&self) -> impl Iterator<Item = Element<'a>> {
        let extensions = self.extensions.into_iter().flat_map(|all| all.inside());
        let value = |extension: Element<'a>| {
            let mut inside = extension.inside();
            let id = inside.expect(OID)?;
            let _critical = inside.optional(BOOLEAN);
            let value = inside.expect(OCTETS)?;
            (id.value == SUBJECT_ALT_NAME).then_some(value)
        };
        let names = extensions.filter_map(value);
        names
            .filter_map(|octets| octets.inside().expect(SEQUENCE))
            .flat_map(|names| names.inside())
    }

    fn alternative_names(&self) -> impl Iterator<Item = String> {
        self.alternative_name_elements()
            .filter_map(|name| alternative_name(&name))
    }

    /// The host names that it is for, in lower case.
    pub(super) fn dns_names(&self) -> impl Iterator<Item = String> {
        let names = self.alternative_name_elements();
        let names = names.filter(|name| name.tag == 0x82);
        names.filter_map(|name| Some(str::from_utf8(name.value).ok()?.to_ascii_lowercase()))
    }
}

fn alternative_name(name: &Element<'_>) -> Option<String> {
    let text = |kind: &str| {
        let value = str::from_utf8(name.value).ok()?;
        Some(format!("{kind}:{}", escaped(value)))
    };
    match name.tag {
        0x81 => text("email"),
        0x82 => text("DNS"),
        0x86 => text("URI"),
        0x87 => {
            let v4 = <[u8; 4]>::try_from(name.value).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(name.value).map(IpAddr::from));
            Some(format!("IP:{}", address.ok()?))
        }
        _ => None,
    }
}

/// A name as RFC 4514 writes it: the last part first.
fn distinguished_name(name: &[u8]) -> Option<String> {
    let parts: Option<Vec<_>> = Reader::new(name).map(|set| relative_name(&set)).collect();
    let mut parts = parts?;
    parts.reverse();
    Some(parts.join(","))
}

fn relative_name(set: &Element<'_>) -> Option<String> {
    if set.tag != SET {
        return None;
    }
    let attribute = |pair: Element<'_>| {
        let mut inside = pair.inside();
        let (id, value) = (inside.expect(OID)?, inside.next()?);
        let short = SHORT.iter().find(|(known, _)| *known == id.value);
        match (short, text(&value)) {
            (Some((_, short)), Some(text)) => Some(format!("{short}={}", escaped_name(&text))),
            // Of a kind that we do not know, the value is as it is encoded.
            (known, _) => {
                let id = match known {
                    Some((_, short)) => (*short).to_owned(),
                    None => der::dotted(id.value)?,
                };
                let mut encoded = format!("{id}=#");
                for byte in value.whole {
                    // Writing into memory does not fail.
                    let _ = write!(encoded, "{byte:02x}");
                }
                Some(encoded)
            }
        }
    };
    let pairs: Option<Vec<_>> = set.inside().map(attribute).collect();
    Some(pairs?.join("+"))
}

fn text(value: &Element<'_>) -> Option<String> {
    match value.tag {
        // UTF8String, NumericString, PrintableString, IA5String.
        0x0c | 0x12 | 0x13 | 0x16 => str::from_utf8(value.value).ok().map(str::to_owned),
        // TeletexString: what everybody means by it.
        0x14 => Some(value.value.iter().map(|byte| char::from(*byte)).collect()),
        // BMPString.
        0x1e => {
            let (pairs, []) = value.value.as_chunks::<2>() else {
                return None;
            };
            let units: Vec<_> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            String::from_utf16(&units).ok()
        }
        _ => None,
    }
}

/// A value of a distinguished name (RFC 4514 section 2.4), all of it ASCII.
fn escaped_name(text: &str) -> String {
    let last = text.len().saturating_sub(1);
    let mut escaped = String::with_capacity(text.len());
    for (place, byte) in text.bytes().enumerate() {
        let is_edge = place == 0 && matches!(byte, b' ' | b'#') || place == last && byte == b' ';
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => {
                escaped.push('\\');
                escaped.push(char::from(byte));
            }
            b' '..=b'~' if !is_edge => escaped.push(char::from(byte)),
            b' ' | b'#' => {
                escaped.push('\\');
                escaped.push(char::from(byte));
            }
            _ => push_hex(&mut escaped, byte),
        }
    }
    escaped
}

/// A name that stands in a list between commas.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b',' | b'\\' | b'"' => push_hex(&mut escaped, byte),
            b'!'..=b'~' => escaped.push(char::from(byte)),
            _ => push_hex(&mut escaped, byte),
        }
    }
    escaped
}

fn push_hex(into: &mut String, byte: u8) {
    // Writing into memory does not fail.
    let _ = write!(into, "\\{byte:02X}");
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;

    use super::*;

    /// Of `O = "Example, Inc.", CN = client`, with three names.
    const CLIENT: &str = "\
        MIIBxzCCAWygAwIBAgIUF9uXc1UHUiheT1vIQW+Wrd4kLqswCgYIKoZIzj0EAwIwEjEQMA4GA1UE\
        AwwHVGVzdCBDQTAeFw0yNjExMjExNjUwMDNaFw0yNjEyMTExNjUwMDNaMCkxFjAUBgNVBAoMDUV4\
        YW1wbGUsIEluYy4xDzANBgNVBAMMBmNsaWVudDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABLeE\
        mKWRZzZ7orTN96csce/2cdc/uJWv5A0EUaBV9kNirfrgAzNCCbbgiNnxlBZuWI+k0aEqTLGkUe9G\
        mSAO/pSjgYgwgYUwLgYDVR0RBCcwJYIOY2xpZW50LmV4YW1wbGWGDHNwaWZmZTovL3gveYEFYUBi\
        LmMwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0OBBYEFK95QBFkRwXb+5WUyVnrT/Uklbs7MB8G\
        A1UdIwQYMBaAFDAOp5U0QHW+5d8QBCggWm0tOuKpMAoGCCqGSM49BAMCA0kAMEYCIQDPyTVRrxCF\
        7wC96vBrgto4md2XLsK9+KIhr74CjHnPygIhANTG/F3+ap7RU42gC4QSStTwhbfWjLWUdmVh8zho\
        rL1N";

    fn client() -> Vec<u8> {
        BASE64_STANDARD.decode(CLIENT).unwrap()
    }

    #[test]
    fn subjects_and_names_are_told() {
        let certificate = ClientCertificate::parse(&client()).unwrap();
        assert_eq!(certificate.subject(), "CN=client,O=Example\\, Inc.");
        let names: Vec<_> = certificate.names().collect();
        let wanted = ["DNS:client.example", "URI:spiffe://x/y", "email:a@b.c"];
        assert_eq!(names, wanted);
    }

    #[test]
    fn what_could_be_taken_for_something_else_is_escaped() {
        for (text, written) in [
            ("a,b+c", "a\\,b\\+c"),
            (" #a ", "\\ #a\\ "),
            ("#a", "\\#a"),
            ("ä\n", "\\C3\\A4\\0A"),
            ("", ""),
        ] {
            assert_eq!(escaped_name(text), written, "{text:?}");
        }
        assert_eq!(escaped("a, DNS:b"), "a\\2C\\20DNS:b");
    }

    #[test]
    fn a_kind_that_nobody_knows_is_told_as_it_is_encoded() {
        let name = [0x31, 10, 0x30, 8, 0x06, 3, 0x55, 4, 65, 0x0c, 1, b'x'];
        assert_eq!(distinguished_name(&name).unwrap(), "2.5.4.65=#0c0178");
    }

    proptest! {
        #[test]
        fn bent_certificates_are_read_or_not(
            bends in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut der = client();
            for (at, byte) in bends {
                let at = at.index(der.len());
                der[at] = byte;
            }
            der.truncate(cut.index(der.len()) + 1);
            if let Some(certificate) = ClientCertificate::parse(&der) {
                prop_assert!(certificate.subject().is_ascii());
                prop_assert!(certificate.names().all(|name| name.is_ascii() && !name.contains(',')));
            }
        }
    }
}
