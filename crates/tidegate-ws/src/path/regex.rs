//! A regular expression that stands for a whole text.

use std::fmt;

use regex::Regex;

/// A regular expression that matches a whole text or nothing: `a|b` does not match `ab`, nor does
/// a part of a longer value let it pass.
#[derive(Clone)]
pub struct WholeRegex {
    written: Box<str>,
    anchored: Regex,
}

/// Why a text is no regular expression.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(transparent)]
pub struct RegexError(Box<regex::Error>);

impl WholeRegex {
    /// Compiles `text`, in the syntax of the `regex` crate: no look-around, no back references, and
    /// a match in linear time.
    ///
    /// # Errors
    /// When the text is no such expression, or one that would be too large.
    pub fn parse(text: &str) -> Result<Self, RegexError> {
        // Alone first: `a)|(b` is no regex, but within our group it would become one.
        Regex::new(text).map_err(RegexError::new)?;
        Ok(Self {
            written: text.into(),
            // The line end closes a comment that `(?x)` may have opened.
            anchored: Regex::new(&format!(r"\A(?:{text})\z"))
                .or_else(|_comment| Regex::new(&format!("\\A(?:{text}\n)\\z")))
                .map_err(RegexError::new)?,
        })
    }

    /// Whether all of `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        self.anchored.is_match(text)
    }

    /// The expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }
}

impl RegexError {
    fn new(error: regex::Error) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for WholeRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WholeRegex({})", self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_must_match() {
        let regex = WholeRegex::parse("a|ab").unwrap();
        assert!(regex.is_match("ab"));
        assert!(!regex.is_match("abc"));
        assert!(!regex.is_match("ab\n"));
        assert!(WholeRegex::parse("a)|(b").is_err());
        assert!(WholeRegex::parse("(?x)a # c").unwrap().is_match("a"));
    }
}
