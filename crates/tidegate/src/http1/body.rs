//! A body as it comes off a connection.

use bytes::{Bytes, BytesMut};

use super::chunk::{ChunkDecoder, ChunkError, Decoded};
use super::head::Framing;
use crate::body::{Part, Pulled};
use crate::forwarded;
use crate::headers::Headers;

/// Why a body did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyFailure {
    /// The sender broke the chunked coding.
    #[error("the body is malformed: {0}")]
    Chunk(#[from] ChunkError),
    /// The connection ended before the body did.
    #[error("the connection ended inside the body")]
    Cut,
    /// The connection failed.
    #[error("the connection failed inside the body: {0}")]
    Io(#[from] std::io::Error),
    /// A body that took longer than it may.
    #[error("the body did not come in time")]
    Slow,
    /// A body that may not be passed on any further.
    #[error("the body is larger than the {limit} bytes allowed")]
    TooLarge {
        /// The limit in bytes.
        limit: u64,
    },
}

/// Where the body of one message stands.
#[derive(Debug)]
pub(crate) enum BodyDecoder {
    /// So many bytes are still to come.
    Length(u64),
    /// In chunks.
    Chunked(ChunkDecoder),
    /// Until the sender ends the connection.
    UntilClose,
    /// It is over.
    Done,
}

impl BodyDecoder {
    pub(crate) const fn new(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Done,
            Framing::Length(length) => Self::Length(length),
            Framing::Chunked => Self::Chunked(ChunkDecoder::Size),
            Framing::UntilClose => Self::UntilClose,
        }
    }

    pub(crate) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// How many bytes are still to come, where that is known.
    pub(crate) const fn remaining(&self) -> Option<u64> {
        match self {
            Self::Length(remaining) => Some(*remaining),
            Self::Done => Some(0),
            Self::Chunked(_) | Self::UntilClose => None,
        }
    }

    /// Takes what comes next out of `input`.
    pub(crate) fn decode(&mut self, input: &mut BytesMut) -> Result<Decoded, BodyFailure> {
        match self {
            Self::Done => Ok(Decoded::End(Headers::new())),
            Self::Chunked(chunks) => {
                let decoded = chunks.decode(input)?;
                if matches!(decoded, Decoded::End(_)) {
                    *self = Self::Done;
                }
                Ok(decoded)
            }
            _ if input.is_empty() => Ok(Decoded::NeedMore),
            Self::UntilClose => Ok(Decoded::Data(input.split().freeze())),
            Self::Length(remaining) => {
                let data = take(input, *remaining);
                *remaining -= data.len() as u64;
                if *remaining == 0 {
                    *self = Self::Done;
                }
                Ok(Decoded::Data(data))
            }
        }
    }

    /// The sender has ended the connection: the end of a body that lasts until then.
    pub(crate) fn finish(&mut self) -> Result<(), BodyFailure> {
        match self {
            Self::UntilClose | Self::Done => {
                *self = Self::Done;
                Ok(())
            }
            Self::Length(_) | Self::Chunked(_) => Err(BodyFailure::Cut),
        }
    }
}

fn take(input: &mut BytesMut, at_most: u64) -> Bytes {
    let size = usize::try_from(at_most)
        .unwrap_or(usize::MAX)
        .min(input.len());
    input.split_to(size).freeze()
}

/// What was decoded, as a part of a body.
pub(super) fn part(decoded: Result<Decoded, BodyFailure>) -> Pulled {
    match decoded {
        Err(failure) => Some(Err(failure.into())),
        Ok(Decoded::Data(data)) => Some(Ok(Part::Data(data))),
        Ok(Decoded::End(mut trailers)) => {
            trailers.retain(|field| !is_forbidden_trailer(field.name.as_str()));
            (!trailers.is_empty()).then_some(Ok(Part::Trailers(trailers)))
        }
        Ok(Decoded::NeedMore) => None,
    }
}

/// Whether a trailer would speak of framing, routing, the connection, the client or its credentials
/// behind the reader's back (RFC 9110 section 6.5.1): whoever merges it with the fields of the head
/// would believe what was taken out of those.
fn is_forbidden_trailer(name: &str) -> bool {
    const FORBIDDEN: [&str; 23] = [
        "authorization",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "cookie",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "origin",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "range",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
    ];
    const PREFIX: &str = "sec-websocket-";
    FORBIDDEN
        .iter()
        .any(|forbidden| name.eq_ignore_ascii_case(forbidden))
        || name
            .get(..PREFIX.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
        || forwarded::tells_of_client(name)
        || forwarded::tells_of_user(name)
}
