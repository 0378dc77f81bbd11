//! A token in the query, and how it leaves it.

use bytes::Bytes;

use super::super::error::AuthError;
use crate::exchange::Exchange;
use crate::mask::names;

/// Takes all parameters of this name out of the query; the value, where there is one.
///
/// # Errors
/// Where there are two of them.
pub(super) fn take(exchange: &mut Exchange, name: &str) -> Result<Option<String>, AuthError> {
    let Some(query) = &exchange.query else {
        return Ok(None);
    };
    let Some(rest) = filtered(query, name) else {
        return Ok(None);
    };
    let pairs = query.split(|byte| *byte == b'&');
    let mut named = pairs.filter(|pair| names(pair, name));
    let value = named.next().and_then(value_of);
    let is_doubled = named.next().is_some();
    exchange.query = (!rest.is_empty()).then(|| Bytes::from(rest));
    if is_doubled {
        return Err(AuthError::Conflict);
    }
    Ok(value.filter(|value| !value.is_empty()))
}

/// A URL without the parameters of this name.
pub(super) fn without(url: &[u8], name: &str) -> Vec<u8> {
    let end = url.iter().position(|byte| *byte == b'#');
    let end = end.unwrap_or(url.len());
    let start = url[..end].iter().position(|byte| *byte == b'?');
    let Some(start) = start else {
        return url.to_vec();
    };
    let Some(rest) = filtered(&url[start + 1..end], name) else {
        return url.to_vec();
    };
    let mark: &[u8] = if rest.is_empty() { b"" } else { b"?" };
    [&url[..start], mark, &rest, &url[end..]].concat()
}

/// The query without the parameters of this name; `None` where there is none of them.
pub(in crate::auth) fn filtered(query: &[u8], name: &str) -> Option<Vec<u8>> {
    let pairs = || query.split(|byte| *byte == b'&');
    let is_named = |pair: &&[u8]| names(pair, name);
    pairs().find(is_named)?;
    let kept: Vec<_> = pairs().filter(|pair| !is_named(pair)).collect();
    Some(kept.join(&b'&'))
}

fn value_of(pair: &[u8]) -> Option<String> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    // Tokens and tickets are made of signs that need no encoding, so there is none to undo but that of
    // the dot and its like, which some encode.
    let value = crate::mask::decoded_text(&pair[at + 1..]);
    String::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::exchange;

    #[test]
    fn nothing_of_it_stays() {
        for (query, found, left) in [
            ("token=x", Some("x"), None),
            ("a=1&token=x.y&b=2", Some("x.y"), Some("a=1&b=2")),
            ("%74oken=x&a", Some("x"), Some("a")),
            ("token=x%2Ey", Some("x.y"), None),
            ("token&a", None, Some("a")),
            ("token=&a", None, Some("a")),
            ("tokens=x&mytoken=y", None, Some("tokens=x&mytoken=y")),
            ("a;token=x&b", Some("x"), Some("b")),
            ("", None, Some("")),
        ] {
            let mut exchange = exchange("/");
            exchange.query = Some(Bytes::from_static(query.as_bytes()));
            let found = found.map(str::to_owned);
            assert_eq!(take(&mut exchange, "token"), Ok(found), "{query}");
            assert_eq!(
                exchange.query.as_deref(),
                left.map(str::as_bytes),
                "{query}"
            );
        }
    }

    #[test]
    fn one_of_two_is_none() {
        for query in [
            "token=x&token=y&a",
            "token=x&token=x&a",
            "token&a&%74oken=y",
        ] {
            let mut exchange = exchange("/");
            exchange.query = Some(Bytes::from_static(query.as_bytes()));
            let taken = take(&mut exchange, "token");
            assert_eq!(taken, Err(AuthError::Conflict), "{query}");
            assert_eq!(exchange.query.as_deref(), Some(&b"a"[..]), "{query}");
        }
    }

    #[test]
    fn urls_lose_it_too() {
        for (url, left) in [
            ("https://a/b?token=x#f", "https://a/b#f"),
            ("https://a/b?c=1&token=x", "https://a/b?c=1"),
            ("https://a/b?c=1#?token=x", "https://a/b?c=1#?token=x"),
            ("https://a/b", "https://a/b"),
            ("https://a/b#c?token=x", "https://a/b#c?token=x"),
        ] {
            assert_eq!(without(url.as_bytes(), "token"), left.as_bytes());
        }
    }
}
