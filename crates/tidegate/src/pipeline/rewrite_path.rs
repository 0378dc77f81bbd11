//! `rewrite_path`: the upstream knows the path by another shape.

use std::borrow::Cow;

use regex::{Captures, Regex};

use super::{Filter, FilterError, Moment};
use crate::exchange::Exchange;
use crate::router::{Path, PathError};

const NAME: &str = "rewrite_path";

/// Replaces every match of a regex in the normalised path.
///
/// In the replacement `$1` and `${1}` stand for a group by its number, `$name` and `${name}` for
/// one by its name, `$$` for a dollar sign. `$\{name}`, as Spring writes it, is `${name}`.
///
/// The result is normalised again, and a dot segment in it is an error, because only text that the
/// client chose can have brought it there. Such a path is the client's fault (400), save that one
/// without its leading slash is the configuration's (500). A path without a match stays as it is.
#[derive(Debug, Clone)]
pub struct RewritePath {
    regex: Regex,
    replacement: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Group(usize),
    Text(Box<str>),
}

/// Why a rewrite cannot be. `at` counts bytes of the replacement from 0; the messages count
/// columns from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RewriteError {
    /// The regex does not compile.
    #[error("the regex is not valid: {0}")]
    BadRegex(Box<regex::Error>),
    /// A `$` that begins no reference.
    #[error("replacement, column {}: `$` names no group; a dollar sign is written `$$`", .at + 1)]
    LoneDollar {
        /// Where it is.
        at: usize,
    },
    /// A reference to a group that the regex does not have.
    #[error("replacement, column {}: the regex has no group `{name}`", .at + 1)]
    UnknownGroup {
        /// Its name or number.
        name: String,
        /// Where the reference begins.
        at: usize,
    },
}

impl RewritePath {
    /// Parses a rewrite; `regex` is in the syntax of the `regex` crate and matches anywhere unless
    /// it is anchored.
    pub fn parse(regex: &str, replacement: &str) -> Result<Self, RewriteError> {
        let regex = Regex::new(regex).map_err(|error| RewriteError::BadRegex(Box::new(error)))?;
        Ok(Self {
            replacement: parts(&regex, replacement)?,
            regex,
        })
    }

    fn apply(&self, exchange: &mut Exchange) -> Result<(), FilterError> {
        let filter = NAME;
        let rewritten = self
            .rewritten(&exchange.path)
            .map_err(|source| FilterError::Path { filter, source })?;
        if let Some(path) = rewritten {
            exchange.replace_path(path);
        }
        Ok(())
    }

    /// The new path; nothing where no match is.
    fn rewritten(&self, path: &Path) -> Result<Option<Path>, PathError> {
        let replaced = self
            .regex
            .replace_all(path.as_str(), |found: &Captures<'_>| {
                let text_of = |part| match part {
                    &Part::Group(index) => found.get(index).map_or("", |group| group.as_str()),
                    Part::Text(text) => &**text,
                };
                self.replacement.iter().map(text_of).collect::<String>()
            });
        match replaced {
            Cow::Borrowed(_unchanged) => Ok(None),
            Cow::Owned(made) => Path::compose(&made).map(Some),
        }
    }
}

impl Filter for RewritePath {
    fn on_request<'a>(&'a self, exchange: &'a mut Exchange) -> Moment<'a> {
        Moment::after(self.apply(exchange))
    }
}

/// Parses a replacement ourselves: the regex crate takes an unknown group for an empty one, and
/// `$1x` for a group named `1x`.
fn parts(regex: &Regex, replacement: &str) -> Result<Vec<Part>, RewriteError> {
    let mut parts = Vec::new();
    let mut rest = replacement;
    while let Some(dollar) = rest.find('$') {
        let (text, from_dollar) = rest.split_at(dollar);
        parts.push(Part::Text(text.into()));
        let at = replacement.len() - from_dollar.len();
        let behind = &from_dollar[1..];
        if let Some(after) = behind.strip_prefix('$') {
            parts.push(Part::Text("$".into()));
            rest = after;
            continue;
        }
        let (name, after) = reference(behind).ok_or(RewriteError::LoneDollar { at })?;
        let group = group(regex, name).ok_or_else(|| {
            let name = name.to_owned();
            RewriteError::UnknownGroup { name, at }
        })?;
        parts.push(Part::Group(group));
        rest = after;
    }
    parts.push(Part::Text(rest.into()));
    parts.retain(|part| *part != Part::Text("".into()));
    Ok(parts)
}

