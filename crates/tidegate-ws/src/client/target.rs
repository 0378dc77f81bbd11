//! Where a URL leads.

use http::Uri;
use http::uri::PathAndQuery;

use super::ClientError;

/// A URL of a WebSocket, taken apart (RFC 6455 section 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) is_tls: bool,
    /// Without the brackets of an address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Host`.
    pub(super) authority: String,
    /// What stands in the request line.
    pub(super) path: String,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, ClientError> {
        // `http::Uri` would drop it, but none can be in such a URL.
        if url.contains('#') {
            return Err(ClientError::Url("it has a fragment"));
        }
        let uri: Uri = url
            .parse()
            .map_err(|_malformed| ClientError::Url("it cannot be parsed"))?;
        // `http::Uri` keeps the case of schemes that it does not know.
        let scheme = uri.scheme_str().unwrap_or_default().to_ascii_lowercase();
        let is_tls = match scheme.as_str() {
            "ws" | "http" => false,
            "wss" | "https" => true,
            _ => return Err(ClientError::Url("its scheme is not ws or wss")),
        };
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err(ClientError::Url("it has a user's name; send a header"));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or(ClientError::Url("it has no host"))?;
        let own_port = if is_tls { 443 } else { 80 };
        let port = match authority.strip_prefix(host) {
            Some("" | ":") => own_port,
            _ => uri
                .port_u16()
                .filter(|port| *port > 0)
                .ok_or(ClientError::Url("its port is none"))?,
        };
        let authority = match port {
            port if port == own_port => host.to_owned(),
            port => format!("{host}:{port}"),
        };
        let bare = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        Ok(Self {
            is_tls,
            host: bare.unwrap_or(host).to_owned(),
            port,
            authority,
            path: target(uri.path_and_query()),
            uri,
        })
    }
}

/// The path with its query; an empty path is the root.
fn target(path: Option<&PathAndQuery>) -> String {
    match path.map_or("", PathAndQuery::as_str) {
        rooted if rooted.starts_with('/') => rooted.to_owned(),
        rest => format!("/{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (bool, String, u16, String, String) {
        let target = Target::parse(url).unwrap();
        let Target {
            is_tls,
            host,
            port,
            authority,
            path,
            ..
        } = target;
        (is_tls, host, port, authority, path)
    }

    fn wanted(
        (is_tls, host, port): (bool, &str, u16),
        authority: &str,
        path: &str,
    ) -> (bool, String, u16, String, String) {
        (is_tls, host.into(), port, authority.into(), path.into())
    }

    #[test]
    fn urls() {
        assert_eq!(parsed("ws://a"), wanted((false, "a", 80), "a", "/"));
        assert_eq!(
            parsed("wss://a/b?c=d"),
            wanted((true, "a", 443), "a", "/b?c=d")
        );
        assert_eq!(parsed("ws://a?c"), wanted((false, "a", 80), "a", "/?c"));
        assert_eq!(
            parsed("http://a:81/"),
            wanted((false, "a", 81), "a:81", "/")
        );
        assert_eq!(parsed("https://a:443/"), wanted((true, "a", 443), "a", "/"));
        assert_eq!(
            parsed("ws://[::1]:80/x"),
            wanted((false, "::1", 80), "[::1]", "/x")
        );
        assert_eq!(
            parsed("wss://[::1]:9/"),
            wanted((true, "::1", 9), "[::1]:9", "/")
        );
        assert_eq!(parsed("WS://a:/"), wanted((false, "a", 80), "a", "/"));
    }

    #[test]
    fn what_is_no_url_of_a_websocket() {
        for url in [
            "",
            "a",
            "/a",
            "ws:///a",
            "ws://",
            "ws://:80/",
            "ftp://a/",
            "ws://user@a/",
            "ws://user:word@a/",
            "ws://a/#b",
            "ws://a:0/",
            "ws://a:65536/",
            "ws://a:b/",
            "ws://a b/",
            "ws://a/b c",
            "ws://a/\r\nx: y",
        ] {
            let refused = Target::parse(url);
            assert!(
                matches!(refused, Err(ClientError::Url(_))),
                "{url:?}: {refused:?}"
            );
        }
    }
}
