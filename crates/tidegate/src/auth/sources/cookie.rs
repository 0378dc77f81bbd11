//! A token in a cookie (RFC 6265 section 4.2).

use crate::exchange::Exchange;

/// The first cookie of this name; its name has a case. It stays where it is: what it is to the upstream
/// is not for us to know.
pub(super) fn find(exchange: &Exchange, name: &str) -> Option<String> {
    let lines = exchange.headers.get_all("cookie");
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let value = pairs.find_map(|pair| {
        let pair = pair.trim_ascii();
        pair.strip_prefix(name.as_bytes())?.strip_prefix(b"=")
    })?;
    let bare = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    let text = str::from_utf8(bare.unwrap_or(value)).ok()?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::headers::FieldName;
    use crate::pipeline::testing::exchange;

    #[test]
    fn cookies_are_found_by_the_whole_name() {
        for (line, found) in [
            ("a=1; token=x.y.z; b=2", Some("x.y.z")),
            ("token=x", Some("x")),
            ("token=\"x\"", Some("x")),
            ("token=x=y", Some("x=y")),
            ("mytoken=1;token=2;token=3", Some("2")),
            ("Token=1", None),
            ("tokens=1", None),
            ("token", None),
            ("token=", None),
            ("", None),
        ] {
            let mut exchange = exchange("/");
            let value = HeaderValue::from_static(line);
            exchange
                .headers
                .append(FieldName::from_static("Cookie"), value);
            assert_eq!(find(&exchange, "token").as_deref(), found, "{line}");
        }
    }
}
