//! A YAML text as a tree in which every key and value knows where it stands.
//!
//! `parse` builds the tree, with variables filled in and within fixed bounds; `overrides` (one
//! room up) lays the environment over it; `reader` reads types out of it.

mod choice;
mod fields;
mod parse;
mod reader;
mod suggest;
mod syntax;
mod variables;

use std::fmt;
use std::sync::Arc;

use super::error::{Place, Position};

pub(super) use choice::Choice;
pub(super) use fields::Fields;
pub(super) use parse::parse;
pub(super) use reader::{Located, Spot};
pub(crate) use suggest::did_you_mean;
pub(super) use suggest::nearest;
pub(super) use variables::Variables;

/// One value of the tree.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) at: At,
}

/// What a value is, before anybody asks for a type.
#[derive(Debug, Clone)]
pub(super) enum Kind {
    /// An error was reported for it already: readers pass over it in silence.
    Broken,
    /// Nothing, `~` or `null`.
    Null,
    Scalar(Scalar),
    List(Vec<Node>),
    /// In the order of the text, each key once.
    Map(Vec<Entry>),
}

/// A text, and how far its notation settles its type.
#[derive(Debug, Clone)]
pub(super) struct Scalar {
    pub(super) text: String,
    /// Whether quotes (or a block notation) say that it is text and nothing else. Where a variable
    /// was filled in, quotes say nothing: inside `{ }` YAML demands them around `${...}`.
    pub(super) quoted: bool,
}

/// One key with its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) value: Node,
}

/// A key of a map.
#[derive(Debug, Clone)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) at: At,
}

/// Where something stands in a file or an environment variable.
#[derive(Debug, Clone)]
pub(super) struct At {
    pub(super) file: Arc<str>,
    pub(super) position: Position,
}

impl At {
    pub(super) fn place(&self, path: impl Into<String>) -> Place {
        Place {
            file: Arc::clone(&self.file),
            position: Some(self.position),
            path: path.into(),
        }
    }
}

impl Kind {
    /// What it is called in an error message.
    pub(super) const fn noun(&self) -> &'static str {
        match self {
            Self::Broken => "an invalid value",
            Self::Null => "nothing",
            Self::Scalar(_) => "a single value",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }
}

/// The path of `key` below `path`.
pub(super) fn key_path(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty()
        && key
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    match (path.is_empty(), is_plain) {
        (true, true) => key.to_owned(),
        (false, true) => format!("{path}.{key}"),
        (_, false) => format!("{path}[{}]", Quoted(key)),
    }
}

/// The path of the item `index` below `path`.
pub(super) fn item_path(path: &str, index: usize) -> String {
    format!("{path}[{index}]")
}

/// A value as an error message shows it: in backticks, on one line, of bounded length.
pub(super) struct Quoted<'a>(pub(super) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        let mut characters = self.0.chars();
        f.write_str("`")?;
        for character in characters.by_ref().take(SHOWN) {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                write!(f, "{character}")?;
            }
        }
        f.write_str(if characters.next().is_some() {
            "...`"
        } else {
            "`"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_show_odd_keys_in_brackets() {
        assert_eq!(key_path("", "version"), "version");
        assert_eq!(key_path("services", "a-b"), "services.a-b");
        assert_eq!(key_path("services", "a b"), "services[`a b`]");
        assert_eq!(item_path("routes", 2), "routes[2]");
    }

    #[test]
    fn shown_values_stay_on_one_line_and_short() {
        assert_eq!(Quoted("a\nb\u{1b}").to_string(), r"`a\nb\u{1b}`");
        assert_eq!(Quoted(&"x".repeat(500)).to_string().len(), 80 + 5);
    }
}
