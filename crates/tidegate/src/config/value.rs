//! Values as texts: durations, sizes, names, addresses, endpoint URLs. Each parser says what is
//! wrong and, where it can be guessed, what to write.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use http::{HeaderValue, Method};
use ipnet::IpNet;

use super::error::Fault;
use super::yaml::{Quoted, nearest};
use crate::headers::FieldName;

/// No wait is longer; clocks can add this much without overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Parses `10s`, `500ms`, `1m30s`: numbers with units, the larger unit first. Never zero.
pub(super) fn duration(text: &str) -> Result<Duration, Fault> {
    const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
    let malformed = || {
        Fault::new(format!("{} is not a duration", Quoted(text)))
            .suggest("write whole numbers with the units h, m, s, ms, such as `10s` or `1m30s`")
    };
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        if text.bytes().all(|byte| byte == b'0') {
            return Err(no_time(text));
        }
        let fault = Fault::new(format!("the duration {} has no unit", Quoted(text)));
        let number = shortened(text);
        // Large ones are as likely meant to be milliseconds.
        let small = if text.len() > 2 {
            format!("`{number}ms` or ")
        } else {
            String::new()
        };
        return Err(fault.suggest(format!("write a unit, such as {small}`{number}s`")));
    }
    let too_long = || Fault::new(format!("{} is longer than 8760h", Quoted(text)));
    let mut total: u64 = 0;
    let mut smallest = u64::MAX;
    let mut rest = text;
    if rest.is_empty() {
        return Err(malformed());
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest).ok_or_else(malformed)?;
        let unit_end = after
            .find(|character: char| character.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let (_, scale) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(malformed)?;
        if *scale >= smallest {
            return Err(malformed());
        }
        smallest = *scale;
        rest = after;
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*scale))
            .and_then(|part| total.checked_add(part))
            .ok_or_else(too_long)?;
    }
    match Duration::from_millis(total) {
        Duration::ZERO => Err(no_time(text)),
        duration if duration > LONGEST => Err(too_long()),
        duration => Ok(duration),
    }
}

fn no_time(text: &str) -> Fault {
    Fault::new(format!("{} is no time at all", Quoted(text)))
        .suggest("a duration is longer than zero; to have the default, leave the key out")
}

/// Parses `64KiB`, `1MB`, `512B`, `512`: a whole number of bytes. Never zero.
pub(super) fn size(text: &str) -> Result<u64, Fault> {
    const UNITS: [(&str, u64); 8] = [
        ("", 1),
        ("B", 1),
        ("KB", 1_000),
        ("KiB", 1 << 10),
        ("MB", 1_000_000),
        ("MiB", 1 << 20),
        ("GB", 1_000_000_000),
        ("GiB", 1 << 30),
    ];
    let malformed = || {
        Fault::new(format!("{} is not a size", Quoted(text)))
            .suggest("write a whole number with B, KiB, MiB, GiB, KB, MB or GB, such as `64KiB`")
    };
    let (number, unit) = split_number(text).ok_or_else(malformed)?;
    let Some((_, scale)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let meant = UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit));
        return Err(match meant {
            Some((name, _)) => Fault::new(format!("{} is not a size", Quoted(text)))
                .suggest(format!("did you mean `{}{name}`?", shortened(number))),
            None => malformed(),
        });
    };
    let size = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(*scale))
        .ok_or_else(|| Fault::new(format!("{} is too large", Quoted(text))))?;
    if size == 0 {
        return Err(Fault::new("the size is zero").suggest("`none` means that there is no limit"));
    }
    Ok(size)
}

/// Parses a size where there must be a limit.
pub(super) fn bounded_size(text: &str) -> Result<u64, Fault> {
    if text == "none" {
        return Err(
            Fault::new("there must be a limit: a message is held in memory")
                .suggest("write a size, such as `16MiB`"),
        );
    }
    size(text)
}

/// Parses a size, or `none` for no limit.
pub(super) fn limit(text: &str) -> Result<Option<u64>, Fault> {
    if text == "none" {
        return Ok(None);
    }
    size(text).map(Some)
}

