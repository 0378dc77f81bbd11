//! Who the client is, as one proxy tells the next: `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC
//! 7239). What an untrusted peer says is removed and made anew; the word of a trusted proxy is kept
//! and added to.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

use crate::authority::Authority;
use crate::exchange::Exchange;
use crate::headers::{FieldName, Headers};

/// What the proxies in front of us told.
#[derive(Debug, Default)]
struct Told {
    /// Addresses from the client's on, as written; some proxies write names that hide one.
    nodes: Vec<String>,
    proto: Option<String>,
    host: Option<String>,
}

/// The client's address: the peer's, or, behind trusted proxies, the right-most address that is none
/// of theirs, from `X-Forwarded-For` or, where that is missing, from `Forwarded`.
pub(crate) fn client_address(
    peer: IpAddr,
    headers: &Headers,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    for node in told(headers).nodes.iter().rev() {
        // What cannot be read hides who stood behind it.
        let Some(address) = parse_address(node) else {
            break;
        };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// Removes what a peer may not say: all of it from one that is not trusted, from a trusted one the
/// names with underscores. Before any filter runs, so that what a filter sets stays.
pub(crate) fn distrust(headers: &mut Headers, trusted: bool) {
    headers.retain(|field| {
        let name = field.name.as_str();
        // The address that we find ourselves is the one that counts.
        !tells_of_client(name) || trusted && !name.contains('_') && !field.name.is("x-real-ip")
    });
}

/// Tells the upstream who the client is, adding to what trusted proxies and filters say.
pub(crate) fn tell_upstream(headers: &mut Headers, exchange: &Exchange) {
    let downstream = &exchange.downstream;
    let told = told(headers);
    let before = headers.contains("forwarded");
    let peer = downstream.peer.ip().to_canonical();
    let own_proto = if downstream.secure { "https" } else { "http" };
    let own_host = exchange.authority.as_ref().map(ToString::to_string);
    let proto = told.proto.as_deref().unwrap_or(own_proto);
    let host = told.host.as_deref().or(own_host.as_deref());
    // The port goes with the host and the scheme: whoever told those decides on it.
    let named = host.and_then(|host| Authority::parse(host.as_bytes()).ok());
    let default_port = if proto.eq_ignore_ascii_case("https") {
        443
    } else {
        80
    };
    let port = named
        .as_ref()
        .and_then(Authority::port)
        .unwrap_or(default_port);

    let mut nodes = told.nodes.clone();
    nodes.push(peer.to_string());
    set(headers, "X-Forwarded-For", &nodes.join(", "));
    set_if_absent(headers, "X-Forwarded-Proto", proto);
    if let Some(host) = host {
        set_if_absent(headers, "X-Forwarded-Host", host);
    }
    set_if_absent(headers, "X-Forwarded-Port", &port.to_string());
    set_if_absent(headers, "X-Real-IP", &exchange.client.to_string());

    let mut forwarded = String::new();
    if before {
        for value in headers
            .get_all("forwarded")
            .filter_map(|value| value.to_str().ok())
        {
            let _ = write!(forwarded, "{value}, ");
        }
        write_element(
            &mut forwarded,
            &peer.to_string(),
            own_host.as_deref(),
            Some(own_proto),
        );
    } else {
        // The first element is the client's, so it is the one that knows host and scheme.
        for (place, node) in nodes.iter().enumerate() {
            let first = place == 0;
            let separator = if first { "" } else { ", " };
            forwarded.push_str(separator);
            write_element(
                &mut forwarded,
                node,
                host.filter(|_| first),
                Some(proto).filter(|_| first),
            );
        }
    }
    set(headers, "Forwarded", &forwarded);
}

/// Reads what `X-Forwarded-*` say, and from `Forwarded` what they do not.
fn told(headers: &Headers) -> Told {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let listed = headers
        .list("x-forwarded-for")
        .filter_map(|node| std::str::from_utf8(node).ok());
    let mut told = Told {
        nodes: listed.map(str::to_owned).collect(),
        proto: text("x-forwarded-proto"),
        host: text("x-forwarded-host"),
    };
    let elements: Vec<_> = headers
        .get_all("forwarded")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| split_unquoted(value, ','))
        .collect();
    if told.nodes.is_empty() {
        told.nodes = elements
            .iter()
            .filter_map(|element| parameter(element, "for"))
            .collect();
    }
    if let Some(first) = elements.first() {
        told.proto = told.proto.or_else(|| parameter(first, "proto"));
        told.host = told.host.or_else(|| parameter(first, "host"));
    }
    told
}

/// The value of one parameter of an element, without its quotes.
fn parameter(element: &str, name: &str) -> Option<String> {
    split_unquoted(element, ';').into_iter().find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        let value = value.trim();
        let bare = value
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(value);
        // An escape has no place in an address, a scheme or a host.
        (key.trim().eq_ignore_ascii_case(name) && !bare.contains(['"', '\\']))
            .then(|| bare.to_owned())
    })
}

