//! What the fuzz targets call: doors into rooms that are closed otherwise. Built by cargo-fuzz alone.
#![expect(
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a panic is the finding"
)]

mod gateway;
pub(crate) mod memory;
mod secure;

use std::net::IpAddr;

use bytes::BytesMut;
use http::Method;

pub use gateway::{Alive, Inside};
pub use memory::{Dial, Left, Peer, activity, dialled, reset_network, set_dial};
pub use secure::Secure;

use crate::http1::Limits;
use crate::http1::chunk::{ChunkDecoder, Decoded};
use crate::http1::end::find_end;
use crate::http1::head::{Framing, parse_request, parse_response};
use crate::proxy_protocol::parse::{Parsed, Source, parse};

/// A token, or the claims of one.
pub fn token(bytes: &[u8]) {
    crate::auth::fuzzing::token(bytes);
}

/// A set of keys as an issuer publishes it.
pub fn jwks(bytes: &[u8]) {
    crate::auth::fuzzing::jwks(bytes);
}

/// The end of a head, found when the bytes come in pieces of `step`.
fn end_in_pieces(bytes: &[u8], step: usize) -> Result<Option<usize>, crate::HeadError> {
    let mut scanned = 0;
    for upto in (1..=bytes.len()).step_by(step.max(1)).chain([bytes.len()]) {
        if let Some(end) = find_end(&bytes[..upto], &mut scanned, &Limits::default())? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

/// An envelope of a bridge.
pub fn envelope(bytes: &[u8]) {
    crate::bridge::fuzzing::envelope(bytes);
}

/// A request head: the same end under any cut, and what we accept `httparse` alone reads the same.
pub fn request_head(bytes: &[u8]) {
    let limits = Limits::default();
    let whole = end_in_pieces(bytes, bytes.len().max(1));
    assert_eq!(whole, end_in_pieces(bytes, 1));
    assert_eq!(whole, end_in_pieces(bytes, 7));
    let Ok(Some(end)) = whole else { return };
    let Ok(head) = parse_request(BytesMut::from(&bytes[..end]), &limits) else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Request::new(&mut fields);
    assert!(other.parse(bytes).unwrap().is_complete());
    assert_eq!(other.method, Some(head.method.as_str()));
    let lines = other
        .headers
        .iter()
        .map(|field| field.name.to_ascii_lowercase());
    let framing = |name: &String| name == "content-length" || name == "transfer-encoding";
    assert!(lines.clone().filter(framing).count() <= 1);
    assert!(lines.filter(|name| name == "host").count() <= 1);
    for field in head.headers.iter() {
        assert!(
            !field
                .value
                .as_bytes()
                .iter()
                .any(|byte| matches!(byte, b'\r' | b'\n' | 0))
        );
    }
}

/// A response head, likewise.
pub fn response_head(bytes: &[u8]) {
    let (limits, method) = if bytes.first() == Some(&b'!') {
        (Limits::default(), Method::HEAD)
    } else {
        (Limits::default(), Method::GET)
    };
    let bytes = bytes.strip_prefix(b"!").unwrap_or(bytes);
    let whole = end_in_pieces(bytes, bytes.len().max(1));
    assert_eq!(whole, end_in_pieces(bytes, 1));
    let Ok(Some(end)) = whole else { return };
    let Ok(head) = parse_response(BytesMut::from(&bytes[..end]), &method, &limits) else {
        return;
    };
    let reason = head.reason.unwrap_or_default();
    assert!(!reason.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)));
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut other = httparse::Response::new(&mut fields);
    assert_eq!(other.parse(bytes), Ok(httparse::Status::Complete(end)));
    assert_eq!(other.code, Some(head.status.as_u16()));
    let count = |name: &str| {
        let named = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        other.headers.iter().filter(named).count()
    };
    let (lengths, encodings) = (count("content-length"), count("transfer-encoding"));
    assert!(lengths + encodings <= 1);
    let bodiless = method == Method::HEAD || matches!(head.status.as_u16(), 100..200 | 204 | 304);
    match head.framing {
        Framing::Length(length) => assert!(bodiless && length == 0 || lengths == 1),
        Framing::Chunked => assert!(!bodiless && encodings == 1),
        Framing::UntilClose => assert!(!bodiless && lengths + encodings == 0 && !head.keep_alive),
    }
}

/// A chunked body: the same data, trailers and rest under any cut.
pub fn chunked(bytes: &[u8]) {
    let whole = decode(bytes, bytes.len().max(1));
    for step in [1, 3, 16] {
        assert_eq!(whole, decode(bytes, step));
    }
}

type Body = Option<(Vec<u8>, usize, usize)>;

/// Data, the number of trailers and how many bytes were left; `None` when refused or unfinished.
fn decode(bytes: &[u8], step: usize) -> Body {
    let (mut decoder, mut input, mut data) = (ChunkDecoder::Size, BytesMut::new(), Vec::new());
    let mut fed = 0;
    for piece in bytes.chunks(step) {
        input.extend_from_slice(piece);
        fed += piece.len();
        loop {
            match decoder.decode(&mut input).ok()? {
                Decoded::Data(part) => data.extend_from_slice(&part),
                Decoded::End(trailers) => {
                    return Some((data, trailers.len(), input.len() + bytes.len() - fed));
                }
                Decoded::NeedMore => break,
            }
        }
    }
    None
}

/// A PROXY header: one verdict under any cut, whatever follows; and the client that it names is read the
/// same when either version is written for it again.
pub fn proxy_header(bytes: &[u8]) {
    let verdict = parse(bytes);
    for end in (0..bytes.len().min(300)).chain((300..bytes.len()).step_by(97)) {
        let early = parse(&bytes[..end]);
        match verdict {
            Ok(Parsed::Header(_, size)) if end < size => assert_eq!(early, Ok(Parsed::NeedMore)),
            _ => assert!(early == Ok(Parsed::NeedMore) || early == verdict),
        }
    }
    let Ok(Parsed::Header(source, size)) = verdict else {
        return;
    };
    let header = &bytes[..size];
    if header[0] == b'P' {
        assert!(size <= 107 && header.ends_with(b"\r\n"));
        assert_eq!(memchr::memchr(b'\n', header), Some(size - 1));
    } else {
        assert_eq!(
            usize::from(u16::from_be_bytes([header[14], header[15]])),
            size - 16
        );
    }
    let Source::Client(client) = source else {
        return;
    };
    let (name, family, octets) = match client.ip() {
        IpAddr::V4(address) => ("TCP4", 0x11, address.octets().to_vec()),
        IpAddr::V6(address) => ("TCP6", 0x21, address.octets().to_vec()),
    };
    let (ip, port) = (client.ip(), client.port());
    let line = format!("PROXY {name} {ip} {ip} {port} 1\r\n").into_bytes();
    let length = u8::try_from(2 * octets.len() + 4).unwrap();
    let start: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21";
    let ports = [port.to_be_bytes(), [0, 1]].concat();
    let binary = [start, &[family, 0, length], &octets, &octets, &ports].concat();
    for written in [line, binary] {
        assert_eq!(parse(&written), Ok(Parsed::Header(source, written.len())));
    }
}

/// Whether we would take these bytes for the whole head of a request.
#[must_use]
pub fn is_request_head(bytes: &[u8]) -> bool {
    let limits = Limits {
        fields: 100,
        ..Limits::default()
    };
    find_end(bytes, &mut 0, &limits) == Ok(Some(bytes.len()))
        && parse_request(BytesMut::from(bytes), &limits).is_ok()
}
