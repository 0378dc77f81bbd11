//! A token in the query, and how it leaves it.

use bytes::Bytes;

use crate::exchange::Exchange;
use crate::mask::names;

/// Takes all parameters of this name out of the query; the first one's value, where it has one.
pub(super) fn take(exchange: &mut Exchange, name: &str) -> Option<String> {
    let query = exchange.query.as_ref()?;
    let value = query
        .split(|byte| *byte == b'&')
        .find_map(|pair| value_of(pair, name));
    let rest = filtered(query, name)?;
    exchange.query = (!rest.is_empty()).then(|| Bytes::from(rest));
    value.filter(|value| !value.is_empty())
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
fn filtered(query: &[u8], name: &str) -> Option<Vec<u8>> {
    let pairs = || query.split(|byte| *byte == b'&');
    let is_named = |pair: &&[u8]| names(pair, name);
    pairs().find(is_named)?;
    let kept: Vec<_> = pairs().filter(|pair| !is_named(pair)).collect();
    Some(kept.join(&b'&'))
}

fn value_of(pair: &[u8], name: &str) -> Option<String> {
    if !names(pair, name) {
        return None;
    }
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
            ("token=x&token=y&a", Some("x"), Some("a")),
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
            assert_eq!(take(&mut exchange, "token").as_deref(), found, "{query}");
            assert_eq!(
                exchange.query.as_deref(),
                left.map(str::as_bytes),
                "{query}"
            );
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
