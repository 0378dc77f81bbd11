//! Fields as they may be printed: their names, for a value may be a secret.

use std::fmt;

use http::HeaderMap;

/// The names of all fields.
pub(crate) struct Names<'a>(pub(crate) &'a HeaderMap);

impl fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.keys().map(http::HeaderName::as_str);
        f.debug_set().entries(names).finish()
    }
}

/// The head of an answer: its status, and the names of its fields.
#[cfg(feature = "client")]
pub(crate) struct Head<'a, B>(pub(crate) &'a http::Response<B>);

#[cfg(feature = "client")]
impl<B> fmt::Debug for Head<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.0.status())
            .field("headers", &Names(self.0.headers()))
            .finish_non_exhaustive()
    }
}
