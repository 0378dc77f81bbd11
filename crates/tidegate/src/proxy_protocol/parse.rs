//! The header of the PROXY protocol, versions 1 and 2, as HAProxy's `proxy-protocol.txt` has it. Pure:
//! bytes in, verdict out, and the same verdict under any cut.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::crc32c;

/// The longest line of version 1, its CRLF included.
const LONGEST_LINE: usize = 107;
const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED: usize = 16;
/// The longest header of version 2 that is taken. Its addresses have at most 216 bytes; the rest is
/// what balancers add, of which certificates are the longest.
pub(crate) const LONGEST: usize = 16 * 1024;
/// The type of the checksum among what is added, and the size of its value.
const CRC32C: u8 = 0x03;
const CRC32C_SIZE: usize = 4;

/// What the beginning of a connection says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// The beginning of a header, or nothing yet.
    NeedMore,
    /// A header of so many bytes.
    Header(Source, usize),
    /// It is no header, from its first bytes on.
    NoHeader,
}

/// For whom the peer speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// For itself, as health checks do.
    Local,
    /// For somebody whose address it does not tell, or who has none that we know.
    Unknown,
    /// For this client. An IPv4 address is never in the guise of an IPv6 one.
    Client(SocketAddr),
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    #[error("the line is no PROXY line of version 1")]
    Line,
    #[error("the line is longer than {LONGEST_LINE} bytes")]
    LineTooLong,
    #[error("the version is not 2")]
    Version,
    #[error("the command is neither LOCAL nor PROXY")]
    Command,
    #[error("the family and protocol {0:#04x} are none of a stream")]
    Family(u8),
    #[error("the length is less than its addresses have")]
    TooShort,
    #[error("the header is longer than {LONGEST} bytes")]
    TooLong,
    #[error("what is added to the addresses is cut off")]
    Added,
    #[error("the checksum is wrong")]
    Checksum,
}

/// Reads what is there of a header. What follows the header is not looked at.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    if begins_as(bytes, SIGNATURE) {
        return binary(bytes);
    }
    if begins_as(bytes, LINE_START) {
        return line(bytes);
    }
    Ok(Parsed::NoHeader)
}

/// Whether nothing of `bytes` contradicts that they begin with `start`.
fn begins_as(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

/// Version 1: a line of text.
fn line(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let most = bytes.get(..LONGEST_LINE).unwrap_or(bytes);
    let Some(end) = memchr::memchr(b'\n', most) else {
        return if most.len() < LONGEST_LINE {
            Ok(Parsed::NeedMore)
        } else {
            Err(HeaderError::LineTooLong)
        };
    };
    let text = most.get(LINE_START.len()..end);
    let text = text.and_then(|line| line.strip_suffix(b"\r"));
    let text = text.and_then(|line| std::str::from_utf8(line).ok());
    let source = text.and_then(source_of_line).ok_or(HeaderError::Line)?;
    Ok(Parsed::Header(source, end + 1))
}

/// What stands between `PROXY ` and CRLF. Behind `UNKNOWN` anything may.
fn source_of_line(text: &str) -> Option<Source> {
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Some(Source::Unknown);
    }
    let mut words = text.split(' ');
    let family = words.next()?;
    let mut address = || -> Option<IpAddr> {
        let word = words.next()?;
        match family {
            "TCP4" => word.parse().ok().map(IpAddr::V4),
            "TCP6" => word.parse().ok().map(IpAddr::V6),
            _ => None,
        }
    };
    let (source, _destination) = (address()?, address()?);
    let mut port = || words.next().and_then(port);
    let (source_port, _destination_port) = (port()?, port()?);
    words.next().is_none().then(|| client(source, source_port))
}

/// A decimal number without a leading zero.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit())
        && (word.len() == 1 || !word.starts_with('0'));
    word.parse().ok().filter(|_| is_plain)
}

fn client(address: IpAddr, port: u16) -> Source {
    Source::Client(SocketAddr::new(address.to_canonical(), port))
}

/// Version 2: a binary header.
fn binary(bytes: &[u8]) -> Result<Parsed, HeaderError> {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..FIXED) else {
        return Ok(Parsed::NeedMore);
    };
    if command >> 4 != 2 {
        return Err(HeaderError::Version);
    }
    let is_local = match command & 0x0f {
        0 => true,
        1 => false,
        _ => return Err(HeaderError::Command),
    };
    let size = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if size > LONGEST {
        return Err(HeaderError::TooLong);
    }
    let addresses = if is_local { 0 } else { addresses(family)? };
    if size < FIXED + addresses {
        return Err(HeaderError::TooShort);
    }
    let Some(header) = bytes.get(..size) else {
        return Ok(Parsed::NeedMore);
    };
    // What follows such a header is to be passed over unread.
    if is_local {
        return Ok(Parsed::Header(Source::Local, size));
    }
    if addresses == 0 {
        return Ok(Parsed::Header(Source::Unknown, size));
    }
    check_added(header, FIXED + addresses)?;
    Ok(Parsed::Header(source_of(family, header), size))
}

/// How many bytes the two addresses of a family take.
const fn addresses(family: u8) -> Result<usize, HeaderError> {
    match family {
        0x00 => Ok(0),
        0x11 => Ok(12),
        0x21 => Ok(36),
        // Paths of unix sockets.
        0x31 => Ok(216),
        // Datagrams do not come through here; the rest is not assigned.
        other => Err(HeaderError::Family(other)),
    }
}

/// The source: its address is the first behind the fixed part, its port the third.
fn source_of(family: u8, header: &[u8]) -> Source {
    let source = || {
        let addresses = header.get(FIXED..)?;
        let (address, port) = match family {
            0x11 => {
                let octets: [u8; 4] = *addresses.first_chunk()?;
                (IpAddr::V4(Ipv4Addr::from(octets)), addresses.get(8..)?)
            }
            0x21 => {
                let octets: [u8; 16] = *addresses.first_chunk()?;
                (IpAddr::V6(Ipv6Addr::from(octets)), addresses.get(32..)?)
            }
            _ => return None,
        };
        let port = u16::from_be_bytes(*port.first_chunk()?);
        Some(client(address, port))
    };
    source().unwrap_or(Source::Unknown)
}

/// Walks over what is added behind the addresses, each a type, a length and a value; a checksum of the
/// whole header is checked.
fn check_added(header: &[u8], mut at: usize) -> Result<(), HeaderError> {
    let mut has_checksum = false;
    while let Some(rest) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let Some(&[kind, high, low]) = rest.first_chunk() else {
            return Err(HeaderError::Added);
        };
        let size = usize::from(u16::from_be_bytes([high, low]));
        let value = rest.get(3..3 + size).ok_or(HeaderError::Added)?;
        if kind == CRC32C {
            let told = <[u8; CRC32C_SIZE]>::try_from(value);
            let told = told.map_err(|_other_size| HeaderError::Checksum)?;
            let found = checksum(header, at + 3);
            if std::mem::replace(&mut has_checksum, true) || u32::from_be_bytes(told) != found {
                return Err(HeaderError::Checksum);
            }
        }
        at += 3 + size;
    }
    Ok(())
}

/// The checksum of a header, whose own value at `at` counts as zero.
fn checksum(header: &[u8], at: usize) -> u32 {
    let (before, rest) = header.split_at_checked(at).unwrap_or((header, &[]));
    let after = rest.get(CRC32C_SIZE..).unwrap_or_default();
    [before, &[0; CRC32C_SIZE], after]
        .into_iter()
        .fold(crc32c::Crc32c::default(), |crc, part| crc.over(part))
        .value()
}

#[cfg(test)]
mod tests;
