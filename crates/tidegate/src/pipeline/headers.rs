//! `set_`, `add_` and `remove_request_header`, and the same three for responses.

use super::header_edit::HeaderEdit;
use super::{ExchangeFacts, Filter, Moment, ResponseHead};
use crate::exchange::Exchange;

/// Changes the header fields of a request.
#[derive(Debug)]
pub(super) struct RequestHeader(pub(super) HeaderEdit);

/// Changes the header fields of a response.
#[derive(Debug)]
pub(super) struct ResponseHeader(pub(super) HeaderEdit);

impl Filter for RequestHeader {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        Moment::after(self.0.apply(&mut exchange.headers, &exchange.captures))
    }
}

impl Filter for ResponseHeader {
    /// Fails here when it would fail on the way back: by then the upstream has done its work, and
    /// an upgrade has been agreed upon.
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        Moment::after(self.0.check(&exchange.captures))
    }

    fn on_response(&self, facts: &ExchangeFacts<'_>, head: &mut ResponseHead<'_>) {
        // Another filter can have answered before `on_request` could check.
        if let Err(error) = self.0.apply(head.headers_mut(), facts.captures) {
            tracing::warn!(%error, "a response header was left out");
        }
    }
}
