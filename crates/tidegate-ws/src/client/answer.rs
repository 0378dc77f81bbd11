//! The answer to a handshake, read from the connection with bounds on its size.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{ClientError, Refused};
use crate::handshake::Fields as _;

const MAX_FIELDS: usize = 100;
const READ: usize = 4 << 10;
/// Of a line that tells a chunk's size, extensions and end included.
const MAX_CHUNK_LINE: usize = 4 << 10;
const TOO_LARGE: ClientError = ClientError::Malformed("its head is too large");

/// A connection whose answer is read; what was read too far stays in `ahead`.
pub(super) struct Answer<'a, I> {
    io: &'a mut I,
    ahead: BytesMut,
}

/// How the body of an answer is framed (RFC 9112 section 6.3).
enum Framing {
    Chunked,
    Length(u64),
    UntilEnd,
}

impl<'a, I: AsyncRead + AsyncWrite + Unpin> Answer<'a, I> {
    pub(super) fn new(io: &'a mut I) -> Self {
        let ahead = BytesMut::new();
        Self { io, ahead }
    }

    /// Writes the request.
    pub(super) async fn ask(&mut self, request: &[u8]) -> Result<(), ClientError> {
        let asked = async {
            self.io.write_all(request).await?;
            self.io.flush().await
        };
        asked.await.map_err(ClientError::Lost)
    }

    /// Reads the head, past interim answers that announce another one (RFC 9110 section 15.2).
    pub(super) async fn head(&mut self, max: usize) -> Result<Response<()>, ClientError> {
        let mut left = max;
        loop {
            if let Some((response, length)) = parse(&self.ahead)? {
                self.ahead.advance(length);
                left = left.checked_sub(length).ok_or(TOO_LARGE)?;
                let is_interim = response.status().is_informational()
                    && response.status() != StatusCode::SWITCHING_PROTOCOLS;
                if !is_interim {
                    return Ok(response);
                }
                continue;
            }
            if self.ahead.len() >= left {
                return Err(TOO_LARGE);
            }
            if self.read().await.map_err(ClientError::Lost)? == 0 {
                let ended = io::ErrorKind::UnexpectedEof.into();
                return Err(ClientError::Lost(ended));
            }
        }
    }

    /// What was read behind the head.
    pub(super) fn into_ahead(self) -> Bytes {
        self.ahead.freeze()
    }

    /// Appends what has come of the body of an answer to `body`, until it ends or has `max` bytes.
    /// Whether that is all of it. Dropped, what was read is in `body`.
    pub(super) async fn body(
        &mut self,
        head: &Response<()>,
        max: usize,
        body: &mut BytesMut,
    ) -> bool {
        match framing(head) {
            Some(Framing::Length(length)) => {
                let wanted = usize::try_from(length).unwrap_or(usize::MAX);
                self.take(wanted.min(max), body).await.is_some() && wanted <= max
            }
            Some(Framing::UntilEnd) => loop {
                body.extend_from_slice(&self.ahead.split());
                if body.len() > max {
                    body.truncate(max);
                    return false;
                }
                match self.read().await {
                    Ok(0) => return true,
                    Ok(_) => {}
                    Err(_) => return false,
                }
            },
            Some(Framing::Chunked) => self.chunks(max, body).await.is_some(),
            None => false,
        }
    }

    /// All chunks (RFC 9112 section 7.1); `None` when they break off, are none, or are too many.
    async fn chunks(&mut self, max: usize, body: &mut BytesMut) -> Option<()> {
        loop {
            let (line, size) = loop {
                match httparse::parse_chunk_size(&self.ahead).ok()? {
                    // However much of it has come at once.
                    httparse::Status::Complete((line, _)) if line > MAX_CHUNK_LINE => return None,
                    httparse::Status::Complete(found) => break found,
                    httparse::Status::Partial if self.ahead.len() >= MAX_CHUNK_LINE => return None,
                    httparse::Status::Partial => self.more().await?,
                }
            };
            self.ahead.advance(line);
            if size == 0 {
                // Trailers are not of interest, and the connection is not used again.
                return Some(());
            }
            let size = usize::try_from(size).ok()?;
            let room = max - body.len();
            self.take(size.min(room), body).await?;
            if size > room {
                return None;
            }
            let mut end = BytesMut::new();
            self.take(2, &mut end).await?;
            if end != "\r\n" {
                return None;
            }
        }
    }

    /// Moves `count` bytes to `body`, as they come.
    async fn take(&mut self, mut count: usize, body: &mut BytesMut) -> Option<()> {
        while count > 0 {
            if self.ahead.is_empty() {
                self.more().await?;
            }
            let piece = self.ahead.split_to(count.min(self.ahead.len()));
            count -= piece.len();
            body.extend_from_slice(&piece);
        }
        Some(())
    }

    async fn more(&mut self) -> Option<()> {
        self.read().await.ok().filter(|read| *read > 0).map(|_| ())
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.ahead.reserve(READ);
        self.io.read_buf(&mut self.ahead).await
    }
}

/// The head at the front of `bytes` and its length, once it is all there.
fn parse(bytes: &[u8]) -> Result<Option<(Response<()>, usize)>, ClientError> {
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS];
    let mut head = httparse::Response::new(&mut fields);
    let length = match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(ClientError::Malformed("it has too many fields"));
        }
        Err(_) => return Err(ClientError::Malformed("it is not HTTP/1")),
    };
    let malformed = ClientError::Malformed("it is not HTTP/1");
    let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
    let Some(status) = status else {
        return Err(malformed);
    };
    let mut headers = HeaderMap::with_capacity(head.headers.len());
    for field in head.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes());
        let value = HeaderValue::from_bytes(field.value);
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(malformed);
        };
        headers.append(name, value);
    }
    let mut response = Response::new(());
    *response.status_mut() = status;
    *response.version_mut() = match head.version {
        Some(1) => Version::HTTP_11,
        _ => Version::HTTP_10,
    };
    *response.headers_mut() = headers;
    Ok(Some((response, length)))
}

/// `None` where it cannot be told.
fn framing(head: &Response<()>) -> Option<Framing> {
    let headers = head.headers();
    if matches!(head.status().as_u16(), 204 | 304) {
        return Some(Framing::Length(0));
    }
    let mut codings = headers.lines("transfer-encoding").peekable();
    if codings.peek().is_some() {
        let is_chunked = |coding: &[u8]| coding.trim_ascii().eq_ignore_ascii_case(b"chunked");
        let is_alone = codings.next().is_some_and(is_chunked) && codings.next().is_none();
        return is_alone.then_some(Framing::Chunked);
    }
    let mut lengths = headers.get_all(http::header::CONTENT_LENGTH).iter();
    let Some(first) = lengths.next() else {
        return Some(Framing::UntilEnd);
    };
    let length = first.to_str().ok()?;
    let is_number = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
    let is_agreed = is_number && lengths.all(|other| other == first);
    is_agreed.then(|| length.parse().ok().map(Framing::Length))?
}

/// The refusal made of a head and what came of its body.
pub(super) fn refused(head: Response<()>, body: BytesMut, is_whole: bool) -> ClientError {
    let response = head.map(|()| body.freeze());
    ClientError::Refused(Box::new(Refused { response, is_whole }))
}
