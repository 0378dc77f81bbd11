//! From bytes to a head, or a refusal.

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, StatusCode};

use super::super::fields::{BodyFields, body_fields, host, keeps_alive, split_target, take_fields};
use super::{Framing, HeadError, Limits, RequestHead, ResponseHead, Version};
use crate::headers::{FieldName, Headers};

/// Up to so many fields are looked at without an allocation.
const USUAL_FIELDS: usize = 100;

/// Room for one field more than there may be.
fn room<'r, 'b>(
    most: usize,
    few: &'r mut [httparse::Header<'b>],
    many: &'r mut Vec<httparse::Header<'b>>,
) -> &'r mut [httparse::Header<'b>] {
    if most < few.len() {
        return few.get_mut(..=most).unwrap_or_default();
    }
    many.resize(most + 1, httparse::EMPTY_HEADER);
    many
}

/// Parses the request head that `bytes` is, empty line included.
pub(crate) fn parse_request(bytes: BytesMut, limits: &Limits) -> Result<RequestHead, HeadError> {
    let bytes = begun(bytes, "request line")?;
    let (mut few, mut many) = ([httparse::EMPTY_HEADER; USUAL_FIELDS + 1], Vec::new());
    let mut parsed = httparse::Request::new(room(limits.fields, &mut few, &mut many));
    match parsed.parse(&bytes) {
        Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
        Ok(_) => return Err(HeadError::Malformed("head")),
        Err(error) => return Err(refusal(error, "request line")),
    }
    if parsed.headers.len() > limits.fields {
        return Err(HeadError::TooManyFields);
    }
    let version = version(parsed.version)?;
    let method = parsed
        .method
        .and_then(|name| Method::from_bytes(name.as_bytes()).ok());
    let method = method.ok_or(HeadError::Malformed("method"))?;
    // A gateway opens no tunnels; behind a 2xx to a CONNECT there would be no framing to follow.
    if method == Method::CONNECT {
        return Err(HeadError::Target);
    }
    let target = parsed.path.unwrap_or_default();
    if target.len() > limits.target {
        return Err(HeadError::TargetTooLong);
    }
    let (path, query, absolute) = split_target(&bytes, target)?;
    let mut headers = take_fields(&bytes, parsed.headers)?;
    let framing = match body_fields(&headers, version)? {
        BodyFields::None => Framing::Length(0),
        BodyFields::Length(length) => Framing::Length(length),
        BodyFields::Chunked => Framing::Chunked,
    };
    let host = host(&headers, version)?;
    let keep_alive = keeps_alive(&headers, version);
    let expects_continue = version == Version::Http11 && headers.list_has("expect", "100-continue");
    // A length of 0 stays: whether one is sent is the client's to say.
    headers.retain(|field| {
        let is_length = field.name.is("content-length") && framing != Framing::Length(0);
        // HTTP/1.0 knows no expectation, and we speak 1.1 to the upstream (RFC 9110 section 10.1.1).
        let is_expectation = field.name.is("expect") && version == Version::Http10;
        !(is_length || is_expectation || field.name.is("transfer-encoding"))
    });
    rewrite_length(&mut headers, framing);
    let authority = absolute.or(host);
    Ok(RequestHead {
        method,
        path,
        query,
        authority,
        version,
        headers,
        framing,
        keep_alive,
        expects_continue,
    })
}

