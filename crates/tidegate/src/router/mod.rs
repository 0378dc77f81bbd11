//! The router.

mod captures;
mod escape;
mod path;
mod pattern;
mod regex;

pub use captures::Captures;
pub use path::{Path, PathError};
pub use pattern::{PathPattern, PatternError};
pub use regex::WholeRegex;

/// placeholder
#[derive(Debug, Clone)]
pub struct Matcher;

/// Whether `name` can name a capture: letters, digits, `_` and `-`, no digit or `-` first.
pub(crate) fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}
