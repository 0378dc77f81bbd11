//! A message body on its way through: pulled by whoever writes it out, never held whole.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

/// What any body may fail with; the kind decides who is told what (`error.rs`).
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A body: nothing, bytes that are at hand, or a stream from a connection.
///
/// It is pulled frame by frame (`http_body::Body`), so nothing is read from its source before the
/// other side has taken what came before.
#[derive(Default)]
pub struct Body(Kind);

#[derive(Default)]
enum Kind {
    #[default]
    Empty,
    Full(Bytes),
    Stream(Pin<Box<dyn Stream>>),
}

/// A body that comes from a connection.
pub(crate) trait Stream: HttpBody<Data = Bytes, Error = BodyError> + Send + Sync {
    /// Goes on with work that must not wait until the next frame is asked for: the upload that
    /// still runs while its answer is already coming back. Called whenever the writer of the body
    /// cannot take more.
    fn poll_aside(self: Pin<&mut Self>, _cx: &mut Context<'_>) {}
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
        Self(Kind::Stream(Box::pin(stream)))
    }

    /// How many bytes it has, where that is known before they are read.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.size_hint().exact()
    }

    pub(crate) fn poll_aside(&mut self, cx: &mut Context<'_>) {
        if let Kind::Stream(stream) = &mut self.0 {
            stream.as_mut().poll_aside(cx);
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
        match &mut self.0 {
            Kind::Empty => Poll::Ready(None),
            Kind::Full(bytes) => {
                let bytes = std::mem::take(bytes);
                self.0 = Kind::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Kind::Stream(stream) => stream.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Full(_) => false,
            Kind::Stream(stream) => stream.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.0 {
            Kind::Empty => "empty",
            Kind::Full(_) => "full",
            Kind::Stream(_) => "stream",
        };
        f.debug_struct("Body")
            .field("kind", &kind)
            .field("length", &self.length())
            .finish()
    }
}
