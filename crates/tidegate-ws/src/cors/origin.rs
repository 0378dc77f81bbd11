//! Origins as browsers send them (RFC 6454 section 6.2), and the patterns that they are compared to.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// What the lines of a request's `Origin` say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin<'a> {
    /// There is none.
    Missing,
    /// `null`: a page without an origin of its own, such as a sandboxed frame or a local file. It
    /// is never allowed, because every page can make itself one.
    Null,
    /// An origin.
    Of(WebOrigin<'a>),
    /// One line that is no origin, or more than one.
    Malformed,
}

/// A scheme, a host and a port.
#[derive(Debug, Clone, Copy)]
pub struct WebOrigin<'a> {
    text: &'a str,
    scheme: &'a str,
    host: Host<'a>,
    /// `None`: the scheme's own.
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy)]
enum Host<'a> {
    Name(&'a str),
    V6(Ipv6Addr),
}

/// Where a request was sent to, to compare its `Origin` with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Own<'a> {
    /// The scheme that the client used: `http` or `https` (or `ws`, `wss`). `None` where that is
    /// not known, as behind a peer that ends TLS: then the host and port decide, with the port
    /// that the origin's own scheme implies.
    pub scheme: Option<&'a str>,
    /// The host and port: the value of `Host`, or the authority of the target.
    pub authority: Option<&'a str>,
}

/// An origin that is allowed, or a family of them.
///
/// | text | means |
/// |---|---|
/// | `https://app.example.com` | that one |
/// | `https://*.example.com` | every host below `example.com`, at any depth, but not that itself |
/// | `http://localhost:*` | the host with any port |
/// | `*` | every origin, but not `null` |
///
/// A scheme's own port may be left out. Compared without regard to case. Hosts are written as they
/// are sent: names of other alphabets in their `xn--` form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OriginPattern(Pattern);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Any,
    Of {
        /// In lower case.
        scheme: Box<str>,
        host: HostPattern,
        port: PortPattern,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    /// In lower case.
    Name(Box<str>),
    /// In lower case, with the dot in front: `.example.com`.
    Below(Box<str>),
    V6(Ipv6Addr),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PortPattern {
    Any,
    /// `None`: the scheme's own.
    Is(Option<u16>),
}

/// A text that is no origin and no pattern of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MalformedOrigin(&'static str);

impl<'a> Origin<'a> {
    /// Reads all lines of `Origin`.
    pub fn parse(mut lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let (Some(line), second) = (lines.next(), lines.next()) else {
            return Self::Missing;
        };
        if second.is_some() {
            return Self::Malformed;
        }
        if line == b"null" {
            return Self::Null;
        }
        std::str::from_utf8(line)
            .ok()
            .and_then(WebOrigin::parse)
            .map_or(Self::Malformed, Self::Of)
    }
}

impl<'a> WebOrigin<'a> {
    /// Reads `scheme://host[:port]`, and nothing besides.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = split_port(authority)?;
        Some(Self {
            text,
            scheme: is_scheme(scheme).then_some(scheme)?,
            host: Host::parse(host)?,
            port: port.filter(|port| Some(*port) != own_port(scheme)),
        })
    }

    /// As it was written.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// Whether a page of this origin that sends to `own` sends to its own origin.
    #[must_use]
    pub fn is_same(&self, own: Own<'_>) -> bool {
        let scheme = match own.scheme {
            Some(scheme) if scheme.eq_ignore_ascii_case("ws") => "http",
            Some(scheme) if scheme.eq_ignore_ascii_case("wss") => "https",
            Some(scheme) => scheme,
            None => self.scheme,
        };
        let Some((host, port)) = own.authority.and_then(split_port) else {
            return false;
        };
        let port = port.filter(|port| Some(*port) != own_port(scheme));
        own_port(scheme).is_some()
            && self.scheme.eq_ignore_ascii_case(scheme)
            && self.port == port
            && Host::parse(host).is_some_and(|host| self.host == host)
    }
}

impl PartialEq for WebOrigin<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.scheme.eq_ignore_ascii_case(other.scheme)
            && self.host == other.host
            && self.port == other.port
    }
}

impl Eq for WebOrigin<'_> {}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            return rest.strip_suffix(']')?.parse().ok().map(Self::V6);
        }
        is_name(text).then_some(Self::Name(text))
    }
}

impl PartialEq for Host<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Name(one), Self::Name(two)) => one.eq_ignore_ascii_case(two),
            (Self::V6(one), Self::V6(two)) => one == two,
            _ => false,
        }
    }
}

impl OriginPattern {
    /// Every origin.
    pub const ANY: Self = Self(Pattern::Any);

