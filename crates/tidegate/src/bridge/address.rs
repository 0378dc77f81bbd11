//! Whom an envelope means: a service by its name and a path below it, never an address.

use bytes::Bytes;

use super::problem::Problem;
use crate::router::Path;

/// What `baseUrl` says: a name to be looked up, and a path before that of `uri`. Scheme and port
/// are the old clients' way of writing it, and mean nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Base<'a> {
    pub(super) service: &'a str,
    /// Begins with `/` and ends without one; empty where there is none.
    path: &'a str,
}

impl<'a> Base<'a> {
    /// Reads `http://name:port/path`, `lb://name`, or `name`. Whether the service may be called is
    /// for the caller to look up; what cannot be a service's name is refused here.
    pub(super) fn parse(text: &'a str) -> Result<Self, Problem> {
        let not_allowed =
            || Problem::service_not_allowed("no service of this bridge has that name");
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if is_scheme(scheme) => rest,
            Some(_) => return Err(not_allowed()),
            None => text,
        };
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let service = match authority.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            Some(_) => return Err(not_allowed()),
            None => authority,
        };
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if service.is_empty() || !service.bytes().all(is_name) {
            return Err(not_allowed());
        }
        if path.contains(['?', '#']) {
            return Err(Problem::invalid_uri(
                "a base URL has no query and no fragment",
            ));
        }
        Ok(Self {
            service,
            path: path.strip_suffix('/').unwrap_or(path),
        })
    }
}

fn is_scheme(text: &str) -> bool {
    ["http", "https", "lb", "ws", "wss"]
        .iter()
        .any(|known| text.eq_ignore_ascii_case(known))
}

/// The target of a call: what is routed and forwarded.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) path: Path,
    pub(super) query: Option<Bytes>,
}

/// Joins `uri` to the path of `base` with one slash between. Characters that may not stand in a URL
/// are percent-encoded, escapes are kept, dot segments are resolved and may not leave the base.
pub(super) fn target(base: &str, uri: &str) -> Result<Target, Problem> {
    if uri.starts_with("//") || has_scheme(uri) {
        return Err(Problem::invalid_uri(
            "uri is a path below the service, not a URL",
        ));
    }
    if let Some(byte) = uri
        .bytes()
        .find(|byte| matches!(byte, b'\\' | b'#' | 0..=0x1f | 0x7f))
    {
        return Err(Problem::invalid_uri(format!(
            "uri holds the byte 0x{byte:02x}"
        )));
    }
    let (path, query) = match uri.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (uri, None),
    };
    let path = path.strip_prefix('/').unwrap_or(path);
    let mut joined = String::with_capacity(base.len() + 1 + path.len());
    encode(&mut joined, base, is_path_byte);
    let base_length = joined.len();
    joined.push('/');
    encode(&mut joined, path, is_path_byte);
    let normal = |text: &str| {
        Path::normalise(text.as_bytes())
            .map_err(|error| Problem::invalid_uri(format!("uri: {error}")))
    };
    let whole = normal(&joined)?;
    if base_length > 0 {
        let base = normal(&joined[..base_length])?;
        let below = whole.as_str().strip_prefix(base.as_str());
        if !below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return Err(Problem::invalid_uri("uri leads out of the path of baseUrl"));
        }
    }
    let query = query.map(|query| {
        let mut text = String::with_capacity(query.len());
        encode(&mut text, query, is_query_byte);
        Bytes::from(text)
    });
    Ok(Target { path: whole, query })
}

impl Base<'_> {
    pub(super) fn target(&self, uri: &str) -> Result<Target, Problem> {
        target(self.path, uri)
    }
}

/// Whether `uri` begins with a scheme (RFC 3986 section 3.1). A first segment with a colon is taken
/// for one, as a URL parser would.
fn has_scheme(uri: &str) -> bool {
    let Some((scheme, _)) = uri.split_once(':') else {
        return false;
    };
    scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// `pchar` and the slash (RFC 3986 section 3.3), without the percent sign.
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&byte)
}

fn is_query_byte(byte: u8) -> bool {
    byte == b'?' || is_path_byte(byte)
}

