//! Subprotocols: what a client offers, and the one that is spoken.

use super::{RequestError, ResponseError, token};

/// The subprotocols that a client offers, over all lines of `Sec-WebSocket-Protocol`.
///
/// # Errors
/// When an element is no token, or stands twice (RFC 6455 section 4.1 point 10).
pub fn offered_protocols<'a>(
    values: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<&'a str>, RequestError> {
    let mut offered = Vec::new();
    for element in values.flat_map(|value| value.split(|&byte| byte == b',')) {
        let element = element.trim_ascii();
        if element.is_empty() {
            continue; // RFC 9110 section 5.6.1: empty elements are skipped
        }
        let protocol = token(element).ok_or(RequestError::Protocols)?;
        if offered.contains(&protocol) {
            return Err(RequestError::Protocols);
        }
        offered.push(protocol);
    }
    Ok(offered)
}

/// The subprotocol that a server chose, which must be one of those offered (RFC 6455 section 4.1,
/// last list, point 6).
pub fn chosen_protocol<'a>(
    mut values: impl Iterator<Item = &'a [u8]>,
    offered: &[&str],
) -> Result<Option<&'a str>, ResponseError> {
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let chosen = std::str::from_utf8(value).map_err(|_not_text| ResponseError::Protocol)?;
    if values.next().is_some() || !offered.contains(&chosen) {
        return Err(ResponseError::Protocol);
    }
    Ok(Some(chosen))
}

/// The first of the protocols that a client offers which the server `supports`; compared with
/// regard to case (RFC 6455 section 4.2.2 point 5.5; the client's order counts). `None`
/// when there is none: then the answer names no protocol, and the session opens without one.
#[must_use]
pub fn choose_protocol<'a>(offered: &[&'a str], supports: &[impl AsRef<str>]) -> Option<&'a str> {
    offered
        .iter()
        .find(|offer| supports.iter().any(|one| one.as_ref() == **offer))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::lines;

    #[test]
    fn protocols_are_read_over_all_lines_and_trimmed() {
        assert_eq!(
            offered_protocols(lines(&[" p1,p2", "p3 , p4 "])).unwrap(),
            ["p1", "p2", "p3", "p4"]
        );
        assert_eq!(
            offered_protocols(lines(&["a, a"])),
            Err(RequestError::Protocols)
        );
        assert_eq!(
            offered_protocols(lines(&["a b"])),
            Err(RequestError::Protocols)
        );
        assert_eq!(chosen_protocol(lines(&["b"]), &["a", "b"]), Ok(Some("b")));
        assert_eq!(
            chosen_protocol(lines(&["c"]), &["a", "b"]),
            Err(ResponseError::Protocol)
        );
        assert_eq!(
            chosen_protocol(lines(&["a, b"]), &["a", "b"]),
            Err(ResponseError::Protocol)
        );
        assert_eq!(chosen_protocol(lines(&[]), &["a"]), Ok(None));
    }

    #[test]
    fn the_first_offer_that_is_supported_is_chosen() {
        let choose = |offered: &[&'static str]| choose_protocol(offered, &["b", "a"]);
        assert_eq!(choose(&["x", "a", "b"]), Some("a"));
        assert_eq!(choose(&["A"]), None);
        assert_eq!(choose(&[]), None);
    }
}
