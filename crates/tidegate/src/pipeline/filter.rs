//! The seam: what a filter is, and when it is called.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{ExchangeFacts, FrameFilter, ResponseHead, SessionOpening, UnboundVariable};
use crate::auth::AuthError;
use crate::exchange::{Answer, Exchange};
use crate::headers::FieldName;
use crate::router::PathError;

/// One step of a pipeline. It has three moments, and each does nothing unless it is overridden.
///
/// One filter serves all exchanges of its route at once. What it learns about one exchange and
/// needs later belongs into the exchange's extensions.
pub trait Filter: fmt::Debug + Send + Sync {
    /// Runs when the route is chosen and before the target is called, after the filters listed
    /// earlier. It may change the exchange: its path, query and headers are what is forwarded.
    ///
    /// [`Step::Continue`] goes on; [`Step::Answer`] ends the request here, and neither later
    /// filters nor the target see it; an error becomes the answer that the gateway has for it.
    /// Nothing has been promised to the client yet. The default goes on.
    fn on_request<'a>(&'a self, _exchange: &'a mut Exchange) -> Moment<'a> {
        Moment::ready(Ok(Step::Continue))
    }

    /// Runs before a response head is written, after the filters listed later: for every answer of
    /// the route, one that another filter gave in place of the target included, even when
    /// [`Self::on_request`] of this filter never ran. It runs for the 101 of an upgrade too, where
    /// the status is fixed. The default leaves the head as it is.
    fn on_response(&self, _facts: &ExchangeFacts<'_>, _head: &mut ResponseHead<'_>) {}

    /// Runs once when an upgrade has been agreed upon, before the first frame is passed on. Whoever
    /// is returned sees the header of every frame, on the hot path. The default returns nobody,
    /// and a session without watchers is passed on faster.
    fn on_session(&self, _opening: &SessionOpening<'_>) -> Option<Box<dyn FrameFilter>> {
        None
    }
}

/// What a filter wants to happen next.
#[derive(Debug)]
pub enum Step {
    /// This is the answer; no later filter and no target is asked.
    Answer(Answer),
    /// Go on with the next filter, or with the target.
    Continue,
}

/// Why a filter could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// The client is not known, or may not come through.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// A captured value cannot be written into a header.
    #[error("a captured value cannot stand in the header {name}")]
    HeaderValue {
        /// Which header.
        name: FieldName,
    },
    /// An embedder's filter failed.
    #[error(transparent)]
    Other(Box<dyn std::error::Error + Send + Sync>),
    /// What the filter made of the request's path is no path.
    #[error("the path that `{filter}` makes is not valid: {source}")]
    Path {
        /// The filter's name in a configuration.
        filter: &'static str,
        /// What is wrong with the path.
        source: PathError,
    },
    /// A placeholder has no value.
    #[error(transparent)]
    Unbound(#[from] UnboundVariable),
}

impl FilterError {
    /// Whether the client's request is to blame (400) rather than the gateway (500).
    ///
    /// A path that a filter spoils is the client's doing, who chose the text that did it; but that
    /// it begins with a slash is for the configuration to see to.
    #[must_use]
    pub fn blames_downstream(&self) -> bool {
        match self {
            Self::Auth(error) => !matches!(error, AuthError::KeysUnavailable),
            Self::HeaderValue { .. } => true,
            Self::Path { source, .. } => *source != PathError::NoLeadingSlash,
            Self::Other(_) | Self::Unbound(_) => false,
        }
    }
}

/// What a filter says to a request: at once, or after it has waited for something.
///
/// Only waiting costs a box.
#[must_use = "a moment does nothing unless it is awaited"]
pub struct Moment<'a>(Kind<'a>);

enum Kind<'a> {
    Ready(Option<Result<Step, FilterError>>),
    Waits(Pin<Box<dyn Future<Output = Result<Step, FilterError>> + Send + 'a>>),
}

impl<'a> Moment<'a> {
    /// A word that is known at once.
    pub const fn ready(result: Result<Step, FilterError>) -> Self {
        Self(Kind::Ready(Some(result)))
    }

    /// A word that has to be waited for. It is dropped where the client goes away meanwhile.
    pub fn waits(future: impl Future<Output = Result<Step, FilterError>> + Send + 'a) -> Self {
        Self(Kind::Waits(Box::pin(future)))
    }

    /// Going on, or the error.
    pub(super) fn after(result: Result<(), FilterError>) -> Self {
        Self::ready(result.map(|()| Step::Continue))
    }
}

impl Future for Moment<'_> {
    type Output = Result<Step, FilterError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            // Polled again after its end it waits for ever, as a future may.
            Kind::Ready(result) => result.take().map_or(Poll::Pending, Poll::Ready),
            Kind::Waits(future) => future.as_mut().poll(cx),
        }
    }
}

impl fmt::Debug for Moment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Ready(_) => "Moment::Ready",
            Kind::Waits(_) => "Moment::Waits",
        })
    }
}