/// Writes `text` with everything encoded that is neither `legal` nor an escape already.
fn encode(out: &mut String, text: &str, legal: fn(u8) -> bool) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let bytes = text.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        let escapes = byte == b'%'
            && matches!(bytes.get(at + 1..at + 3), Some(hex) if hex.iter().all(u8::is_ascii_hexdigit));
        if escapes || legal(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(DIGITS[usize::from(byte >> 4)]));
            out.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(base: &str, uri: &str) -> Result<String, &'static str> {
        let base = Base::parse(base).map_err(|problem| problem.code)?;
        let target = base.target(uri).map_err(|problem| problem.code)?;
        Ok(match target.query {
            Some(query) => format!("{}?{}", target.path, String::from_utf8_lossy(&query)),
            None => target.path.to_string(),
        })
    }

    #[test]
    fn bases_name_services() {
        for (text, service, path) in [
            ("account-service", "account-service", ""),
            ("http://account-service", "account-service", ""),
            ("LB://account-service:8080/api/", "account-service", "/api"),
            ("account-service/api/v2", "account-service", "/api/v2"),
            ("http://169.254.169.254", "169.254.169.254", ""), // a name that no table has
        ] {
            assert_eq!(Base::parse(text).unwrap(), Base { service, path }, "{text}");
        }
        for bad in [
            "",
            "/",
            "http://",
            "http:///x",
            "ftp://a",
            "file:///etc",
            "http://user@account-service",
            "http://user:1@account-service",
            "http://[::1]",
            "a b",
            "http://a%2eb",
            "a:b",
            "http://a\\b",
            "http://account-service\r\nHost: x",
            "hTTp://é",
            "a,b",
            "gopher://account-service",
        ] {
            assert_eq!(
                Base::parse(bad).unwrap_err().code,
                "service_not_allowed",
                "{bad}"
            );
        }
    }

    #[test]
    fn uris_are_paths_below_the_base() {
        for (base, uri, wanted) in [
            (
                "s",
                "findAllPaged?sort=id:desc",
                "/findAllPaged?sort=id:desc",
            ),
            ("s", "/me", "/me"),
            ("s", "", "/"),
            ("lb://s:1/api", "me", "/api/me"),
            ("lb://s:1/api/", "/me", "/api/me"),
            ("s/api", "", "/api/"),
            (
                "s",
                "/a b/{x}/\u{e9}%20z?q=1:2,3;4&s=\"t\"",
                "/a%20b/%7Bx%7D/%C3%A9%20z?q=1:2,3;4&s=%22t%22",
            ),
            ("s", "/a?u=http://x/?y", "/a?u=http://x/?y"),
            ("s", "/100%", "/100%25"),
            ("s", "/a/../b", "/b"),
            ("s/api", "a/../b", "/api/b"),
            ("s/api", "/../api/b", "/api/b"),
            ("s", "/a:b", "/a:b"),
            ("s", "/a//b", "/a//b"),
            ("s", "/[x]|^`?[y]", "/%5Bx%5D%7C%5E%60?%5By%5D"),
            ("s", "/%C3%A9", "/%C3%A9"),
        ] {
            assert_eq!(joined(base, uri).as_deref(), Ok(wanted), "{base} {uri}");
        }
        for (base, uri) in [
            ("s", "http://evil.example/x"),
            ("s", "//evil.example/x"),
            ("s", "a:b"),
            ("s", "/a\\b"),
            ("s", "/a\r\nHost: x"),
            ("s", "/a#b"),
            ("s", "/../x"),
            ("s", "/%2e%2e/x"),
            ("s/api", "../x"),
            ("s/api", "/../apix/y"),
            ("s/api", "%2e%2e/x"),
            ("s", "/a%00b"),
            ("s", "/a%5cb"),
            ("s", "/?a\0"),
        ] {
            assert_eq!(joined(base, uri), Err("invalid_uri"), "{base} {uri}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_joined_stays_below_the_base_and_is_legal(uri in "\\PC{0,40}") {
            if let Ok(text) = joined("s/api", &uri) {
                let below = text.strip_prefix("/api").unwrap();
                prop_assert!(below.is_empty() || below.starts_with(['/', '?']));
                prop_assert!(text.bytes().all(|byte| byte == b'%' || is_query_byte(byte)), "{}", text);
            }
        }

        #[test]
        fn dots_never_leave(uri in "[./%2eE/a]{0,16}") {
            if let Ok(text) = joined("s/api", &uri) {
                prop_assert!(text == "/api" || text.starts_with("/api/"), "{}", text);
            }
        }
    }
}