/// Parses a duration, or `none` for no end of time.
pub(super) fn timeout(text: &str) -> Result<Option<Duration>, Fault> {
    if text == "none" {
        return Ok(None);
    }
    duration(text).map(Some)
}

/// Parses the one word that may stand for a keep-alive.
pub(super) fn no_keep_alive(text: &str) -> Result<(), Fault> {
    if text == "none" {
        return Ok(());
    }
    Err(Fault::new(format!("{} is not a keep-alive", Quoted(text)))
        .suggest("write `none` or `{ interval: 25s, timeout: 10s }`"))
}

/// Parses the one word that may stand for permessage-deflate.
pub(super) fn no_deflate(text: &str) -> Result<(), Fault> {
    if text == "none" {
        return Ok(());
    }
    Err(
        Fault::new(format!("{} is no way to compress", Quoted(text)))
            .suggest("write `none`, `{}` for the defaults, or `{ threshold: 1KiB }`"),
    )
}

/// Parses the name of a WebSocket extension, which is a token (RFC 6455 section 9.1).
pub(super) fn extension(text: &str) -> Result<Box<str>, Fault> {
    FieldName::parse(text.to_owned())
        .map(|_token| text.into())
        .map_err(|_no_token| {
            Fault::new(format!("{} is not the name of an extension", Quoted(text))).suggest(
                "write the name alone, without parameters, such as `x-webkit-deflate-frame`",
            )
        })
}

/// Parses the names of WebSocket subprotocols, which are tokens (RFC 6455 section 4.1 point 10), with
/// commas between them.
pub(super) fn subprotocols(text: &str) -> Result<Vec<Box<str>>, Fault> {
    let names = text.split(',').map(str::trim_ascii);
    let names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        return Err(Fault::new("no subprotocol is named")
            .suggest("write `[]` to let none pass, or leave the key out to let all pass"));
    }
    let parse = |name: &str| match FieldName::parse(name.to_owned()) {
        Ok(_token) => Ok(name.into()),
        Err(_no_token) => Err(Fault::new(format!(
            "{} is not the name of a subprotocol",
            Quoted(name)
        ))
        .suggest("write names as clients offer them, such as `v12.stomp`")),
    };
    names.into_iter().map(parse).collect()
}

/// The most of anything that is counted.
pub(super) const MOST: u32 = 100_000_000;

/// Parses how many of something there may be, or `none` for no limit.
pub(super) fn count(text: &str) -> Result<Option<usize>, Fault> {
    if text == "none" {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(0) => Err(Fault::new("a limit of 0 lets nobody in")
            .suggest("`none` means that there is no limit")),
        Ok(number) if number <= MOST && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Ok(Some(number as usize))
        }
        _ => Err(Fault::new(format!("{} is not a limit", Quoted(text)))
            .suggest(format!("write a whole number from 1 to {MOST}, or `none`"))),
    }
}

/// Parses `10/s` or `600/m`: how many, and in what time.
pub(super) fn rate(text: &str) -> Result<(u32, Duration), Fault> {
    let fault = || {
        Fault::new(format!("{} is not a rate", Quoted(text)))
            .suggest("write a whole number from 1 to 1000000 by `/s` or `/m`, such as `10/s`")
    };
    let (number, unit) = split_number(text).ok_or_else(fault)?;
    let number = number.parse().ok();
    let number = number.filter(|number| (1..=1_000_000).contains(number));
    let per = match unit {
        "/s" => Duration::from_secs(1),
        "/m" => Duration::from_secs(60),
        _ => return Err(fault()),
    };
    number.map(|number| (number, per)).ok_or_else(fault)
}

/// Parses a name of ours: letters, digits, `-`, `_` and `.`, as it stands in logs and metrics.
pub(super) fn name(text: &str) -> Result<&str, Fault> {
    const LONGEST: usize = 64;
    let is_name_byte =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.len() <= LONGEST
        && text.bytes().all(is_name_byte);
    if is_name {
        return Ok(text);
    }
    Err(
        Fault::new(format!("{} is not a name", Quoted(text))).suggest(format!(
            "a name begins with a letter or digit, goes on with those, `-`, `_` or `.`, and has at most {LONGEST} characters"
        )),
    )
}

