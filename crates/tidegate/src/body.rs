//! A message body on its way through: pulled by whoever writes it out, never held whole.

mod bounded;

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use http_body::{Body as HttpBody, Frame, SizeHint};

pub(crate) use self::bounded::Bounded;
use crate::headers::Headers;

/// What any body may fail with; the kind decides who is told what (`error.rs`).
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body: nothing, bytes that are at hand, or a stream from a connection.
///
/// It is pulled part by part, so nothing is read from its source before the other side has taken
/// what came before. To the outside it is an `http_body::Body`.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Stream(Box<dyn Stream>),
}

/// What comes next of a body.
#[derive(Debug)]
pub(crate) enum Part {
    /// Data.
    Data(Bytes),
    /// The trailers, behind all data; their names keep their case.
    Trailers(Headers),
}

/// What pulling a body brings: `None` is its end.
pub(crate) type Pulled = Option<Result<Part, BodyError>>;

/// A body that comes from a connection.
pub(crate) trait Stream: Send + Sync {
    /// Brings the next part.
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Pulled>;

    /// Goes on with work that must not wait until the next part is asked for: the upload that
    /// still runs while its answer is already coming back. Called whenever the writer of the body
    /// cannot take more.
    fn poll_aside(&mut self, _cx: &mut Context<'_>) {}

    /// Waits, behind the last part, for work that the body's end does not wait for.
    fn poll_settle(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }

    /// How many bytes are still to come, where that is known.
    fn length(&self) -> Option<u64>;
}

impl Body {
    /// No body at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Kind::Empty)
    }

    /// A body of bytes that are at hand.
    #[must_use]
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self(Kind::Full(bytes))
        }
    }

    pub(crate) fn stream(stream: impl Stream + 'static) -> Self {
        Self(Kind::Stream(Box::new(stream)))
    }

    /// How many bytes are still to come, where that is known before they are read.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        match &self.0 {
            Kind::Empty => Some(0),
            Kind::Full(bytes) => Some(bytes.len() as u64),
            Kind::Stream(stream) => stream.length(),
        }
    }

    /// The bytes that are at hand.
    pub(crate) fn at_hand(&self) -> &[u8] {
        match &self.0 {
            Kind::Full(bytes) => bytes,
            Kind::Empty | Kind::Stream(_) => &[],
        }
    }

    pub(crate) fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Part::Data(bytes))))
            }
            Kind::Stream(stream) => stream.poll_part(cx),
        }
    }

    pub(crate) fn poll_aside(&mut self, cx: &mut Context<'_>) {
        if let Kind::Stream(stream) = &mut self.0 {
            stream.poll_aside(cx);
        }
    }

    pub(crate) fn poll_settle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Kind::Stream(stream) => stream.poll_settle(cx),
            Kind::Empty | Kind::Full(_) => Poll::Ready(()),
        }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let part = ready!(self.poll_part(cx));
        Poll::Ready(part.map(|part| {
            part.map(|part| match part {
                Part::Data(data) => Frame::data(data),
                Part::Trailers(trailers) => Frame::trailers(header_map(&trailers)),
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Kind::Empty)
    }

    fn size_hint(&self) -> SizeHint {
        self.length().map(SizeHint::with_exact).unwrap_or_default()
    }
}

fn header_map(headers: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len());
    for field in headers.iter() {
        // Each of our names is one of theirs.
        if let Ok(name) = HeaderName::from_bytes(field.name.as_str().as_bytes()) {
            map.append(name, field.value.clone());
        }
    }
    map
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Stream(_) => "stream",
        };
        let length = self.length();
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("length", &length)
            .finish()
    }
}
