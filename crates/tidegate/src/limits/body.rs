//! A request's body that may not be larger than its route allows.

use crate::body::{Body, Bounded};
use crate::error::GatewayError;

/// Refuses a body that says that it is larger, and bounds one that says nothing.
pub(super) fn bound(body: &mut Body, limit: u64) -> Result<(), GatewayError> {
    match body.length() {
        Some(length) if length > limit => return Err(GatewayError::BodyTooLarge { limit }),
        Some(_) => {}
        None => *body = Body::stream(Bounded::new(std::mem::take(body), limit)),
    }
    Ok(())
}
