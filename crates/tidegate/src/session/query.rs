//! The query of a session's target, as it is told to those who operate the gateway: without secrets.

/// Parameters whose values are secrets, whatever the case.
const SECRETS: [&str; 5] = ["token", "access_token", "ticket", "jwt", "code"];

/// A query with the values of secrets masked.
pub(super) fn masked(query: &[u8]) -> String {
    let pairs = query.split(|byte| *byte == b'&').map(|pair| {
        let (shown, mask) = match secret(pair) {
            Some(at) => (&pair[..at], "***"),
            None => (pair, ""),
        };
        format!("{}{mask}", String::from_utf8_lossy(shown))
    });
    pairs.collect::<Vec<_>>().join("&")
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

fn decoded(byte: u8, behind: &[u8]) -> (u8, &[u8]) {
    let hex = |byte: u8| char::from(byte).to_digit(16);
    if let (b'%', [high, low, rest @ ..]) = (byte, behind)
        && let (Some(high), Some(low)) = (hex(*high), hex(*low))
    {
        return (u8::try_from(high * 16 + low).unwrap_or_default(), rest);
    }
    (byte, behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_secrets_are_masked() {
        for (query, told) in [
            ("", ""),
            ("a=1&b", "a=1&b"),
            ("token=x", "token=***"),
            ("a=1&Access_Token=x=y&b=2", "a=1&Access_Token=***&b=2"),
            ("%74oken=x&ticket[]=y", "%74oken=***&ticket[]=***"),
            ("a;jwt=x&?code=y", "a;jwt=***&?code=***"),
            ("tokens=1&atoken=2", "tokens=1&atoken=2"),
        ] {
            assert_eq!(masked(query.as_bytes()), told, "{query}");
        }
    }
}
