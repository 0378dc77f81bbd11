//! What neither a log nor the admin listener may tell: secrets in a query, and in the name of a
//! subprotocol.

use std::borrow::Cow;

/// What stands in place of a secret.
const MASK: &str = "***";

/// Parameters whose values are secrets, whatever the case.
const SECRETS: [&str; 5] = ["token", "access_token", "ticket", "jwt", "code"];

/// Whether a query may hold a secret: it names one, or has names that must be looked at closely.
fn may_hold_secrets(query: &[u8]) -> bool {
    query
        .iter()
        .any(|byte| matches!(byte, b't' | b'T' | b'j' | b'J' | b'c' | b'C' | b'%'))
}

/// Hands `put` the query piece by piece, with the values of secrets masked.
pub(crate) fn query(query: &[u8], put: &mut impl FnMut(&[u8])) {
    if !may_hold_secrets(query) {
        return put(query);
    }
    for (place, pair) in query.split(|byte| *byte == b'&').enumerate() {
        if place > 0 {
            put(b"&");
        }
        match secret(pair) {
            Some(at) => {
                put(&pair[..at]);
                put(MASK.as_bytes());
            }
            None => put(pair),
        }
    }
}

/// Where the value of a secret begins. It is taken to reach to the next `&`; a name may stand behind
/// `;` too, which divides parameters for some, and behind a `?` that is one too many.
fn secret(pair: &[u8]) -> Option<usize> {
    let mut from = 0;
    for (at, byte) in pair.iter().enumerate() {
        match byte {
            b';' | b'?' => from = at + 1,
            b'=' if is_secret(&pair[from..at]) => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Whether a name is one of ours, as a server may read it: `%54oken`, `token[]`.
fn is_secret(name: &[u8]) -> bool {
    let mut read = [0; 16];
    let mut length = 0;
    let mut rest = name;
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = decoded(byte, behind);
        rest = behind;
        if byte == b'[' || byte == 0 {
            break;
        }
        let byte = if byte == b'+' { b' ' } else { byte };
        if length == 0 && byte == b' ' {
            continue;
        }
        let Some(place) = read.get_mut(length) else {
            return false;
        };
        *place = byte;
        length += 1;
    }
    let read = read[..length].trim_ascii_end();
    let is = |secret: &str| read.eq_ignore_ascii_case(secret.as_bytes());
    SECRETS.iter().any(|secret| is(secret))
}

/// Whether the name of a parameter, the part before `=`, is `name` as a server may read it.
pub(crate) fn names(pair: &[u8], name: &str) -> bool {
    let end = pair.iter().position(|byte| *byte == b'=');
    let written = &pair[..end.unwrap_or(pair.len())];
    let from = written.iter().rposition(|byte| matches!(byte, b';' | b'?'));
    let written = from.map_or(written, |from| &written[from + 1..]);
    decoded_text(written).eq_ignore_ascii_case(name.as_bytes())
}

/// A query with the values of these parameters masked; `None` where there is none of them.
pub(crate) fn hide(query: &[u8], secrets: &[&str]) -> Option<Vec<u8>> {
    let is_secret = |pair: &[u8]| secrets.iter().any(|name| names(pair, name));
    let mut found = false;
    let pairs: Vec<_> = query
        .split(|byte| *byte == b'&')
        .map(|pair| {
            let at = pair.iter().position(|byte| *byte == b'=');
            match at.filter(|_| is_secret(pair)) {
                Some(at) => {
                    found = true;
                    [&pair[..=at], MASK.as_bytes()].concat()
                }
                None => pair.to_vec(),
            }
        })
        .collect();
    found.then(|| pairs.join(&b'&'))
}

/// A text without its percent-encoding.
pub(crate) fn decoded_text(mut rest: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(rest.len());
    while let Some((&byte, behind)) = rest.split_first() {
        let (byte, behind) = decoded(byte, behind);
        text.push(byte);
        rest = behind;
    }
    text
}

fn decoded(byte: u8, behind: &[u8]) -> (u8, &[u8]) {
    let hex = |byte: u8| char::from(byte).to_digit(16);
    if let (b'%', [high, low, rest @ ..]) = (byte, behind)
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return (u8::try_from(high * 16 + low).unwrap_or_default(), rest);
    }
    (byte, behind)
}

/// A subprotocol's name, a credential in it masked: some clients put one there, for want of a header
/// (`base64url.bearer.authorization.k8s.io.TOKEN`).
pub(crate) fn subprotocol(name: &str) -> Cow<'_, str> {
    const BEARER: &str = "bearer.";
    let bearer = name.to_ascii_lowercase().find(BEARER);
    // A token alone: three parts of base64.
    let is_token = || name.starts_with("eyJ") && name.matches('.').count() >= 2;
    let plain = match bearer {
        Some(at) => &name[..at + BEARER.len()],
        None if is_token() => "",
        None => return name.into(),
    };
    format!("{plain}{MASK}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str) -> String {
        let mut out = Vec::new();
        query(text.as_bytes(), &mut |piece| out.extend_from_slice(piece));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn values_of_secrets_are_masked_and_nothing_else() {
        for (text, expected) in [
            ("", ""),
            ("a=1&b=2", "a=1&b=2"),
            ("token=s3cret", "token=***"),
            ("a=1&access_token=s3cret&b=2", "a=1&access_token=***&b=2"),
            ("TICKET=s3cret&Jwt=s3cret", "TICKET=***&Jwt=***"),
            ("code=s3cret=s3cret&x", "code=***&x"),
            ("%74oken=s3cret", "%74oken=***"),
            ("%54%4f%4B%45%4e=s3cret", "%54%4f%4B%45%4e=***"),
            ("access%5Ftoken=s3cret", "access%5Ftoken=***"),
            (
                "token[]=s3cret&token%5B0%5D=s3cret",
                "token[]=***&token%5B0%5D=***",
            ),
            ("+token=s3cret&%20code+=s3cret", "+token=***&%20code+=***"),
            ("a=1;token=s3cret;b=2", "a=1;token=***"),
            ("a=b?token=s3cret", "a=b?token=***"),
            ("token=", "token=***"),
            ("token", "token"),
            ("&&token=s3cret&&", "&&token=***&&"),
            (
                "tokens=1&mytoken=2&zipcode=3&decode=4",
                "tokens=1&mytoken=2&zipcode=3&decode=4",
            ),
            (
                "barcode=1&access_tokens=2&tok%en=3",
                "barcode=1&access_tokens=2&tok%en=3",
            ),
            (
                "a_very_long_name_that_ends_in_token=1",
                "a_very_long_name_that_ends_in_token=1",
            ),
            ("token%00x=s3cret", "token%00x=***"),
        ] {
            assert_eq!(masked(text), expected, "{text}");
        }
    }

    #[test]
    fn credentials_in_subprotocols_are_masked() {
        for (name, expected) in [
            ("v12.stomp", "v12.stomp"),
            ("bearer", "bearer"),
            ("tidegate.bearer.eyJh.b.c", "tidegate.bearer.***"),
            (
                "base64url.bearer.authorization.k8s.io.Zm9v",
                "base64url.bearer.***",
            ),
            ("eyJhbGciOi.eyJzdWIi.c2ln", "***"),
            ("eyJson", "eyJson"),
        ] {
            assert_eq!(subprotocol(name), expected);
        }
    }
}