    /// Whether this is `*`.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        matches!(self.0, Pattern::Any)
    }

    /// Whether the origin is this one, or of this family.
    #[must_use]
    pub fn matches(&self, origin: &WebOrigin<'_>) -> bool {
        let Pattern::Of { scheme, host, port } = &self.0 else {
            return true;
        };
        let is_port = match port {
            PortPattern::Any => true,
            PortPattern::Is(port) => *port == origin.port,
        };
        is_port && scheme.eq_ignore_ascii_case(origin.scheme) && host.matches(origin.host)
    }
}

impl HostPattern {
    fn matches(&self, host: Host<'_>) -> bool {
        match (self, host) {
            (Self::Name(name), Host::Name(host)) => name.eq_ignore_ascii_case(host),
            (Self::Below(suffix), Host::Name(host)) => {
                // The dot is part of the suffix, so no other domain ends in it.
                let labels = host.len().checked_sub(suffix.len());
                labels.filter(|labels| *labels > 0).is_some_and(|labels| {
                    host.get(labels..)
                        .is_some_and(|end| end.eq_ignore_ascii_case(suffix))
                })
            }
            (Self::V6(address), Host::V6(host)) => *address == host,
            _ => false,
        }
    }
}

impl FromStr for OriginPattern {
    type Err = MalformedOrigin;

    fn from_str(text: &str) -> Result<Self, MalformedOrigin> {
        if text == "*" {
            return Ok(Self::ANY);
        }
        if text == "null" {
            return Err(MalformedOrigin(
                "the origin \"null\" cannot be allowed: every page can make itself one",
            ));
        }
        let (scheme, authority) = text
            .split_once("://")
            .filter(|(scheme, _)| is_scheme(scheme))
            .ok_or(MalformedOrigin(
                "an origin begins with a scheme: https://host",
            ))?;
        let (authority, port) = match authority.strip_suffix(":*") {
            Some(host) => (host, PortPattern::Any),
            None => {
                let (host, port) = split_port(authority).ok_or(MalformedOrigin(
                    "the port of an origin is a number up to 65535, or *",
                ))?;
                let port = port.filter(|port| Some(*port) != own_port(scheme));
                (host, PortPattern::Is(port))
            }
        };
        let host = HostPattern::parse(authority).ok_or(MalformedOrigin(
            "an origin is scheme://host or scheme://host:port without a path; \"*.\" may stand for \
             whole labels at the front of the host, which is written as it is sent",
        ))?;
        Ok(Self(Pattern::Of {
            scheme: scheme.to_ascii_lowercase().into(),
            host,
            port,
        }))
    }
}

impl HostPattern {
    fn parse(text: &str) -> Option<Self> {
        if let Some(domain) = text.strip_prefix("*.") {
            // `*.1` would be a family of addresses.
            let last = domain.rsplit('.').next()?;
            let is_domain = is_name(domain) && !last.bytes().all(|byte| byte.is_ascii_digit());
            return is_domain
                .then(|| Self::Below(format!(".{domain}").to_ascii_lowercase().into()));
        }
        Some(match Host::parse(text)? {
            Host::Name(name) => Self::Name(name.to_ascii_lowercase().into()),
            Host::V6(address) => Self::V6(address),
        })
    }
}

impl fmt::Display for OriginPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pattern::Of { scheme, host, port } = &self.0 else {
            return f.write_str("*");
        };
        write!(f, "{scheme}://")?;
        match host {
            HostPattern::Name(name) => f.write_str(name)?,
            HostPattern::Below(suffix) => write!(f, "*{suffix}")?,
            HostPattern::V6(address) => write!(f, "[{address}]")?,
        }
        match port {
            PortPattern::Any => f.write_str(":*"),
            PortPattern::Is(Some(port)) => write!(f, ":{port}"),
            PortPattern::Is(None) => Ok(()),
        }
    }
}

/// `host[:port]`; `None` when there is a port that is none.
fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    let behind = authority.rfind(']').map_or(0, |bracket| bracket + 1);
    let Some(colon) = authority.get(behind..)?.find(':') else {
        return Some((authority, None));
    };
    let (host, port) = authority.split_at_checked(behind + colon)?;
    let port = port.strip_prefix(':')?;
    // `u16` would take a sign.
    if !port.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    Some((host, Some(port.parse().ok()?)))
}

fn own_port(scheme: &str) -> Option<u16> {
    match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => Some(80),
        _ if scheme.eq_ignore_ascii_case("https") => Some(443),
        _ => None,
    }
}

/// RFC 3986 section 3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// A host that is a name or an IPv4 address: labels of letters, digits, `-` and `_`.
fn is_name(text: &str) -> bool {
    let labels = text.strip_suffix('.').unwrap_or(text);
    labels.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    })
}