/// Parses the response head that `bytes` is, empty line included. `method` is that of the request,
/// on which it depends whether a body follows (RFC 9112 section 6.3).
pub(crate) fn parse_response(
    bytes: BytesMut,
    method: &Method,
    limits: &Limits,
) -> Result<ResponseHead, HeadError> {
    let bytes = begun(bytes, "status line")?;
    let (mut few, mut many) = ([httparse::EMPTY_HEADER; USUAL_FIELDS + 1], Vec::new());
    let mut parsed = httparse::Response::new(room(limits.fields, &mut few, &mut many));
    match parsed.parse(&bytes) {
        Ok(httparse::Status::Complete(size)) if size == bytes.len() => {}
        Ok(_) => return Err(HeadError::Malformed("head")),
        Err(error) => return Err(refusal(error, "status line")),
    }
    if parsed.headers.len() > limits.fields {
        return Err(HeadError::TooManyFields);
    }
    let version = version(parsed.version)?;
    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(HeadError::Malformed("status"))?;
    let reason = reason(&bytes)
        .filter(|reason| Some(&reason[..]) != status.canonical_reason().map(str::as_bytes));
    let mut headers = take_fields(&bytes, parsed.headers)?;
    let body = body_fields(&headers, version)?;
    let bodiless = *method == Method::HEAD
        || status.is_informational()
        || matches!(status.as_u16(), 204 | 304);
    let framing = match body {
        _ if bodiless => Framing::Length(0),
        BodyFields::None => Framing::UntilClose,
        BodyFields::Length(length) => Framing::Length(length),
        BodyFields::Chunked => Framing::Chunked,
    };
    // No 1xx and no 204 may announce a body (RFC 9112 section 6.1, RFC 9110 section 8.6): behind chunks
    // before the answer nothing is clear, and behind a 204 its body may follow all the same.
    let misannounced = match body {
        BodyFields::None | BodyFields::Length(0) => false,
        BodyFields::Chunked if status.is_informational() => {
            return Err(HeadError::TransferEncoding);
        }
        BodyFields::Length(_) | BodyFields::Chunked => status == StatusCode::NO_CONTENT,
    };
    let keep_alive =
        framing != Framing::UntilClose && !misannounced && keeps_alive(&headers, version);
    let describes = bodiless && (*method == Method::HEAD || status == StatusCode::NOT_MODIFIED);
    headers.retain(|field| {
        !(field.name.is("transfer-encoding") || !describes && field.name.is("content-length"))
    });
    if let BodyFields::Length(length) = body {
        rewrite_length(&mut headers, Framing::Length(length));
    }
    Ok(ResponseHead {
        version,
        status,
        reason,
        headers,
        framing,
        keep_alive,
    })
}

/// The head, which begins with its first line: httparse would pass over empty ones. Those that may
/// stand in front of a request (RFC 9112 section 2.2) are gone by now, and an answer has none.
fn begun(bytes: BytesMut, start_line: &'static str) -> Result<Bytes, HeadError> {
    if bytes.starts_with(b"\r\n") {
        return Err(HeadError::Malformed(start_line));
    }
    Ok(bytes.freeze())
}

/// The reason phrase of a status line that was parsed: what follows the second space. Taken from the
/// bytes because it need not be ASCII (RFC 9112 section 4).
fn reason(head: &Bytes) -> Option<Bytes> {
    let line = &head[..memchr::memchr(b'\r', head)?];
    let from = memchr::memchr_iter(b' ', line).nth(1)? + 1;
    Some(head.slice(from..line.len()))
}

/// Parses the trailers that `bytes` are, empty line included.
pub(crate) fn parse_trailers(bytes: BytesMut, limits: &Limits) -> Result<Headers, HeadError> {
    let bytes = bytes.freeze();
    let mut fields = [httparse::EMPTY_HEADER; 100];
    let fields = fields.get_mut(..limits.fields.min(100)).unwrap_or_default();
    match httparse::parse_headers(&bytes, fields) {
        Ok(httparse::Status::Complete((size, parsed))) if size == bytes.len() => {
            take_fields(&bytes, parsed)
        }
        Ok(_) => Err(HeadError::Malformed("head")),
        Err(error) => Err(refusal(error, "trailers")),
    }
}

/// Writes a length that is left in the fields as numbers are written: `00` would go on as it came.
fn rewrite_length(headers: &mut Headers, framing: Framing) {
    if let Framing::Length(length) = framing
        && headers
            .get("content-length")
            .is_some_and(|value| value.as_bytes().starts_with(b"0") && value.len() > 1)
    {
        let name = FieldName::from_static("Content-Length");
        headers.set(name, HeaderValue::from(length));
    }
}

fn refusal(error: httparse::Error, start_line: &'static str) -> HeadError {
    match error {
        httparse::Error::TooManyHeaders => HeadError::TooManyFields,
        httparse::Error::HeaderName => HeadError::Malformed("name of a field"),
        httparse::Error::HeaderValue => HeadError::Malformed("value of a field"),
        httparse::Error::NewLine => HeadError::LineEnd,
        httparse::Error::Version => HeadError::Version,
        _ => HeadError::Malformed(start_line),
    }
}

