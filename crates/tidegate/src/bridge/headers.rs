//! Which header fields pass between an envelope and a service.

use std::borrow::Cow;

use http::HeaderValue;

use super::problem::Problem;
use crate::config::plan::BridgeHeaders;
use crate::forwarded;
use crate::headers::{FieldName, Headers};

/// What a client may not say in an envelope: what speaks of a connection or of framing, who it is, from
/// where it comes, and what the gateway itself says.
const FORBIDDEN: [&str; 20] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-ip",
    "x-request-timeout-ms",
];
const FORBIDDEN_STARTS: [&str; 2] = ["sec-", "x-tidegate-"];
/// What a client may say although its handshake said it: it is a wish, and says nothing of who it is.
const WISHES: [&str; 1] = ["accept-language"];

/// Whether a client may say `name`; what its handshake says for all calls, it may not, because a filter may
/// have said it there. Underscores count as hyphens, because some upstreams take them for such.
fn may_say(name: &str, of_handshake: &[Box<str>]) -> bool {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let is_told = of_handshake
        .iter()
        .any(|told| told.replace('_', "-") == name);
    if is_told && !WISHES.contains(&&*name) || forwarded::tells_of_client(&name) {
        return false;
    }
    !FORBIDDEN.contains(&&*name) && !FORBIDDEN_STARTS.iter().any(|start| name.starts_with(start))
}

/// Adds what the client says; what it may not say is left out, and what is no header is an error. What
/// it says takes the place of what its handshake said.
pub(super) fn add_from_client(
    headers: &mut Headers,
    of_handshake: &[Box<str>],
    said: &[(Cow<'_, str>, Cow<'_, str>)],
) -> Result<(), Problem> {
    let wrong = || Problem::malformed("headers holds what is no header field");
    let mut fields = Vec::with_capacity(said.len());
    for (name, value) in said {
        let field = FieldName::parse(name.as_bytes().to_vec()).map_err(|_name| wrong())?;
        let value = HeaderValue::from_bytes(value.trim().as_bytes()).map_err(|_value| wrong())?;
        if may_say(name, of_handshake) {
            fields.push((field, value));
        }
    }
    for (name, _) in &fields {
        headers.remove(name.as_str());
    }
    for (name, value) in fields {
        headers.append(name, value);
    }
    Ok(())
}

/// Whether `name` is one of these, each in lower case and perhaps with a `*` at its end.
pub(super) fn is_among(patterns: &[Box<str>], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Keeps of an answer's fields what its client may see.
pub(super) fn for_client(headers: &mut Headers, allowed: &BridgeHeaders) {
    headers.retain(|field| {
        let name = field.name.as_str();
        if field.name.is("set-cookie") {
            return allowed.cookies;
        }
        is_among(&allowed.to_client, name)
    });
}

/// Whether `name` is `pattern`, which is in lower case and may end with `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name
            .get(..start.len())
            .is_some_and(|begin| begin.eq_ignore_ascii_case(start)),
        None => name.eq_ignore_ascii_case(pattern),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_cannot_say_who_they_are() {
        let mut headers =
            Headers::of(&[("Accept-Language", "de"), ("Authorization", "Bearer ours")]);
        let said: Vec<(Cow<'_, str>, Cow<'_, str>)> = [
            ("accept-language", "en"),
            ("Authorization", "Bearer theirs"),
            ("authorization", "x"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("x_forwarded_for", "1.2.3.4"),
            ("X-Tidegate-User", "root"),
            ("X-User", "root"),
            ("Client-Cert-Chain", "x"),
            ("client_cert", "x"),
            ("Host", "evil"),
            ("Content-Length", "7"),
            ("Transfer-Encoding", "chunked"),
            ("Cookie", "a=b"),
            ("Sec-WebSocket-Key", "x"),
            ("X-Tenant", " acme "),
        ]
        .map(|(name, value)| (name.into(), value.into()))
        .into();
        add_from_client(
            &mut headers,
            &["accept-language".into(), "x_user".into()],
            &said,
        )
        .unwrap();
        let left: Vec<_> = headers
            .iter()
            .map(|field| (field.name.as_str(), field.value.as_bytes()))
            .collect();
        assert_eq!(
            left,
            [
                ("Authorization", &b"Bearer ours"[..]),
                ("accept-language", b"en"),
                ("X-Tenant", b"acme"),
            ]
        );
        for (name, value) in [("a b", "x"), ("", "x"), ("a", "x\r\ny: z"), ("a", "\0")] {
            let said = [(name.into(), value.into())];
            assert!(
                add_from_client(&mut headers, &[], &said).is_err(),
                "{name:?} {value:?}"
            );
        }
    }

    #[test]
    fn answers_show_what_is_allowed() {
        let mut headers = Headers::of(&[
            ("Content-Type", "a"),
            ("Set-Cookie", "a=b"),
            ("ETag", "1"),
            ("X-Total", "5"),
            ("Server", "nginx"),
        ]);
        for_client(&mut headers, &BridgeHeaders::default());
        let left: Vec<_> = headers.iter().map(|field| field.name.as_str()).collect();
        assert_eq!(left, ["Content-Type", "ETag", "X-Total"]);
    }
}
