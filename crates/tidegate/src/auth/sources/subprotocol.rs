//! A token among the subprotocols that a handshake offers: the one header that a browser's WebSocket can
//! set.

use http::HeaderValue;

use super::super::error::AuthError;
use crate::exchange::Exchange;
use crate::headers::FieldName;

const FIELD: &str = "sec-websocket-protocol";
const PREFIX: &str = "tidegate.bearer.";
const ALONE: &str = "bearer";

/// Takes every token out of the offer, so that nobody chooses it; the first one.
pub(super) fn take(exchange: &mut Exchange) -> Result<Option<String>, AuthError> {
    if !exchange.upgrade {
        return Ok(None);
    }
    let (mut token, mut left) = (None, Vec::new());
    let mut is_next = false;
    let mut found = |text: &str| {
        token.get_or_insert_with(|| text.to_owned());
    };
    let mut has_credential = false;
    for offer in exchange.headers.list(FIELD) {
        let Ok(text) = str::from_utf8(offer) else {
            continue;
        };
        if std::mem::take(&mut is_next) {
            found(text);
        } else if text == ALONE {
            (is_next, has_credential) = (true, true);
        } else if let Some(text) = text.strip_prefix(PREFIX) {
            has_credential = true;
            found(text);
        } else {
            left.push(text);
        }
    }
    if !has_credential {
        return Ok(None);
    }
    if left.is_empty() {
        return Err(AuthError::TokenAlone);
    }
    // Of a list of tokens each of which was one.
    if let Ok(value) = HeaderValue::try_from(left.join(", ")) {
        exchange
            .headers
            .set(FieldName::from_static("Sec-WebSocket-Protocol"), value);
    }
    Ok(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::exchange;

    fn taken(lines: &[&'static str]) -> (Result<Option<String>, AuthError>, Vec<String>) {
        let mut exchange = exchange("/");
        exchange.upgrade = true;
        for line in lines {
            let value = HeaderValue::from_static(line);
            exchange
                .headers
                .append(FieldName::from_static("Sec-WebSocket-Protocol"), value);
        }
        let token = take(&mut exchange);
        let left = exchange.headers.get_all(FIELD);
        let left = left.map(|value| value.to_str().unwrap().to_owned());
        (token, left.collect())
    }

    #[test]
    fn tokens_leave_the_offer() {
        for (lines, token, left) in [
            (
                &["chat, tidegate.bearer.x.y.z"][..],
                Some("x.y.z"),
                &["chat"][..],
            ),
            (
                &["tidegate.bearer.x", "chat", "v2"],
                Some("x"),
                &["chat, v2"],
            ),
            (&["bearer, x.y.z, chat"], Some("x.y.z"), &["chat"]),
            (&["chat,bearer", "x"], Some("x"), &["chat"]),
            (
                &["chat, bearer, x, tidegate.bearer.y"],
                Some("x"),
                &["chat"],
            ),
            (&["chat, v2"], None, &["chat, v2"]),
            (&["chat, bearer"], None, &["chat"]),
            (&["Bearer, x"], None, &["Bearer, x"]),
            (&[], None, &[]),
        ] {
            let (found, rest) = taken(lines);
            assert_eq!(found.unwrap().as_deref(), token, "{lines:?}");
            assert_eq!(rest, left, "{lines:?}");
        }
        assert_eq!(taken(&["tidegate.bearer.x"]).0, Err(AuthError::TokenAlone));
        assert_eq!(taken(&["bearer, x"]).0, Err(AuthError::TokenAlone));
    }
}
