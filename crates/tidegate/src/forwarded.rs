//! Who the client is, as one proxy tells the next: `X-Forwarded-*`, `X-Real-IP` and `Forwarded` (RFC
//! 7239). What an untrusted peer says is removed and made anew; the word of a trusted proxy is kept
//! and added to.

mod tell;

use std::net::{IpAddr, SocketAddr};

use http::HeaderValue;

use crate::authority::Authority;
use crate::config::plan::ForwardedHeader;
use crate::headers::Headers;

use self::tell::set;
pub(crate) use self::tell::{tell_of_certificate, tell_upstream};

/// What the proxies in front of us told.
#[derive(Debug, Default)]
struct Told {
    /// Addresses from the client's on, as written; some proxies write names that hide one.
    nodes: Vec<String>,
    proto: Option<String>,
    host: Option<String>,
}

/// The client's address: the peer's, or, behind trusted proxies, the right-most address that is none
/// of theirs. What nobody may say is gone from `headers` already: see [`distrust`].
pub(crate) fn client_address(
    peer: IpAddr,
    headers: &Headers,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    for node in nodes(headers).iter().rev() {
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

/// Removes what a peer may not say: all of it where none is `believed`. Of what is, the words of one
/// who cannot be read are removed, and all before them, for they hide who stood there; and names with
/// underscores. Before any filter runs, so that what a filter sets stays.
pub(crate) fn distrust(headers: &mut Headers, believed: Option<ForwardedHeader>) {
    headers.retain(|field| {
        let name = field.name.as_str();
        // A proxy in front of us may be trusted with addresses, but it signs for nobody.
        if tells_of_user(name) {
            return false;
        }
        let is_believed = || match believed {
            None => false,
            Some(ForwardedHeader::Forwarded) => field.name.is("forwarded"),
            // The address that we find ourselves is the one that counts.
            Some(ForwardedHeader::XForwardedFor) => {
                !name.contains('_') && !field.name.is("x-real-ip") && !field.name.is("forwarded")
            }
        };
        !tells_of_client(name) || is_believed()
    });
    match believed {
        None => {}
        Some(ForwardedHeader::Forwarded) => {
            let lines = headers.get_all("forwarded").map(HeaderValue::to_str);
            let lines = lines.map(|line| split_unquoted(line.ok()?, ','));
            let legible = readable_end(lines, is_element);
            replace(headers, "Forwarded", legible);
        }
        Some(ForwardedHeader::XForwardedFor) => {
            let lines = headers.get_all("x-forwarded-for").map(HeaderValue::to_str);
            let lines = lines.map(|line| Some(split(line.ok()?, ',')));
            let legible = readable_end(lines, |node| parse_address(node).is_some());
            replace(headers, "X-Forwarded-For", legible);
            keep_if_all(headers, "x-forwarded-proto", is_scheme);
            keep_if_all(headers, "x-forwarded-host", is_host);
            keep_if_all(headers, "x-forwarded-port", is_port);
        }
    }
}

/// The elements of a list over several lines, from the last one that cannot be read on. A line that
/// is no list cannot be.
fn readable_end<'h>(
    lines: impl Iterator<Item = Option<Vec<&'h str>>>,
    can_be_read: impl Fn(&str) -> bool,
) -> Option<String> {
    let mut end = Vec::new();
    let mut is_whole = true;
    for line in lines {
        let Some(elements) = line else {
            end.clear();
            is_whole = false;
            continue;
        };
        for element in elements {
            if can_be_read(element) {
                end.push(element);
            } else {
                end.clear();
                is_whole = false;
            }
        }
    }
    (!is_whole).then(|| end.join(", "))
}

/// Writes what is left of a list, where that is not all of it.
fn replace(headers: &mut Headers, name: &'static str, legible: Option<String>) {
    match legible {
        None => {}
        Some(none) if none.is_empty() => headers.retain(|field| !field.name.is(name)),
        Some(list) => set(headers, name, &list),
    }
}

/// Removes a field of which a member is not what it should be.
fn keep_if_all(headers: &mut Headers, name: &'static str, is_good: impl Fn(&str) -> bool) {
    let is_good_line = |value: &HeaderValue| {
        let members = value.to_str().map(|line| split(line, ','));
        members.is_ok_and(|members| !members.is_empty() && members.into_iter().all(&is_good))
    };
    if !headers.get_all(name).all(is_good_line) {
        headers.retain(|field| !field.name.is(name));
    }
}

fn is_scheme(text: &str) -> bool {
    ["http", "https", "ws", "wss"]
        .iter()
        .any(|known| text.eq_ignore_ascii_case(known))
}

fn is_host(text: &str) -> bool {
    Authority::parse(text.as_bytes()).is_ok()
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

/// Whether an element of `Forwarded` names an address, and what else it says can be read.
fn is_element(element: &str) -> bool {
    let is_fine = |name, is_good: fn(&str) -> bool| {
        parameter(element, name).is_none_or(|value| is_good(&value))
    };
    parameter(element, "for").is_some_and(|node| parse_address(&node).is_some())
        && is_fine("proto", is_scheme)
        && is_fine("host", is_host)
}

/// Reads what `X-Forwarded-*` say, and from `Forwarded` what they do not.
fn told(headers: &Headers, client: IpAddr) -> Told {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned)
    };
    let mut told = Told {
        nodes: nodes(headers),
        proto: text("x-forwarded-proto"),
        host: text("x-forwarded-host"),
    };
    // Of the elements the client's: those before it are what the client said itself.
    let is_of_client = |element: &&str| {
        let node = parameter(element, "for");
        node.is_some_and(|node| parse_address(&node) == Some(client))
    };
    if let Some(element) = elements(headers).into_iter().rfind(is_of_client) {
        told.proto = told.proto.or_else(|| parameter(element, "proto"));
        told.host = told.host.or_else(|| parameter(element, "host"));
    }
    told
}

