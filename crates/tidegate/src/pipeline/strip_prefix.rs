//! `strip_prefix`: the upstream does not know the first segments of the path.

use super::{Filter, Moment, Step};
use crate::exchange::Exchange;

/// Drops segments from the front of the path; where there are no more, `/` is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StripPrefix {
    /// How many.
    pub segments: usize,
}

impl Filter for StripPrefix {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        exchange.replace_path(exchange.path.strip_segments(self.segments));
        Moment::ready(Ok(Step::Continue))
    }
}
