//! The chunked coding (RFC 9112 section 7.1), decoded strictly.

use bytes::{Bytes, BytesMut};

use super::end::find_end;
use super::head::{self, HeadError, Limits};
use crate::headers::Headers;

/// The most bytes of a line with a chunk's size, extensions included.
const MAX_SIZE_LINE: usize = 256;

/// Why a chunked body was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChunkError {
    /// A size that is no hexadecimal number, too large, or on a line too long.
    #[error("a chunk's size cannot be read")]
    Size,
    /// A chunk that does not end with CR LF.
    #[error("a chunk does not end where its size says")]
    End,
    /// The trailers do not follow their grammar, or are too many.
    #[error("the trailers cannot be read")]
    Trailers,
}

/// Where a chunked body stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkDecoder {
    /// Before the line with a chunk's size.
    Size,
    /// Inside a chunk: so many bytes are still to come.
    Data(u64),
    /// Behind a chunk's data.
    DataEnd,
    /// Behind the last chunk; so many bytes of the trailers were looked at.
    Trailers(usize),
}

/// What the next bytes of a chunked body are.
#[derive(Debug, PartialEq)]
pub(crate) enum Decoded {
    /// Data.
    Data(Bytes),
    /// The end, with the trailers (often none).
    End(Headers),
    /// Not there yet.
    NeedMore,
}

impl ChunkDecoder {
    /// Takes what comes next out of `input`.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, ChunkError> {
        loop {
            match self {
                Self::Size => match take_size(input)? {
                    None => return Ok(Decoded::NeedMore),
                    Some(0) => *self = Self::Trailers(0),
                    Some(size) => *self = Self::Data(size),
                },
                Self::Data(remaining) => {
                    if input.is_empty() {
                        return Ok(Decoded::NeedMore);
                    }
                    let size = usize::try_from(*remaining)
                        .unwrap_or(usize::MAX)
                        .min(input.len());
                    *remaining -= size as u64;
                    if *remaining == 0 {
                        *self = Self::DataEnd;
                    }
                    return Ok(Decoded::Data(input.split_to(size).freeze()));
                }
                Self::DataEnd => match input.get(..2) {
                    Some(b"\r\n") => {
                        let _ = input.split_to(2);
                        *self = Self::Size;
                    }
                    None if input.is_empty() || input[..] == *b"\r" => {
                        return Ok(Decoded::NeedMore);
                    }
                    _ => return Err(ChunkError::End),
                },
                Self::Trailers(scanned) => return take_trailers(input, scanned),
            }
        }
    }
}

/// Takes a line with a chunk's size. Extensions are checked for control bytes and dropped (RFC 9112
/// section 7.1.1).
fn take_size(input: &mut BytesMut) -> Result<Option<u64>, ChunkError> {
    let window = &input[..input.len().min(MAX_SIZE_LINE)];
    let Some(end) = memchr::memchr(b'\n', window) else {
        return if window.len() == MAX_SIZE_LINE {
            Err(ChunkError::Size)
        } else {
            Ok(None)
        };
    };
    let line = window[..end].strip_suffix(b"\r").ok_or(ChunkError::Size)?;
    let digits = line
        .iter()
        .position(|byte| !byte.is_ascii_hexdigit())
        .unwrap_or(line.len());
    let (digits, extensions) = line.split_at(digits);
    let is_clean = |byte: &u8| *byte == b'\t' || *byte >= b' ' && *byte != 0x7f;
    let extensions_fit = extensions.is_empty()
        || extensions.trim_ascii_start().starts_with(b";") && extensions.iter().all(is_clean);
    if !(1..=15).contains(&digits.len()) || !extensions_fit {
        return Err(ChunkError::Size);
    }
    let size = digits.iter().fold(0, |size, &digit| {
        size << 4 | u64::from((digit as char).to_digit(16).unwrap_or(0))
    });
    let _ = input.split_to(end + 1);
    Ok(Some(size))
}

fn take_trailers(input: &mut BytesMut, scanned: &mut usize) -> Result<Decoded, ChunkError> {
    let limits = Limits::default();
    match input.get(..2) {
        Some(b"\r\n") => {
            let _ = input.split_to(2);
            return Ok(Decoded::End(Headers::new()));
        }
        None if input.is_empty() || input[..] == *b"\r" => return Ok(Decoded::NeedMore),
        _ => {}
    }
    match find_end(input, scanned, &limits) {
        Err(_refused) => Err(ChunkError::Trailers),
        Ok(None) => Ok(Decoded::NeedMore),
        Ok(Some(end)) => {
            let trailers = head::parse_trailers(input.split_to(end), &limits);
            trailers
                .map(Decoded::End)
                .map_err(|_refused: HeadError| ChunkError::Trailers)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Data and trailers of a stream fed in pieces of `step` bytes, and what is left over.
    fn decode(stream: &[u8], step: usize) -> Result<(Vec<u8>, Headers, usize), ChunkError> {
        let (mut decoder, mut input, mut data) = (ChunkDecoder::Size, BytesMut::new(), Vec::new());
        let mut fed = 0;
        for piece in stream.chunks(step) {
            input.extend_from_slice(piece);
            fed += piece.len();
            loop {
                match decoder.decode(&mut input)? {
                    Decoded::Data(bytes) => data.extend_from_slice(&bytes),
                    Decoded::End(trailers) => {
                        return Ok((data, trailers, input.len() + stream.len() - fed));
                    }
                    Decoded::NeedMore => break,
                }
            }
        }
        panic!("no end in {stream:?}");
    }

    #[test]
    fn the_same_body_under_any_cut() {
        let stream =
            b"5\r\nhello\r\nA ; ext=\"1\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\nx-b: 2\r\n\r\nGET";
        for step in 1..stream.len() {
            let (data, trailers, left) = decode(stream, step).unwrap();
            assert_eq!(
                (&data[..], trailers.len(), left),
                (&b"hello0123456789"[..], 2, 3)
            );
        }
        assert_eq!(decode(b"0\r\n\r\n", 1).unwrap().0, b"");
    }

    #[test]
    fn tricks_are_refused() {
        for bad in [
            "5\nhello\r\n",
            "5\r\nhelloX\r\n",
            "5 \r\nhello\r\n",
            "0x5\r\nhello\r\n",
            "-5\r\nhello\r\n",
            "\r\n",
            "g\r\n",
            "5;\0\r\nhello\r\n",
            "1234567890abcdef\r\n",
            "5\r\nhello\n0\r\n\r\n",
            "0\r\nX: 1\n\r\n",
            "0\r\nX : 1\r\n\r\n",
        ] {
            for step in 1..=bad.len() {
                assert!(decode(bad.as_bytes(), step).is_err(), "{bad:?}");
            }
        }
    }
}