/// The addresses from the client's on, from `X-Forwarded-For` or, where that is missing, from
/// `Forwarded`.
fn nodes(headers: &Headers) -> Vec<String> {
    let listed = headers
        .list("x-forwarded-for")
        .filter_map(|node| std::str::from_utf8(node).ok());
    let listed: Vec<_> = listed.map(str::to_owned).collect();
    if !listed.is_empty() {
        return listed;
    }
    let elements = elements(headers).into_iter();
    elements
        .filter_map(|element| parameter(element, "for"))
        .collect()
}

/// The elements of `Forwarded`.
fn elements(headers: &Headers) -> Vec<&str> {
    headers
        .get_all("forwarded")
        .filter_map(|value| value.to_str().ok())
        .filter_map(|value| split_unquoted(value, ','))
        .flatten()
        .collect()
}

/// The value of one parameter of an element, without its quotes.
fn parameter(element: &str, name: &str) -> Option<String> {
    split_unquoted(element, ';')?.into_iter().find_map(|pair| {
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

/// Splits at `separator` where it does not stand in quotes. `None`: they are not closed, so that what
/// one proxy wrote would be part of what another one did. Escapes, which nobody needs, could hide that.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut quoted = false;
    let is_separator = |character| {
        quoted ^= character == '"';
        character == separator && !quoted
    };
    let parts = text.split(is_separator).map(str::trim);
    let parts = parts.filter(|part| !part.is_empty()).collect();
    (!quoted && !text.contains('\\')).then_some(parts)
}

fn split(text: &str, separator: char) -> Vec<&str> {
    let parts = text.split(separator).map(str::trim);
    parts.filter(|part| !part.is_empty()).collect()
}

/// Whether a name is one by which a proxy tells of the client, also when written with underscores,
/// which many applications take for hyphens.
pub(crate) fn tells_of_client(name: &str) -> bool {
    const PREFIX: &str = "x-forwarded-";
    begins(name, PREFIX)
        || is(name, "forwarded")
        || is(name, "x-real-ip")
        || tells_of_certificate(name)
}

/// The same for those by which it tells of the client's certificate.
fn tells_of_certificate(name: &str) -> bool {
    begins(name, "client-cert") || begins(name, "x-client-cert-")
}

/// The same for those by which a bridge tells who calls.
pub(crate) fn tells_of_user(name: &str) -> bool {
    const PREFIX: &str = "x-tidegate-";
    const RESTS: [&str; 6] = ["user", "roles", "session", "time", "signature", "conn"];
    begins(name, PREFIX) && RESTS.iter().any(|rest| is(&name[PREFIX.len()..], rest))
}

fn is(name: &str, known: &str) -> bool {
    name.len() == known.len() && begins(name, known)
}

fn begins(name: &str, known: &str) -> bool {
    let same =
        |left: u8, right: u8| left.eq_ignore_ascii_case(&right) || left == b'_' && right == b'-';
    name.len() >= known.len()
        && name
            .bytes()
            .zip(known.bytes())
            .all(|(left, right)| same(left, right))
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
            let peer = peer.parse().unwrap();
            let mut headers = Headers::of(&[(name, list)]);
            let believed = if name == "Forwarded" {
                ForwardedHeader::Forwarded
            } else {
                ForwardedHeader::XForwardedFor
            };
            distrust(&mut headers, trusted(peer).then_some(believed));
            client_address(peer, &headers, trusted).to_string()
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
            split_unquoted("for=\"a,b\";x=1, for=c", ',').unwrap(),
            ["for=\"a,b\";x=1", "for=c"]
        );
        assert_eq!(
            parameter("For=\"[::1]\"; proto=https", "for").as_deref(),
            Some("[::1]")
        );
        assert_eq!(parameter("For=\"a\\\"b\"", "for"), None);
        assert_eq!(split_unquoted("for=\", for=c", ','), None);
    }

    fn left(believed: ForwardedHeader, lines: &[(&'static str, &'static str)]) -> Vec<String> {
        let mut headers = Headers::of(lines);
        distrust(&mut headers, Some(believed));
        let lines = headers.iter();
        lines
            .map(|field| format!("{}: {}", field.name.as_str(), field.value.to_str().unwrap()))
            .collect()
    }

    #[test]
    fn what_cannot_be_read_goes_with_all_before_it() {
        let of = |lines: &[&'static str]| {
            let lines: Vec<_> = lines.iter().map(|line| ("Forwarded", *line)).collect();
            left(ForwardedHeader::Forwarded, &lines)
        };
        let theirs = ["Forwarded: for=9.9.9.9"];
        assert_eq!(of(&["for=\"", "for=9.9.9.9"]), theirs);
        assert_eq!(of(&["for=6.6.6.6, for=_x, for=9.9.9.9"]), theirs);
        assert_eq!(of(&["for=6.6.6.6;proto=javascript", "for=9.9.9.9"]), theirs);
        assert_eq!(of(&["for=6.6.6.6;host=\"a b\", for=9.9.9.9"]), theirs);
        let none: [&str; 0] = [];
        assert_eq!(of(&["for=\";, for=9.9.9.9"]), none);
        assert_eq!(of(&["for=\", for=\"[::9]:1\""]), none);
        assert_eq!(of(&["for=\"a\\\", for=9.9.9.9"]), none);
        let whole = ["for=6.6.6.6, for=\"[::9]:1\";proto=https;host=a"];
        assert_eq!(of(&whole), [format!("Forwarded: {}", whole[0])]);
    }

    #[test]
    fn only_one_of_the_two_is_believed() {
        let lines = [
            ("X-Forwarded-For", "6.6.6.6, \"x, 9.9.9.9, [::9]:1"),
            ("X-Forwarded-Proto", "https"),
            ("X-Forwarded-Host", "a b"),
            ("X-Forwarded-Port", "+1"),
            ("X-Forwarded-Prefix", "/p"),
            ("Forwarded", "for=8.8.8.8"),
        ];
        assert_eq!(
            left(ForwardedHeader::XForwardedFor, &lines),
            [
                "X-Forwarded-For: 9.9.9.9, [::9]:1",
                "X-Forwarded-Proto: https",
                "X-Forwarded-Prefix: /p"
            ]
        );
        assert_eq!(
            left(ForwardedHeader::Forwarded, &lines),
            ["Forwarded: for=8.8.8.8"]
        );
    }
}
