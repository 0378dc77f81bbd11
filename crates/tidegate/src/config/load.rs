//! Files and the environment: the only place of the library that reads either.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::error::{Fault, Place, Position, Problems};
use super::yaml::Variables;

/// The largest file that is read; a thousand routes are about 300 KB.
const LARGEST_FILE: u64 = 8 << 20;

/// Environment variables, read once.
#[derive(Clone, Default)]
pub struct Environment {
    /// By name; `None` where the value is not UTF-8.
    values: BTreeMap<String, Option<String>>,
}

impl Environment {
    /// No variables at all.
    #[must_use]
    pub const fn empty() -> Self {
        Self {
            values: BTreeMap::new(),
        }
    }

    /// The variables of this process, as they are now.
    #[must_use]
    pub fn of_process() -> Self {
        let named = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()))
        };
        Self {
            values: std::env::vars_os().filter_map(named).collect(),
        }
    }

    /// All variables in the order of their names; `None` where a value is not UTF-8.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        let values = self.values.iter();
        values.map(|(name, value)| (name.as_str(), value.as_deref()))
    }
}

impl Variables for Environment {
    fn value_of(&self, name: &str) -> Result<Option<&str>, Fault> {
        match self.values.get(name) {
            None => Ok(None),
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(Fault::new(format!(
                "the environment variable `{name}` is not UTF-8"
            ))),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter();
        Self {
            values: variables
                .map(|(name, value)| (name.into(), Some(value.into())))
                .collect(),
        }
    }
}

/// Shows how many there are and no value: some are secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.values.len())
            .finish_non_exhaustive()
    }
}

/// Reads the text of `path`, which messages call `name`.
pub(super) fn read(path: &Path, name: &Arc<str>, problems: &mut Problems) -> Option<String> {
    let bytes = match read_bounded(path) {
        Ok(bytes) => bytes,
        Err(error) => {
            let fault = Fault::new(format!("the file cannot be read: {error}"));
            problems.fault(&Place::file(name), fault);
            return None;
        }
    };
    match String::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) => {
            let (bytes, valid) = (error.as_bytes(), error.utf8_error().valid_up_to());
            let place = Place {
                position: Some(position_of(&bytes[..valid])),
                ..Place::file(name)
            };
            problems.suggest(&place, "the file is not UTF-8 text", "save it as UTF-8");
            None
        }
    }
}

/// Reads the text of a file that holds a secret. No fault repeats any of it.
pub(super) fn read_secret(path: &Path) -> Result<String, Fault> {
    let fault = |what: &dyn fmt::Display| Fault::new(format!("{}: {what}", path.display()));
    let bytes = read_bounded(path)
        .map_err(|error| fault(&format_args!("the file cannot be read: {error}")))?;
    String::from_utf8(bytes).map_err(|_not_text| fault(&"the file is not UTF-8 text"))
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        let limit = LARGEST_FILE >> 20;
        return Err(io::Error::other(format!("it is larger than {limit} MiB")));
    }
    Ok(bytes)
}

/// The position behind `text`, which is valid UTF-8.
fn position_of(text: &[u8]) -> Position {
    let text = str::from_utf8(text).unwrap_or_default();
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position {
        line: text.matches('\n').count() + 1,
        column: last.chars().count() + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_of_the_environment_is_printed() {
        let environment = Environment::from_iter([("PASSWORD", "hunter2")]);
        assert_eq!(
            format!("{environment:?}"),
            "Environment { variables: 1, .. }"
        );
    }

    #[test]
    fn bytes_that_are_no_text_are_found() {
        let position = position_of("a: 1\nb: \u{e4}".as_bytes());
        assert_eq!((position.line, position.column), (2, 5));
    }
}