/// Parses an address to bind.
pub(super) fn bind(text: &str) -> Result<SocketAddr, Fault> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let fault = Fault::new(format!("{} is not an address with a port", Quoted(text)));
    if text.starts_with("unix:") {
        return Err(fault.suggest("only those of `listeners` can be unix sockets"));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
        _ if text.parse::<u16>().is_ok() => ("", Some(text)),
        _ => (text, None),
    };
    Err(match (host, port) {
        ("" | "*", Some(port)) => fault.suggest(format!(
            "write `127.0.0.1:{port}`, or `0.0.0.0:{port}` for every address of this machine"
        )),
        ("localhost", Some(port)) => {
            fault.suggest(format!("names are not looked up: write `127.0.0.1:{port}`"))
        }
        (host, _)
            if host
                .parse::<IpAddr>()
                .is_ok_and(|address| address.is_ipv6()) =>
        {
            let port = port.filter(|_| text.parse::<IpAddr>().is_err());
            fault.suggest(format!("write \"[{host}]:{}\"", port.unwrap_or("8080")))
        }
        (host, None) if host.parse::<IpAddr>().is_ok() => {
            fault.suggest(format!("write `{host}:8080`"))
        }
        _ => fault.suggest("write `127.0.0.1:8080` or \"[::1]:8080\""),
    })
}

/// Parses an IP address.
pub(super) fn address(text: &str) -> Result<IpAddr, Fault> {
    text.parse().map_err(|_not_address| {
        Fault::new(format!("{} is not an IP address", Quoted(text)))
            .suggest("write it without a port, such as `127.0.0.1` or `::1`")
    })
}

/// Parses a network in CIDR notation, or one bare address.
pub(super) fn network(text: &str) -> Result<IpNet, Fault> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let network = text.parse::<IpNet>().map_err(|_not_network| {
        Fault::new(format!("{} is not a network or an address", Quoted(text)))
            .suggest("write `10.0.0.0/8` or `192.0.2.1`")
    })?;
    if network.addr() != network.network() {
        let fault = Fault::new(format!("{} names a host within its network", Quoted(text)));
        return Err(fault.suggest(format!(
            "write `{}`, or `{}` for the one address",
            network.trunc(),
            network.addr()
        )));
    }
    Ok(network)
}

/// Parses a request method.
pub(super) fn method(text: &str) -> Result<Method, Fault> {
    const USUAL: [&str; 9] = [
        "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
    ];
    let fault = || Fault::new(format!("{} is not a method", Quoted(text)));
    let method = Method::from_str(text)
        .map_err(|_not_token| fault().suggest("write it in capitals, such as `GET`"))?;
    if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        let meant = nearest(text, USUAL).map_or_else(|| text.to_ascii_uppercase(), str::to_owned);
        return Err(fault().suggest(format!("did you mean {}?", Quoted(&meant))));
    }
    Ok(method)
}

/// Parses the name of a header field.
pub(super) fn field_name(text: &str) -> Result<FieldName, Fault> {
    FieldName::parse(text.to_owned())
        .map_err(|error| Fault::new(format!("{} is no header name: {error}", Quoted(text))))
}

/// Parses the value of a header field.
pub(super) fn field_value(text: &str) -> Result<HeaderValue, Fault> {
    let fault = |what| Fault::new(format!("{} is no header value: {what}", Quoted(text)));
    if text.trim_ascii() != text {
        return Err(fault("there is white space around it"));
    }
    HeaderValue::from_str(text).map_err(|_not_value| fault("it holds control characters"))
}

