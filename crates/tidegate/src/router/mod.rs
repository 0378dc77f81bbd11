//! The router.

mod captures;
mod escape;
mod path;

pub use captures::Captures;
pub use path::{Path, PathError};

/// placeholder
#[derive(Debug, Clone)]
pub struct Matcher;
