//! A request's body that may not be larger than its route allows.

use std::task::{Context, Poll, ready};

use crate::body::{Body, Part, Pulled, Stream};
use crate::error::GatewayError;
use crate::http1::body::BodyFailure;

/// Refuses a body that says that it is larger, and bounds one that says nothing.
pub(super) fn bound(body: &mut Body, limit: u64) -> Result<(), GatewayError> {
    match body.length() {
        Some(length) if length > limit => return Err(GatewayError::BodyTooLarge { limit }),
        Some(_) => {}
        None => {
            let left = limit;
            let inner = std::mem::take(body);
            *body = Body::stream(Bounded { inner, left, limit });
        }
    }
    Ok(())
}

struct Bounded {
    inner: Body,
    left: u64,
    limit: u64,
}

impl Stream for Bounded {
    fn poll_part(&mut self, cx: &mut Context<'_>) -> Poll<Pulled> {
        let part = ready!(self.inner.poll_part(cx));
        if let Some(Ok(Part::Data(data))) = &part {
            match self.left.checked_sub(data.len() as u64) {
                Some(left) => self.left = left,
                None => {
                    let limit = self.limit;
                    return Poll::Ready(Some(Err(BodyFailure::TooLarge { limit }.into())));
                }
            }
        }
        Poll::Ready(part)
    }

    fn length(&self) -> Option<u64> {
        self.inner.length()
    }
}