/// Digits at the front, at least one, and what follows them.
fn split_number(text: &str) -> Option<(&str, &str)> {
    let end = text
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Digits as a suggestion shows them.
fn shortened(digits: &str) -> &str {
    digits.get(..20).unwrap_or(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1m30s", 90_000),
            ("1h1ms", 3_600_001),
            ("8760h", 31_536_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, part) in [
            ("10", "write a unit, such as `10s`"),
            ("500", "write a unit, such as `500ms` or `500s`"),
            ("", "is not a duration"),
            ("s", "is not a duration"),
            ("10 s", "is not a duration"),
            ("-1s", "is not a duration"),
            ("1.5s", "is not a duration"),
            ("30s1m", "is not a duration"),
            ("1s1s", "is not a duration"),
            ("1d", "is not a duration"),
            ("none", "is not a duration"),
            ("0s", "no time at all"),
            ("0", "no time at all"),
            ("8761h", "longer than 8760h"),
            ("99999999999999999999h", "longer than 8760h"),
            ("9999999999999999999m", "longer than 8760h"),
        ] {
            let fault = duration(text).unwrap_err();
            let said = format!("{fault:?}");
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn counts_and_rates() {
        assert_eq!(count("none"), Ok(None));
        assert_eq!(count("17"), Ok(Some(17)));
        for bad in ["0", "", "-1", "+1", "1.5", "4294967296", "many"] {
            assert!(count(bad).is_err(), "{bad}");
        }
        assert_eq!(rate("10/s"), Ok((10, Duration::from_secs(1))));
        assert_eq!(rate("600/m"), Ok((600, Duration::from_secs(60))));
        for bad in [
            "10",
            "/s",
            "0/s",
            "10/h",
            "10 /s",
            "1000001/s",
            "10/s/s",
            "none",
        ] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("512", 512),
            ("512B", 512),
            ("10KB", 10_000),
            ("64KiB", 65_536),
            ("1MiB", 1 << 20),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for (text, part) in [
            ("", "is not a size"),
            ("KiB", "is not a size"),
            ("1kib", "did you mean `1KiB`?"),
            ("1.5MiB", "is not a size"),
            ("1 MiB", "is not a size"),
            ("0", "zero"),
            ("99999999999999999999", "too large"),
            ("18446744073709551615GiB", "too large"),
        ] {
            let said = format!("{:?}", size(text).unwrap_err());
            assert!(said.contains(part), "{text}: {said}");
        }
        assert_eq!(limit("none"), Ok(None));
        assert_eq!(limit("1KiB"), Ok(Some(1024)));
    }

    #[test]
    fn addresses_to_bind() {
        assert!(bind("127.0.0.1:0").is_ok());
        assert!(bind("[::]:8080").is_ok());
        for (text, suggestion) in [
            ("8080", "`0.0.0.0:8080`"),
            (":8080", "`0.0.0.0:8080`"),
            ("*:80", "`0.0.0.0:80`"),
            ("localhost:80", "`127.0.0.1:80`"),
            ("127.0.0.1", "`127.0.0.1:8080`"),
            ("::1", "\"[::1]:8080\""),
            ("a.example:x", "`127.0.0.1:8080`"),
        ] {
            let said = bind(text).unwrap_err().suggestion.unwrap();
            assert!(said.contains(suggestion), "{text}: {said}");
        }
    }

    #[test]
    fn networks() {
        assert_eq!(network("192.0.2.1").unwrap().to_string(), "192.0.2.1/32");
        assert_eq!(network("10.0.0.0/8").unwrap().to_string(), "10.0.0.0/8");
        assert!(network("fd00::/8").is_ok());
        assert!(network("10.0.0.0/33").is_err());
        let said = network("10.1.0.0/8").unwrap_err().suggestion.unwrap();
        assert!(said.contains("`10.0.0.0/8`") && said.contains("`10.1.0.0`"));
    }

    #[test]
    fn names_methods_and_headers() {
        assert!(name("chat-2.b_c").is_ok());
        for bad in ["", "-a", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad}");
        }
        assert!(method("GET").is_ok() && method("PURGE").is_ok());
        for (text, meant) in [("get", "`GET`"), ("Psot", "`POST`"), ("purge", "`PURGE`")] {
            let said = method(text).unwrap_err().suggestion.unwrap();
            assert!(said.contains(meant), "{text}: {said}");
        }
        assert!(method("").is_err() && method("A B").is_err());
        assert!(field_name("X-A").is_ok() && field_name("X A").is_err());
        assert!(field_value("a\r\nb").is_err() && field_value(" a").is_err());
    }
}
