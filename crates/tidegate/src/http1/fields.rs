//! What the fields of a head and its target say beyond themselves: where the body ends, whom the
//! request is for, whether the connection stays. Whatever two readers could read differently is
//! refused.

use bytes::Bytes;
use http::HeaderValue;

use super::head::{HeadError, Version};
use crate::authority::Authority;
use crate::headers::{FieldName, Headers};

pub(super) type Target = (Bytes, Option<Bytes>, Option<Authority>);

/// Takes the path, the query and, from the absolute form, the authority out of a target (RFC 9112
/// section 3.2).
pub(super) fn split_target(head: &Bytes, target: &str) -> Result<Target, HeadError> {
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        let (scheme, rest) = target.split_once("://").ok_or(HeadError::Target)?;
        if !["http", "https", "ws", "wss"]
            .iter()
            .any(|known| scheme.eq_ignore_ascii_case(known))
        {
            return Err(HeadError::Target);
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority =
            Authority::parse(&rest.as_bytes()[..end]).map_err(|_invalid| HeadError::Target)?;
        (Some(authority), &rest[end..])
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(head.slice_ref(query.as_bytes()))),
        None => (rest, None),
    };
    // A fragment has no place in a request (RFC 9112 section 3.2.1).
    if rest.contains('#') {
        return Err(HeadError::Target);
    }
    let path = if path.is_empty() {
        Bytes::from_static(b"/")
    } else {
        head.slice_ref(path.as_bytes())
    };
    Ok((path, query, authority))
}

pub(super) fn take_fields(
    head: &Bytes,
    parsed: &[httparse::Header<'_>],
) -> Result<Headers, HeadError> {
    let mut headers = Headers::with_capacity(parsed.len() + 8);
    for field in parsed {
        let name = FieldName::parse(head.slice_ref(field.name.as_bytes()))
            .map_err(|_invalid| HeadError::Malformed("name of a field"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value.trim_ascii()))
            .map_err(|_invalid| HeadError::Malformed("value of a field"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

/// What the fields say of the body.
#[derive(Debug, Clone, Copy)]
pub(super) enum BodyFields {
    None,
    Length(u64),
    Chunked,
}

/// What the fields say of the body, refusing all that two readers could read differently (RFC 9112
/// sections 6.1 to 6.3).
pub(super) fn body_fields(headers: &Headers, version: Version) -> Result<BodyFields, HeadError> {
    let mut lengths = headers.get_all("content-length");
    let mut encodings = headers.get_all("transfer-encoding");
    match (lengths.next(), encodings.next()) {
        (None, None) => Ok(BodyFields::None),
        (Some(_), Some(_)) => Err(HeadError::TwoFramings),
        (None, Some(encoding)) => {
            let chunked = encoding.as_bytes().eq_ignore_ascii_case(b"chunked");
            if version == Version::Http11 && chunked && encodings.next().is_none() {
                Ok(BodyFields::Chunked)
            } else {
                Err(HeadError::TransferEncoding)
            }
        }
        (Some(length), None) => {
            let digits = length.as_bytes();
            let plain = (1..=19).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
            let number = length
                .to_str()
                .ok()
                .filter(|_text| plain)
                .and_then(|text| text.parse().ok());
            match number {
                Some(length) if lengths.next().is_none() => Ok(BodyFields::Length(length)),
                _ => Err(HeadError::ContentLength),
            }
        }
    }
}

pub(super) fn host(headers: &Headers, version: Version) -> Result<Option<Authority>, HeadError> {
    let mut hosts = headers.get_all("host");
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => Authority::parse(host.as_bytes())
            .map(Some)
            .map_err(|_invalid| HeadError::Host),
        (None, None) if version == Version::Http10 => Ok(None),
        _ => Err(HeadError::Host),
    }
}

/// RFC 9112 section 9.3.
pub(super) fn keeps_alive(headers: &Headers, version: Version) -> bool {
    match version {
        Version::Http11 => !headers.list_has("connection", "close"),
        Version::Http10 => {
            headers.list_has("connection", "keep-alive") && !headers.list_has("connection", "close")
        }
    }
}