const fn version(minor: Option<u8>) -> Result<Version, HeadError> {
    match minor {
        Some(0) => Ok(Version::Http10),
        Some(1) => Ok(Version::Http11),
        _ => Err(HeadError::Version),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::end::find_end;
    use super::*;

    fn request(text: &str) -> Result<RequestHead, HeadError> {
        parse_request(BytesMut::from(text), &Limits::default())
    }

    fn response(text: &str) -> Result<ResponseHead, HeadError> {
        parse_response(BytesMut::from(text), &Method::GET, &Limits::default())
    }

    #[test]
    fn a_request() {
        let head = request(
            "POST /a%20b?q=1?x HTTP/1.1\r\nHost: A:80\r\nX-One:  1 \r\nContent-Length: 5\r\n\r\n",
        )
        .unwrap();
        assert_eq!(
            (head.method, &head.path[..], &head.query.unwrap()[..]),
            (Method::POST, &b"/a%20b"[..], &b"q=1?x"[..])
        );
        assert_eq!(head.framing, Framing::Length(5));
        assert_eq!(head.headers.get("x-one").unwrap(), "1");
        assert!(!head.headers.contains("content-length"));
        let head = request("GET HTTP://User.example:81?x HTTP/1.1\r\nHost: other\r\n\r\n").unwrap();
        assert_eq!(
            (&head.path[..], head.authority.unwrap().to_string()),
            (&b"/"[..], "user.example:81".into())
        );
    }

    #[test]
    fn whatever_two_readers_could_read_differently_is_refused() {
        let cases = [
            (
                "Content-Length: 1\r\nContent-Length: 1",
                HeadError::ContentLength,
            ),
            ("Content-Length: 1, 1", HeadError::ContentLength),
            ("Content-Length: +1", HeadError::ContentLength),
            ("Content-Length: ", HeadError::ContentLength),
            (
                "Content-Length: 99999999999999999999",
                HeadError::ContentLength,
            ),
            (
                "Content-Length: 1\r\nTransfer-Encoding: chunked",
                HeadError::TwoFramings,
            ),
            (
                "Transfer-Encoding: gzip, chunked",
                HeadError::TransferEncoding,
            ),
            (
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
                HeadError::TransferEncoding,
            ),
            ("Transfer-Encoding: identity", HeadError::TransferEncoding),
            (
                "Transfer-Encoding: \x0bchunked",
                HeadError::Malformed("value of a field"),
            ),
            ("Host: b", HeadError::Host),
            ("X : 1", HeadError::Malformed("name of a field")),
            (" folded: 1", HeadError::Malformed("name of a field")),
            (": nameless", HeadError::Malformed("name of a field")),
            ("X: a\0b", HeadError::Malformed("value of a field")),
        ];
        for (line, refusal) in cases {
            let text = format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n");
            assert_eq!(request(&text).unwrap_err(), refusal, "{line:?}");
        }
    }

    #[test]
    fn start_lines_targets_and_hosts_follow_their_grammar() {
        for start in [
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 ",
            "GET /",
            "GET / HTTP/1.2",
            "GET / http/1.1",
            "G@T / HTTP/1.1",
            " GET / HTTP/1.1",
        ] {
            assert!(
                request(&format!("{start}\r\nHost: a\r\n\r\n")).is_err(),
                "{start:?}"
            );
        }
        assert_eq!(
            request("GET / HTTP/1.1\r\n\r\n").unwrap_err(),
            HeadError::Host
        );
        assert_eq!(
            request("GET a HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err(),
            HeadError::Target
        );
        assert_eq!(
            request("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n").unwrap_err(),
            HeadError::Target
        );
        assert!(
            request("GET / HTTP/1.0\r\n\r\n")
                .unwrap()
                .authority
                .is_none()
        );
        assert_eq!(
            request("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap_err(),
            HeadError::TransferEncoding
        );
    }

    #[test]
    fn limits() {
        let many: String = (0..100).map(|at| format!("X-{at}: 1\r\n")).collect();
        assert_eq!(
            request(&format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n")).unwrap_err(),
            HeadError::TooManyFields
        );
        let long = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(8192));
        assert_eq!(request(&long).unwrap_err(), HeadError::TargetTooLong);
        assert_eq!(
            find_end(&[b'a'; 70_000], &mut 0, &Limits::default()),
            Err(HeadError::TooLarge)
        );
    }

    #[test]
    fn answers_end_where_rfc_9112_says() {
        let framing = |text: &str| response(text).map(|head| head.framing);
        assert_eq!(framing("HTTP/1.1 200 OK\r\n\r\n"), Ok(Framing::UntilClose));
        assert_eq!(
            framing("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n"),
            Ok(Framing::Length(0))
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n"),
            Ok(Framing::Chunked)
        );
        assert_eq!(
            framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"),
            Err(HeadError::TwoFramings)
        );
        let head = parse_response(
            BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
            &Method::HEAD,
            &Limits::default(),
        );
        let head = head.unwrap();
        assert_eq!(
            (
                head.framing,
                head.headers.get("content-length").unwrap().as_bytes()
            ),
            (Framing::Length(0), &b"9"[..])
        );
        let head = response("HTTP/1.1 432 Odd One\r\nContent-Length: 0\r\n\r\n").unwrap();
        assert_eq!(
            (head.status.as_u16(), &head.reason.unwrap()[..]),
            (432, &b"Odd One"[..])
        );
    }
}
