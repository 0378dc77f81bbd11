//! A token in a cookie (RFC 6265 section 4.2).

use http::HeaderValue;

use super::super::error::AuthError;
use crate::exchange::Exchange;
use crate::headers::FieldName;

/// The cookie of this name; its name has a case. It stays where it is: what it is to the upstream is not
/// for us to know.
///
/// # Errors
/// Where there are two: nobody knows which of them an upstream would take.
pub(super) fn find(exchange: &Exchange, name: &str) -> Result<Option<String>, AuthError> {
    let lines = exchange.headers.get_all("cookie");
    let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    let mut values = pairs.filter_map(|pair| value_of(pair, name));
    let value = values.next();
    if values.next().is_some() {
        return Err(AuthError::Conflict);
    }
    let text = value.map(|value| String::from_utf8_lossy(value).into_owned());
    Ok(text.filter(|text| !text.is_empty()))
}

/// Takes out what cookies of this name there are with another value than `token`.
pub(super) fn leave_only(exchange: &mut Exchange, name: &str, token: Option<&str>) {
    let is_other = |pair: &[u8]| {
        value_of(pair, name).is_some_and(|value| Some(value) != token.map(str::as_bytes))
    };
    let has_other = |line: &HeaderValue| {
        let mut pairs = line.as_bytes().split(|byte| *byte == b';');
        pairs.any(is_other)
    };
    if !exchange.headers.get_all("cookie").any(has_other) {
        return;
    }
    let lines = exchange.headers.get_all("cookie");
    let left = lines.filter_map(|line| {
        let pairs = line.as_bytes().split(|byte| *byte == b';');
        let pairs = pairs.map(<[u8]>::trim_ascii);
        let kept: Vec<_> = pairs.filter(|pair| !is_other(pair)).collect();
        // Of parts of one.
        let line = HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok();
        line.filter(|line| !line.is_empty())
    });
    let left: Vec<_> = left.collect();
    exchange.headers.remove("cookie");
    for line in left {
        let name = FieldName::from_static("Cookie");
        exchange.headers.append(name, line);
    }
}

/// The value of a cookie of this name, without the quotes that may be around it. White space around the
/// name is none of it to many who read cookies.
fn value_of<'a>(pair: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let at = pair.iter().position(|byte| *byte == b'=')?;
    let (before, value) = (pair.get(..at)?, pair.get(at + 1..)?.trim_ascii());
    if before.trim_ascii() != name.as_bytes() {
        return None;
    }
    let bare = value
        .strip_prefix(b"\"")
        .and_then(|value| value.strip_suffix(b"\""));
    Some(bare.unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::exchange;

    #[test]
    fn cookies_are_found_by_the_whole_name() {
        for (line, found) in [
            ("a=1; token=x.y.z; b=2", Some("x.y.z")),
            ("token=x", Some("x")),
            ("token=\"x\"", Some("x")),
            ("token=x=y", Some("x=y")),
            ("mytoken=1;token=2", Some("2")),
            ("token =x", Some("x")),
            ("Token=1", None),
            ("tokens=1", None),
            ("token", None),
            ("token=", None),
            ("", None),
        ] {
            let found = found.map(str::to_owned);
            assert_eq!(find(&with(&[line]), "token"), Ok(found), "{line}");
        }
        for lines in [
            &["token=2;token=3"][..],
            &["token=2", "a=b; token=2"],
            &["token=;token=2"],
            &["token=2; token =3"],
        ] {
            let found = find(&with(lines), "token");
            assert_eq!(found, Err(AuthError::Conflict), "{lines:?}");
        }
    }

    #[test]
    fn what_was_not_verified_leaves() {
        for (lines, token, left) in [
            (
                &["a=1;  token=x;b=2"][..],
                Some("x"),
                &["a=1;  token=x;b=2"][..],
            ),
            (&["a=1;  token=x;b=2"], Some("y"), &["a=1; b=2"]),
            (&["token=\"x\"", "a=1"], Some("x"), &["token=\"x\"", "a=1"]),
            (&["token=x", "a=1"], Some("y"), &["a=1"]),
            (&["token=x"], None, &[]),
            (&["token"], None, &["token"]),
        ] {
            let mut exchange = with(lines);
            leave_only(&mut exchange, "token", token);
            let stays: Vec<_> = exchange.headers.get_all("cookie").collect();
            assert_eq!(stays, left, "{lines:?} {token:?}");
        }
    }

    fn with(lines: &[&'static str]) -> Exchange {
        let mut exchange = exchange("/");
        for line in lines {
            let value = HeaderValue::from_static(line);
            exchange
                .headers
                .append(FieldName::from_static("Cookie"), value);
        }
        exchange
    }
}
