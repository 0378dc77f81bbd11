//! Extensions as they stand in a handshake (RFC 6455 section 9.1).

use super::token;

/// One element of `Sec-WebSocket-Extensions`: a name with its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Its name, a token.
    pub name: &'a str,
    /// The whole element as it was written, trimmed.
    pub text: &'a str,
}

impl Extension<'_> {
    /// Whether this is permessage-deflate (RFC 7692).
    #[must_use]
    pub fn is_deflate(&self) -> bool {
        self.name.eq_ignore_ascii_case("permessage-deflate")
    }
}

/// Whether `answer` accepts one of the permessage-deflate `offers` as RFC 7692 section 7.1 has it:
/// known parameters alone, each once, window bits from 8 to 15 and no larger than was asked for, and
/// a bound on the client's window only where the client said that it can have one.
#[must_use]
pub fn deflate_answers(answer: &str, offers: &[String]) -> bool {
    offers
        .iter()
        .any(|offer| deflate_answers_one(answer, offer))
}

fn deflate_answers_one(answer: &str, offer: &str) -> bool {
    let offered: Vec<_> = parameters(offer).collect();
    let find = |name: &str| {
        offered
            .iter()
            .find(|(offered, _)| offered.eq_ignore_ascii_case(name))
    };
    // A decimal number without leading zeros (RFC 7692 section 7.1.2.1).
    let bits = |value: Option<&str>| {
        value
            .filter(|value| value.starts_with(|first: char| matches!(first, '1'..='9')))
            .and_then(|value| value.parse::<u8>().ok())
            .filter(|bits| (8..=15).contains(bits))
    };
    let accepted: Vec<_> = parameters(answer).collect();
    let fits = accepted.iter().enumerate().all(|(place, (name, value))| {
        let twice = accepted[..place]
            .iter()
            .any(|(earlier, _)| earlier.eq_ignore_ascii_case(name));
        !twice
            && match name.to_ascii_lowercase().as_str() {
                "server_no_context_takeover" | "client_no_context_takeover" => value.is_none(),
                "client_max_window_bits" => {
                    let asked = find(name);
                    let most = asked.and_then(|(_, most)| bits(*most)).unwrap_or(15);
                    asked.is_some() && bits(*value).is_some_and(|bits| bits <= most)
                }
                "server_max_window_bits" => {
                    let most = find(name).and_then(|(_, most)| bits(*most)).unwrap_or(15);
                    bits(*value).is_some_and(|bits| bits <= most)
                }
                _ => false,
            }
    });
    // What the client demanded of the server cannot be left out (RFC 7692 sections 7.1.1.1, 7.1.2.1).
    let has = |name: &str| {
        accepted
            .iter()
            .any(|(accepted, _)| accepted.eq_ignore_ascii_case(name))
    };
    let demands = ["server_no_context_takeover", "server_max_window_bits"];
    fits && demands
        .iter()
        .all(|demand| find(demand).is_none() || has(demand))
}

/// The parameters of one element, values without their quotes.
fn parameters(element: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    element
        .split(';')
        .skip(1)
        .map(|parameter| match parameter.split_once('=') {
            Some((name, value)) => (
                name.trim_ascii(),
                Some(value.trim_ascii().trim_matches('"')),
            ),
            None => (parameter.trim_ascii(), None),
        })
}

/// A value of `Sec-WebSocket-Extensions` that does not follow its grammar (RFC 6455 section 9.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedExtensions;

/// Parses the elements of `Sec-WebSocket-Extensions` over all its lines. Each parameter must be a
/// token with an optional value that is a token or a quoted token.
pub fn extensions<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Extension<'a>>, MalformedExtensions> {
    let mut extensions = Vec::new();
    for value in values {
        let value = std::str::from_utf8(value).map_err(|_not_text| MalformedExtensions)?;
        // A quoted value is a token too (RFC 6455 section 9.1), so no comma and no semicolon can
        // hide inside quotes, and a plain split is exact.
        for element in value
            .split(',')
            .map(str::trim_ascii)
            .filter(|element| !element.is_empty())
        {
            let mut parts = element.split(';').map(str::trim_ascii);
            let name = parts
                .next()
                .and_then(|name| token(name.as_bytes()))
                .ok_or(MalformedExtensions)?;
            if !parts.all(is_parameter) {
                return Err(MalformedExtensions);
            }
            extensions.push(Extension {
                name,
                text: element,
            });
        }
    }
    Ok(extensions)
}

fn is_parameter(text: &str) -> bool {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name.trim_ascii(), Some(value.trim_ascii())),
        None => (text, None),
    };
    let unquoted = value.map(|value| {
        value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value)
    });
    token(name.as_bytes()).is_some()
        && unquoted.is_none_or(|value| token(value.as_bytes()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::lines;

    #[test]
    fn a_deflate_answer_must_fit_an_offer() {
        let fits = |answer: &str, offer: &str| deflate_answers(answer, &[offer.to_owned()]);
        let plain = "permessage-deflate";
        let bits = "permessage-deflate; client_max_window_bits; server_max_window_bits=12";
        assert!(fits(plain, plain));
        assert!(fits(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
            plain
        ));
        assert!(fits("permessage-deflate; server_max_window_bits=10", plain));
        assert!(fits(
            "permessage-deflate; server_max_window_bits=\"12\"; client_max_window_bits=9",
            bits
        ));
        for (answer, offer) in [
            ("permessage-deflate; client_max_window_bits=9", plain),
            ("permessage-deflate; zz=1", plain),
            ("permessage-deflate; server_max_window_bits=16", plain),
            ("permessage-deflate; server_max_window_bits=010", plain),
            ("permessage-deflate; server_max_window_bits=+10", plain),
            ("permessage-deflate; server_no_context_takeover=1", plain),
            (
                "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
                plain,
            ),
            ("permessage-deflate; server_max_window_bits=13", bits),
            (plain, bits),
            (plain, "permessage-deflate; server_no_context_takeover"),
        ] {
            assert!(!fits(answer, offer), "{answer} for {offer}");
        }
    }

    #[test]
    fn extensions_follow_their_grammar() {
        let offer =
            ["permessage-deflate; client_max_window_bits; server_max_window_bits=\"10\", x-foo"];
        let parsed = extensions(lines(&offer)).unwrap();
        assert!(parsed[0].is_deflate());
        assert_eq!(
            parsed[1],
            Extension {
                name: "x-foo",
                text: "x-foo"
            }
        );
        for bad in ["a;", "a; =1", "a; b=", "a; b=\"c d\"", "a; b=\"c,d\"", ";"] {
            assert_eq!(extensions(lines(&[bad])), Err(MalformedExtensions), "{bad}");
        }
    }
}
