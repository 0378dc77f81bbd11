//! Who a request is meant for: the value of `Host`, or the authority of an absolute target.

use std::fmt;
use std::io::Write as _;
use std::net::Ipv6Addr;

/// A host with an optional port (RFC 9110 section 7.2), checked and lower-cased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authority {
    host: Box<str>,
    port: Option<u16>,
}

/// The bytes are not `host[:port]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a host with an optional port")]
pub struct InvalidAuthority;

impl Authority {
    /// Parses `host[:port]`: a name of letters, digits, `-`, `.`, `_`, an IPv4 address, or an IPv6
    /// address in brackets. User information, spaces and empty hosts are errors.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidAuthority> {
        let text = std::str::from_utf8(bytes).map_err(|_not_text| InvalidAuthority)?;
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (address, after) = rest.split_once(']').ok_or(InvalidAuthority)?;
            address
                .parse::<Ipv6Addr>()
                .map_err(|_not_ipv6| InvalidAuthority)?;
            (&text[..address.len() + 2], after)
        } else {
            let end = text.find(':').unwrap_or(text.len());
            let host = &text[..end];
            let is_host_byte =
                |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if host.is_empty() || host.len() > 255 || !host.bytes().all(is_host_byte) {
                return Err(InvalidAuthority);
            }
            (host, &text[end..])
        };
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => None,
            None => return Err(InvalidAuthority),
            Some("") => None, // RFC 3986 section 3.2.3: an empty port is the default one
            Some(digits)
                if digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit()) =>
            {
                Some(digits.parse().map_err(|_too_large| InvalidAuthority)?)
            }
            Some(_) => return Err(InvalidAuthority),
        };
        Ok(Self {
            host: host.to_ascii_lowercase().into(),
            port,
        })
    }

    /// The host in lower case; an IPv6 address stands in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether `text` is how it is written, in any case.
    pub(crate) fn is_written(&self, text: &[u8]) -> bool {
        let Some((host, rest)) = text.split_at_checked(self.host.len()) else {
            return false;
        };
        let is_port = match self.port {
            None => rest.is_empty(),
            Some(port) => {
                let mut written = [0; ":65535".len()];
                let mut room = &mut written[..];
                let fits = write!(room, ":{port}").is_ok();
                let unused = room.len();
                fits && rest == &written[..written.len() - unused]
            }
        };
        is_port && host.eq_ignore_ascii_case(self.host.as_bytes())
    }

    /// The port, where one was written.
    #[must_use]
    pub const fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_how_it_is_written() {
        for (text, same, others) in [
            (
                "Example.com",
                "eXample.com",
                ["example.com:80", "example.co", "example.comm"],
            ),
            ("a:8080", "A:8080", ["a", "a:808", "a:80800"]),
            (
                "[::1]:65535",
                "[::1]:65535",
                ["[::1]", "[::1]:6553", "[::1]:065535"],
            ),
        ] {
            let authority = Authority::parse(text.as_bytes()).unwrap();
            assert!(authority.is_written(same.as_bytes()), "{same}");
            assert!(
                others
                    .iter()
                    .all(|other| !authority.is_written(other.as_bytes()))
            );
        }
    }

    #[test]
    fn hosts_and_ports() {
        let parse =
            |text: &str| Authority::parse(text.as_bytes()).map(|authority| authority.to_string());
        assert_eq!(parse("Example.COM:8080").unwrap(), "example.com:8080");
        assert_eq!(parse("[::1]:80").unwrap(), "[::1]:80");
        assert_eq!(parse("a:").unwrap(), "a");
        for bad in [
            "", ":80", "a b", "user@a", "a:b", "a:99999", "[::1", "[x]", "a/b", "a:80:80",
            "[::1]80", "a,b", "a:+80",
        ] {
            assert_eq!(parse(bad), Err(InvalidAuthority), "{bad:?}");
        }
    }
}
