//! The query of a request: `name=value` pairs, each of a closed set, each once.

use std::borrow::Cow;

use axum::http::StatusCode;

use super::problem::Problem;

/// The pairs, their values decoded, in the order of `names`.
pub(super) fn parse<const N: usize>(
    query: Option<&str>,
    names: [&str; N],
) -> Result<[Option<String>; N], Problem> {
    let mut values = [const { None }; N];
    let pairs = query.unwrap_or_default().split('&');
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = names.iter().position(|known| *known == name);
        let Some(place) = place.and_then(|place| values.get_mut(place)) else {
            return Err(bad("the query has a parameter that is not known here"));
        };
        let value = decode(value).ok_or_else(|| bad("a value in the query is malformed"))?;
        if place.replace(value).is_some() {
            return Err(bad("a parameter stands twice in the query"));
        }
    }
    Ok(values)
}

/// What is wrong with a request.
pub(super) fn bad(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad_request", detail)
}

/// Undoes percent-encoding, and plus signs for spaces.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                let value = digit(rest.next()?)? << 4 | digit(rest.next()?)?;
                u8::try_from(value).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A name in hexadecimal, behind which the next page begins.
pub(super) fn cursor_of(name: &str) -> String {
    name.bytes().fold(String::new(), |mut text, byte| {
        let digits = [byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16));
        text.extend(digits.into_iter().flatten());
        text
    })
}

/// The name in a cursor. Any bytes are a place among the names.
fn named_by(cursor: &str) -> Option<String> {
    let digit = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let digits: Option<Vec<u8>> = cursor.as_bytes().iter().map(digit).collect();
    let digits = digits.filter(|digits| !digits.is_empty() && digits.len() % 2 == 0)?;
    let bytes: Vec<u8> = digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The name behind which a page begins: none has the first one.
pub(super) fn name_behind(cursor: Option<&str>) -> Result<String, Problem> {
    cursor.map_or(Ok(String::new()), |text| {
        named_by(text).ok_or_else(|| bad("`cursor` is none that was given out here"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_and_names_are_known() {
        let parsed = |query| parse(Some(query), ["a", "b"]).ok();
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(parsed(""), Some([None, None]));
        assert_eq!(parsed("b=%3a%3A1&a="), Some([text(""), text("::1")]));
        assert_eq!(parsed("a=x+y%2Bz&&"), Some([text("x y+z"), None]));
        for wrong in ["c=1", "a=1&a=2", "a=%", "a=%4", "a=%zz", "a=%ff", "A=1"] {
            assert_eq!(parsed(wrong), None, "{wrong}");
        }
        assert_eq!(parse(None, ["a"]).ok(), Some([None]));
    }
}
