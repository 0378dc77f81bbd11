//! What a path pattern captured.

use std::sync::Arc;

/// Names and the parts of the path which stood in their places, in the order of the pattern.
///
/// A value is the text of the normalised path: escapes that the path keeps are in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captures {
    // A pattern has a handful of names, where a list beats a map.
    entries: Vec<(Arc<str>, Box<str>)>,
}

impl Captures {
    /// The value captured under `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value)
    }

    /// All names with their values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + '_ {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }

    /// How many values were captured.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing was captured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds a value; an earlier one of the same name goes on to win.
    pub fn push(&mut self, name: impl Into<Arc<str>>, value: impl Into<Box<str>>) {
        self.entries.push((name.into(), value.into()));
    }

    /// Forgets all values but the first `len`.
    pub fn truncate(&mut self, len: usize) {
        self.entries.truncate(len);
    }
}
