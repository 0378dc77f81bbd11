//! Host patterns: for which names a route answers.

use std::fmt;

use crate::authority::Authority;

/// A host, or all names below one, with or without a port; compared without case.
///
/// `example.com` is this name alone and `*.example.com` any name below it, however deep, but not
/// itself. Without a port any port fits; with one the request's must be the same, where a request
/// that names none means 80, or 443 on a secure connection. A dot at the end of either is ignored,
/// because `example.com.` is the same host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    subdomains: bool,
    authority: Authority,
}

/// Why a text is not a host pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostPatternError {
    /// It is not a host with an optional port.
    #[error("a host pattern is `host`, `host:port` or `*.host`, an IPv6 address in brackets")]
    NotAHost,
    /// A `*` that is not a whole first label before a name.
    #[error("`*` can only stand first, before a dot and a name, as in `*.example.com`")]
    WildcardInside,
}

impl HostPattern {
    /// Parses a pattern.
    pub fn parse(text: &str) -> Result<Self, HostPatternError> {
        let below = text.strip_prefix("*.");
        let host = below.unwrap_or(text);
        if host.contains('*') {
            return Err(HostPatternError::WildcardInside);
        }
        let authority =
            Authority::parse(host.as_bytes()).map_err(|_invalid| HostPatternError::NotAHost)?;
        if below.is_some() && host.starts_with(['[', '.']) {
            return Err(HostPatternError::NotAHost); // an address has nothing below it
        }
        Ok(Self {
            subdomains: below.is_some(),
            authority,
        })
    }

    /// Whether a request for `authority` fits; `secure` tells which port it means by none.
    #[must_use]
    pub fn matches(&self, authority: &Authority, secure: bool) -> bool {
        let port = authority.port().unwrap_or(if secure { 443 } else { 80 });
        if self.authority.port().is_some_and(|wanted| wanted != port) {
            return false;
        }
        let (wanted, host) = (name(&self.authority), name(authority));
        if !self.subdomains {
            return host == wanted;
        }
        host.strip_suffix(wanted)
            .and_then(|labels| labels.strip_suffix('.'))
            .is_some_and(|labels| !labels.is_empty())
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.subdomains { "*." } else { "" };
        write!(f, "{below}{}", self.authority)
    }
}

fn name(authority: &Authority) -> &str {
    let host = authority.host();
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, host: &str, secure: bool) -> bool {
        let authority = Authority::parse(host.as_bytes()).unwrap();
        HostPattern::parse(pattern)
            .unwrap()
            .matches(&authority, secure)
    }

    #[test]
    fn a_name_fits_itself_and_a_wildcard_all_below() {
        for (pattern, host, wanted) in [
            ("example.com", "EXAMPLE.com", true),
            ("Example.com", "example.com:8080", true),
            ("example.com", "example.com.", true),
            ("example.com", "a.example.com", false),
            ("*.example.com", "a.example.com", true),
            ("*.example.com", "a.b.example.com:1", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("*.example.com", "badexample.com", false),
            ("[::1]:80", "[::1]", true),
        ] {
            assert_eq!(
                matches(pattern, host, false),
                wanted,
                "{pattern} for {host}"
            );
        }
    }

    #[test]
    fn a_port_is_compared_with_the_one_the_request_means() {
        assert!(matches("a:8443", "a:8443", true));
        assert!(!matches("a:8443", "a", true));
        assert!(matches("a:443", "a", true));
        assert!(!matches("a:443", "a", false));
        assert!(matches("a:80", "a", false));
        assert!(matches("*.a:80", "b.a", false));
    }

    #[test]
    fn what_is_no_host_is_refused() {
        use HostPatternError::*;
        for (text, wanted) in [
            ("", NotAHost),
            ("*", WildcardInside),
            ("*.", NotAHost),
            ("*.*.a", WildcardInside),
            ("a.*", WildcardInside),
            ("*a.b", WildcardInside),
            ("*.[::1]", NotAHost),
            ("*..a", NotAHost),
            ("a b", NotAHost),
            ("http://a", NotAHost),
            ("a:port", NotAHost),
        ] {
            assert_eq!(HostPattern::parse(text), Err(wanted), "{text}");
        }
        assert_eq!(
            HostPattern::parse("*.A.b:1").unwrap().to_string(),
            "*.a.b:1"
        );
    }
}
