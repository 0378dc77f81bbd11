//! URLs, hosts and origins as a configuration writes them.

use http::HeaderValue;

use super::defaults;
use super::error::Fault;
use super::yaml::{Quoted, nearest};
use crate::authority::Authority;
use crate::headers::is_token_byte;
use crate::router::Path;

/// Where an endpoint is: its authority (always with a port), and the path before every request
/// path, without the slash at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EndpointUrl {
    pub(super) authority: Authority,
    pub(super) path: Box<str>,
    /// The scheme is `https` or `wss`.
    pub(super) is_tls: bool,
}

/// Parses `http://host[:port][/path]`; `ws` means the same as `http`, and `wss` as `https`.
pub(super) fn endpoint(text: &str) -> Result<EndpointUrl, Fault> {
    let fault = |what: &str| Fault::new(format!("{} is no endpoint: {what}", Quoted(text)));
    let Some((scheme, rest)) = text.split_once("://") else {
        return Err(fault("it has no scheme").suggest(format!("write `http://{text}`")));
    };
    let is_tls = match scheme.to_ascii_lowercase().as_str() {
        "http" | "ws" => false,
        "https" | "wss" => true,
        other => {
            let fault = fault("its scheme is not one of ours");
            let meant = nearest(other, ["http", "https", "ws", "wss"]).unwrap_or("http");
            return Err(fault.suggest(format!("did you mean `{meant}://`?")));
        }
    };
    if rest.contains(['?', '#']) {
        let end = rest.find(['?', '#']).unwrap_or(rest.len());
        let kept = &rest[..end];
        return Err(
            fault("it has a query or a fragment").suggest(format!("write `{scheme}://{kept}`"))
        );
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return Err(fault("it has a user")
            .suggest("to send credentials, set the header `Authorization` by a filter"));
    }
    let authority = Authority::parse(authority.as_bytes())
        .and_then(|written| with_port(&written, is_tls))
        .map_err(|error| fault(&format!("{} is {error}", Quoted(authority))))?;
    if has_empty_label(authority.host()) {
        return Err(fault("a part of its name between dots is empty"));
    }
    if authority.port() == Some(0) {
        return Err(fault("port 0 cannot be connected to"));
    }
    let path = base_path(path).map_err(|what| fault(&what))?;
    Ok(EndpointUrl {
        authority,
        path,
        is_tls,
    })
}

/// Normalises a path that is put before others; it loses the slash at its end.
fn base_path(path: &str) -> Result<Box<str>, String> {
    if path.is_empty() || path == "/" {
        return Ok("".into());
    }
    if path.contains("//") {
        return Err("its path holds an empty segment".to_owned());
    }
    if !path.is_ascii() {
        return Err("its path holds letters that must be percent-encoded".to_owned());
    }
    let path = Path::compose(path).map_err(|error| format!("its path holds {error}"))?;
    let path = path.as_str();
    Ok(path.strip_suffix('/').unwrap_or(path).into())
}

fn with_port(
    authority: &Authority,
    is_tls: bool,
) -> Result<Authority, crate::authority::InvalidAuthority> {
    let default = if is_tls {
        defaults::ENDPOINT_TLS_PORT
    } else {
        defaults::ENDPOINT_PORT
    };
    let port = authority.port().unwrap_or(default);
    Authority::parse(format!("{}:{port}", authority.host()).as_bytes())
}

/// Whether a name has nothing between two of its dots, or before its first. The dot at the end
/// that makes a name absolute is none of these.
pub(super) fn has_empty_label(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    host.split('.').any(str::is_empty)
}

/// Parses `host[:port]`, the value of `Host`.
pub(super) fn host(text: &str) -> Result<Authority, Fault> {
    let authority = Authority::parse(text.as_bytes()).map_err(|error| {
        let fault = Fault::new(format!("{} is {error}", Quoted(text)));
        match text.split_once("://") {
            Some((_, rest)) => fault.suggest(format!(
                "write `{}`",
                rest.split('/').next().unwrap_or_default()
            )),
            None => fault.suggest("write `keep`, `rewrite`, or `app.example:80`"),
        }
    })?;
    if has_empty_label(authority.host()) {
        let fault = Fault::new(format!("{} is not a host", Quoted(text)));
        return Err(fault.suggest("a part of its name between dots is empty"));
    }
    Ok(authority)
}

/// Parses an origin as browsers send it: `scheme://host[:port]`, or `null`.
pub(super) fn origin(text: &str) -> Result<HeaderValue, Fault> {
    let fault = || Fault::new(format!("{} is not an origin", Quoted(text)));
    let invalid = || fault().suggest("write `https://app.example`");
    if text == "null" {
        return Ok(HeaderValue::from_static("null"));
    }
    let (scheme, rest) = text.split_once("://").ok_or_else(invalid)?;
    if let Some(host) = rest.strip_suffix('/').filter(|host| !host.contains('/')) {
        return Err(fault().suggest(format!("write `{scheme}://{host}`, without the slash")));
    }
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_token_byte);
    Authority::parse(rest.as_bytes())
        .ok()
        .filter(|_| is_scheme)
        .and_then(|_| HeaderValue::from_str(text).ok())
        .ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (text, authority, path) in [
            ("ws://10.0.0.7:9000/base", "10.0.0.7:9000", "/base"),
            ("http://H.example", "h.example:80", ""),
            ("HTTP://h/", "h:80", ""),
            ("https://h", "h:443", ""),
            ("wss://h:8443/a", "h:8443", "/a"),
            ("http://[::1]:8080/a/b%20c/", "[::1]:8080", "/a/b%20c"),
        ] {
            let url = endpoint(text).unwrap();
            assert_eq!(url.authority.to_string(), authority, "{text}");
            assert_eq!(&*url.path, path, "{text}");
        }
        for (text, part) in [
            ("", "no scheme"),
            ("h:8080", "write `http://h:8080`"),
            ("htpp://h", "did you mean `http://`?"),
            ("http://u:p@h/", "it has a user"),
            ("http://h/a?b=1", "write `http://h/a`"),
            ("http://h#f", "write `http://h`"),
            ("http://", "not a host"),
            ("http://h:99999", "not a host"),
            ("http://h:0", "port 0"),
            ("http://a..b", "between dots is empty"),
            ("http://.a:80", "between dots is empty"),
            ("http://h/a//b", "empty segment"),
            ("http://h//", "empty segment"),
            ("http://h/../b", "a dot segment"),
            ("http://h/a b", "an unencoded"),
            ("http://h/%2", "two hex digits"),
            ("http://h/ä", "percent-encoded"),
        ] {
            let said = format!("{:?}", endpoint(text).unwrap_err());
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn origins_and_hosts() {
        assert_eq!(
            origin("https://a.example:8443").unwrap(),
            "https://a.example:8443"
        );
        assert!(origin("null").is_ok());
        assert!(origin("a.example").is_err());
        assert!(origin("https://a/b").is_err());
        let said = origin("https://a.example/")
            .unwrap_err()
            .suggestion
            .unwrap();
        assert!(said.contains("`https://a.example`"));
        let said = host("http://a.example/x").unwrap_err().suggestion.unwrap();
        assert!(said.contains("`a.example`"));
        assert!(host("a..b").is_err() && host(".a:80").is_err());
        assert!(host("a.example.").is_ok() && host("[::1]:80").is_ok());
    }
}