/// The name that stands behind a dollar sign, and what follows it.
fn reference(text: &str) -> Option<(&str, &str)> {
    let braced = text.strip_prefix('\\').unwrap_or(text);
    if let Some(inner) = braced.strip_prefix('{') {
        return inner.split_once('}');
    }
    let is_number = text.starts_with(|first: char| first.is_ascii_digit());
    let belongs = |byte: char| {
        byte.is_ascii_digit() || (!is_number && (byte.is_ascii_alphabetic() || byte == '_'))
    };
    let end = text.find(|byte| !belongs(byte)).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn group(regex: &Regex, name: &str) -> Option<usize> {
    match name.parse() {
        Ok(index) => (index < regex.captures_len()).then_some(index),
        Err(_a_name) => regex.capture_names().position(|known| known == Some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::exchange;

    fn rewritten(regex: &str, replacement: &str, path: &str) -> Result<String, FilterError> {
        let mut exchange = exchange(path);
        RewritePath::parse(regex, replacement)
            .unwrap()
            .apply(&mut exchange)?;
        Ok(exchange.path.to_string())
    }

    #[test]
    fn groups_are_named_or_counted() {
        for (regex, replacement, wanted) in [
            ("^/a/(?<rest>.*)$", "/$rest", "/b/c"),
            ("^/a/(?<rest>.*)$", "/${rest}x", "/b/cx"),
            (r"^/a/(?<rest>.*)$", r"/$\{rest}", "/b/c"),
            ("^/a/(.*)/(.*)", "/$2_$1$0", "/c_b/a/b/c"),
            ("^/(a)(z)?", "/$1$2", "/a/b/c"),
            ("/b", "", "/a/c"),
            ("[abc]", "x$$", "/x$/x$/x$"),
            ("^/z", "/y", "/a/b/c"),
        ] {
            let path = rewritten(regex, replacement, "/a/b/c").unwrap();
            assert_eq!(path, wanted, "{regex} {replacement}");
        }
    }

    #[test]
    fn it_works_on_the_normalised_path_and_normalises_what_it_makes() {
        assert_eq!(rewritten("^/a/", "/b/", "/x/../%61/c").unwrap(), "/b/c");
        assert_eq!(rewritten("^/a/", "/%62/", "/a/c").unwrap(), "/b/c");
    }

    #[test]
    fn what_the_client_can_spoil_is_the_clients_fault() {
        let climbing = rewritten("^/v(.*)$", "/files/$1", "/v..").unwrap_err();
        assert!(climbing.blames_downstream(), "{climbing}");
        let half_escape = rewritten("^/(..)", "/$1-", "/%2F").unwrap_err();
        assert!(half_escape.blames_downstream(), "{half_escape}");
        let no_slash = rewritten("^/a(.*)", "b$1", "/a/c").unwrap_err();
        assert!(!no_slash.blames_downstream(), "{no_slash}");
    }

    #[test]
    fn a_reference_to_nothing_is_refused_before_any_request_comes() {
        let refused = |replacement| RewritePath::parse("(a)(?<n>b)", replacement).unwrap_err();
        let unknown = |name: &str, at| RewriteError::UnknownGroup {
            name: name.to_owned(),
            at,
        };
        assert_eq!(refused("/$3"), unknown("3", 1));
        assert_eq!(refused("/é$m/"), unknown("m", 3));
        assert_eq!(refused("/${}"), unknown("", 1));
        assert_eq!(refused("/$"), RewriteError::LoneDollar { at: 1 });
        assert_eq!(refused("/${n"), RewriteError::LoneDollar { at: 1 });
        assert_eq!(refused("/$-"), RewriteError::LoneDollar { at: 1 });
        assert!(RewritePath::parse("(", "/").is_err());
    }
}