/// Splits at `separator` where it does not stand in quotes.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let mut quoted = false;
    text.split(|character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
    .map(str::trim)
    .filter(|part| !part.is_empty())
    .collect()
}

/// Writes one element (RFC 7239 section 4).
fn write_element(into: &mut String, node: &str, host: Option<&str>, proto: Option<&str>) {
    let node = match parse_address(node) {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        Some(IpAddr::V4(address)) => address.to_string(),
        None => node.to_owned(),
    };
    let parameters = [
        ("for", Some(node.as_str())),
        ("host", host),
        ("proto", proto),
    ];
    for (place, (name, value)) in parameters
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
        .enumerate()
    {
        let separator = if place == 0 { "" } else { ";" };
        // What is no token is quoted: a colon, a bracket.
        let token = value.bytes().all(crate::headers::is_token_byte);
        let quote = if token { "" } else { "\"" };
        // Formatting into memory does not fail.
        let _ = write!(
            into,
            "{separator}{name}={quote}{}{quote}",
            value.replace(['"', '\\'], "")
        );
    }
}

/// Whether a name is one by which a proxy tells of the client, also when written with underscores,
/// which many applications take for hyphens.
pub(crate) fn tells_of_client(name: &str) -> bool {
    const PREFIX: &str = "x-forwarded-";
    let same =
        |left: u8, right: u8| left.eq_ignore_ascii_case(&right) || left == b'_' && right == b'-';
    let begins = |known: &str| {
        name.len() >= known.len()
            && name
                .bytes()
                .zip(known.bytes())
                .all(|(left, right)| same(left, right))
    };
    let is = |known: &str| name.len() == known.len() && begins(known);
    is("forwarded") || is("x-real-ip") || begins(PREFIX)
}

fn set_if_absent(headers: &mut Headers, name: &'static str, value: &str) {
    if !headers.contains(name) {
        set(headers, name, value);
    }
}

fn set(headers: &mut Headers, name: &'static str, value: &str) {
    // Made of addresses and of values that were legal before.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.set(FieldName::from_static(name), value);
    }
}

/// An address with or without a port.
fn parse_address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let bare = bracketed.map_or(text, |(address, _port)| address);
    let address = bare
        .parse()
        .or_else(|_port| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_with_underscores_are_known() {
        for name in [
            "X_Forwarded_For",
            "x-forwarded_proto",
            "X-Forwarded-Anything",
            "FORWARDED",
            "X_Real_IP",
        ] {
            assert!(tells_of_client(name), "{name}");
        }
        assert!(!tells_of_client("X-Forward"));
    }

    #[test]
    fn the_client_is_the_right_most_untrusted_address() {
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let of = |peer: &str, name: &'static str, list: &'static str| {
            client_address(
                peer.parse().unwrap(),
                &Headers::of(&[(name, list)]),
                trusted,
            )
            .to_string()
        };
        assert_eq!(
            of("10.0.0.1", "X-Forwarded-For", "6.6.6.6, 7.7.7.7, 10.0.0.2"),
            "7.7.7.7"
        );
        assert_eq!(of("5.5.5.5", "X-Forwarded-For", "6.6.6.6"), "5.5.5.5");
        assert_eq!(of("10.0.0.1", "X-Forwarded-For", "10.0.0.9"), "10.0.0.9");
        assert_eq!(
            of("10.0.0.1", "X-Forwarded-For", "6.6.6.6, junk"),
            "10.0.0.1"
        );
        assert_eq!(
            of("10.0.0.1", "X-Forwarded-For", "[2001:db8::1]:443"),
            "2001:db8::1"
        );
        assert_eq!(
            of(
                "10.0.0.1",
                "Forwarded",
                "for=8.8.8.8;proto=https, For=\"[2001:db8::2]:1\""
            ),
            "2001:db8::2"
        );
        assert_eq!(of("10.0.0.1", "Forwarded", "for=_hidden"), "10.0.0.1");
    }

    #[test]
    fn quotes_hide_separators() {
        assert_eq!(
            split_unquoted("for=\"a,b\";x=1, for=c", ','),
            ["for=\"a,b\";x=1", "for=c"]
        );
        assert_eq!(
            parameter("For=\"[::1]\"; proto=https", "for").as_deref(),
            Some("[::1]")
        );
        assert_eq!(parameter("For=\"a\\\"b\"", "for"), None);
    }
}
