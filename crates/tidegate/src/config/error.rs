//! What is wrong with a configuration, and where it stands.

use std::fmt;
use std::sync::Arc;

/// A place in a text, counted from 1 as editors do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One thing that is wrong (or, as a warning, doubtful) in a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or the environment variable, in which it stands.
    pub file: Arc<str>,
    /// Where in it; `None` where the whole file is meant, as when it cannot be read.
    pub position: Option<Position>,
    /// The YAML path, such as `routes[2].match.path`; empty at the root.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that can be guessed.
    pub suggestion: Option<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)?;
        match &self.suggestion {
            Some(suggestion) => write!(f, " ({suggestion})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for ConfigError {}

/// All that is wrong with a configuration; never empty. Displayed as one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Fails with these errors, if there are any.
    pub(crate) fn none_of(errors: Vec<ConfigError>) -> Result<(), Self> {
        if errors.is_empty() {
            return Ok(());
        }
        Err(Self(errors))
    }

    /// The errors: those of the file in its order, then those of environment variables.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Where a value stands: in a text, and in the tree.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) file: Arc<str>,
    pub(super) position: Option<Position>,
    pub(super) path: String,
}

impl Place {
    /// A whole file.
    pub(super) fn file(file: &Arc<str>) -> Self {
        Self {
            file: Arc::clone(file),
            position: None,
            path: String::new(),
        }
    }

    /// A fault that stands here.
    pub(super) fn say(&self, fault: Fault) -> ConfigError {
        ConfigError {
            file: Arc::clone(&self.file),
            position: self.position,
            path: self.path.clone(),
            message: fault.message,
            suggestion: fault.suggestion,
        }
    }
}

/// What a parser of one value says: what is wrong with it, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) message: String,
    pub(super) suggestion: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            suggestion: None,
        }
    }

    pub(super) fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }
}

/// Collects problems, so that one run shows them all.
#[derive(Debug, Clone, Default)]
pub(super) struct Problems {
    errors: Vec<ConfigError>,
    /// What is doubtful alone.
    doubts: Vec<ConfigError>,
}

impl Problems {
    pub(super) fn add(&mut self, place: &Place, message: impl Into<String>) {
        self.fault(place, Fault::new(message));
    }

    pub(super) fn suggest(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        self.fault(place, Fault::new(message).suggest(suggestion));
    }

    pub(super) fn fault(&mut self, place: &Place, fault: Fault) {
        self.errors.push(place.say(fault));
    }

    /// Adds what is allowed, but hardly meant.
    pub(super) fn doubt(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        suggestion: impl Into<String>,
    ) {
        let fault = Fault::new(message).suggest(suggestion);
        self.doubts.push(place.say(fault));
    }

    /// The doubts of it, as problems.
    pub(super) fn doubts(&self) -> Self {
        Self {
            errors: self.doubts.clone(),
            doubts: Vec::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// What was collected, in the order of `file`, and other sources behind it.
    pub(super) fn into_sorted(mut self, file: &str) -> Vec<ConfigError> {
        self.errors.sort_by(|one, other| {
            let key =
                |error: &ConfigError| (&*error.file != file, error.file.clone(), error.position);
            key(one).cmp(&key(other))
        });
        self.errors
    }

    /// What was collected, as errors.
    pub(super) fn into_errors(self, file: &str) -> ConfigErrors {
        ConfigErrors(self.into_sorted(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_file_place_path_fault_and_remedy() {
        let mut error = ConfigError {
            file: "a.yaml".into(),
            position: Some(Position { line: 3, column: 7 }),
            path: "routes[0].nam".into(),
            message: "unknown key".into(),
            suggestion: Some("did you mean `name`?".into()),
        };
        assert_eq!(
            error.to_string(),
            "a.yaml:3:7: routes[0].nam: unknown key (did you mean `name`?)"
        );
        error.position = None;
        error.path.clear();
        error.suggestion = None;
        assert_eq!(error.to_string(), "a.yaml: unknown key");
    }
}
