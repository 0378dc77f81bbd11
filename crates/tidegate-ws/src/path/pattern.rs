//! Path patterns: how they are written, and how a path is held against them.

mod parse;

use std::fmt;
use std::sync::Arc;

use super::{Captures, Path, RegexError, WholeRegex, escape};

/// A pattern for whole paths.
///
/// | written | matches |
/// |---|---|
/// | `/a/b` | this path alone; a trailing slash counts |
/// | `/a/*` | one more segment, not empty |
/// | `/a/{id}` | the same, captured as `id` |
/// | `/a/{id:[0-9]{2}}` | the same, when the whole segment matches the regex |
/// | `/a/file-{id}.json` | one capture with text around it, within a segment |
/// | `/a/**` | `/a`, `/a/` and all below |
/// | `/a/{*rest}` | the same, the remainder captured with its leading slash (`/a` gives an empty one) |
/// | `/**` | everything |
///
/// Literal text is normalised as a path is, and compares with it whatever the spelling of escapes.
/// In a regex a brace that is not one of a pair is written `\{` or `\}`.
#[derive(Clone)]
pub struct PathPattern {
    written: Box<str>,
    segments: Vec<Segment>,
    tail: Tail,
}

/// Why a text is not a path pattern. `at` counts bytes from 0; the messages count columns from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PatternError {
    /// The regex of a capture does not compile.
    #[error("the regex of `{name}` in column {} is not valid: {source}", .at + 1)]
    BadRegex {
        /// Whose regex.
        name: String,
        /// Where it begins.
        at: usize,
        /// What is wrong with it.
        source: RegexError,
    },
    /// `**` or `{*name}` is not the whole last segment.
    #[error("column {}: `**` and `{{*name}}` can only be the whole last segment", .at + 1)]
    CatchAllInside {
        /// Where it is.
        at: usize,
    },
    /// Two captures have one name.
    #[error("column {}: the name `{name}` is already taken by an earlier capture", .at + 1)]
    DuplicateName {
        /// The name.
        name: String,
        /// Where the second capture is.
        at: usize,
    },
    /// A capture's name is not a name.
    #[error("column {}: `{name}` is not a name: letters, digits, `_` and `-`, no digit first", .at + 1)]
    InvalidName {
        /// What stands in its place.
        name: String,
        /// Where it begins.
        at: usize,
    },
    /// A segment has more than one capture.
    #[error("column {}: a segment can hold one capture only; use a regex instead", .at + 1)]
    ManyCaptures {
        /// Where the second one is.
        at: usize,
    },
    /// It does not begin with a slash.
    #[error("column 1: a path pattern begins with a slash")]
    NoLeadingSlash,
    /// Literal text that no path can hold.
    #[error("no path can match: {0}")]
    Path(#[from] super::PathError),
    /// A `*` next to other text.
    #[error("column {}: `*` stands for a whole segment; within one, use a `{{name}}`", .at + 1)]
    StarInside {
        /// Where it is.
        at: usize,
    },
    /// A brace without its partner.
    #[error("column {}: this brace has no partner", .at + 1)]
    UnbalancedBrace {
        /// Where it is.
        at: usize,
    },
}

/// One segment of a pattern.
#[derive(Clone)]
enum Segment {
    Any,
    Capture(Box<Capture>),
    Literal(Box<str>),
}

/// A captured segment, or the part of it between two literal texts.
#[derive(Clone)]
struct Capture {
    name: Arc<str>,
    prefix: Box<str>,
    suffix: Box<str>,
    regex: Option<WholeRegex>,
}

/// What may follow the segments.
#[derive(Clone)]
enum Tail {
    Anything,
    Captured(Arc<str>),
    Nothing,
}

impl PathPattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// When the text breaks the rules of the table above, or holds what no path can.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (segments, tail) = parse::pattern(text)?;
        Ok(Self {
            written: text.into(),
            segments,
            tail,
        })
    }

    /// The pattern as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.written
    }

    /// The names which it captures, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + '_ {
        let last = match &self.tail {
            Tail::Captured(name) => Some(&**name),
            Tail::Anything | Tail::Nothing => None,
        };
        self.segments
            .iter()
            .filter_map(|segment| match segment {
                Segment::Capture(capture) => Some(&*capture.name),
                Segment::Any | Segment::Literal(_) => None,
            })
            .chain(last)
    }

    /// Whether all of `path` matches; if so, what was captured is added to `captures`, else they
    /// stay as they were. Allocates for captured values alone.
    #[must_use]
    pub fn matches(&self, path: &Path, captures: &mut Captures) -> bool {
        let before = captures.len();
        let matched = self.walk(path.as_str(), captures);
        if !matched {
            captures.truncate(before);
        }
        matched
    }

    fn walk(&self, path: &str, captures: &mut Captures) -> bool {
        let mut rest = path;
        for wanted in &self.segments {
            let Some(from_segment) = rest.strip_prefix('/') else {
                return false;
            };
            let end = from_segment.find('/').unwrap_or(from_segment.len());
            let (segment, behind) = from_segment.split_at(end);
            if !wanted.matches(segment, captures) {
                return false;
            }
            rest = behind;
        }
        match &self.tail {
            Tail::Anything => true,
            Tail::Captured(name) => {
                captures.push(Arc::clone(name), rest);
                true
            }
            Tail::Nothing => rest.is_empty(),
        }
    }
}

impl fmt::Debug for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PathPattern({})", self.written)
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Segment {
    fn matches(&self, segment: &str, captures: &mut Captures) -> bool {
        match self {
            Self::Any => !segment.is_empty(),
            Self::Capture(capture) => {
                let Some(value) = capture.value(segment) else {
                    return false;
                };
                captures.push(Arc::clone(&capture.name), value);
                true
            }
            Self::Literal(literal) => escape::same_text(literal, segment),
        }
    }
}

impl Capture {
    fn value<'a>(&self, segment: &'a str) -> Option<&'a str> {
        let value = escape::strip_prefix(segment, &self.prefix)?;
        let value = escape::strip_suffix(value, &self.suffix)?;
        let fits = self
            .regex
            .as_ref()
            .is_none_or(|regex| regex.is_match(value));
        (fits && !value.is_empty()).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The captures as `name=value`, or nothing where the pattern does not match.
    fn matched(pattern: &str, path: &str) -> Option<String> {
        let pattern = PathPattern::parse(pattern).unwrap();
        let path = Path::normalise(path.as_bytes()).unwrap();
        let mut captures = Captures::default();
        if !pattern.matches(&path, &mut captures) {
            assert!(captures.is_empty(), "a miss leaves nothing behind");
            return None;
        }
        let pairs: Vec<_> = captures
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        Some(pairs.join(" "))
    }

    #[track_caller]
    fn check(pattern: &str, cases: &[(&str, Option<&str>)]) {
        for (path, wanted) in cases {
            assert_eq!(
                matched(pattern, path).as_deref(),
                *wanted,
                "{pattern} on {path}"
            );
        }
    }

    #[test]
    fn literals_match_the_normalised_path_in_any_spelling() {
        check(
            "/admin",
            &[
                ("/admin", Some("")),
                ("/%61dmin", Some("")),
                ("/x/../admin", Some("")),
                ("/Admin", None),
                ("/admin/", None),
                ("/admins", None),
                ("/", None),
            ],
        );
        check("/%61dmin", &[("/admin", Some(""))]);
        check("/café", &[("/café", Some("")), ("/caf%c3%a9", Some(""))]);
        check("/caf%C3%a9", &[("/café", Some("")), ("/cafe", None)]);
        check("/a%2fb", &[("/a%2Fb", Some("")), ("/a/b", None)]);
        check("/", &[("/", Some("")), ("//", None), ("/a", None)]);
        check("/a//b", &[("/a//b", Some("")), ("/a/b", None)]);
        check("/a/", &[("/a/", Some("")), ("/a", None)]);
    }

    #[test]
    fn a_capture_takes_one_segment_that_is_not_empty() {
        check(
            "/a/{id}/c",
            &[
                ("/a/b/c", Some("id=b")),
                ("/a/x%2Fy/c", Some("id=x%2Fy")),
                ("/a//c", None),
                ("/a/b/d", None),
                ("/a/b", None),
            ],
        );
        check(
            "/a/*",
            &[
                ("/a/b", Some("")),
                ("/a/", None),
                ("/a", None),
                ("/a/b/c", None),
            ],
        );
    }

    #[test]
    fn a_regex_must_match_the_whole_segment() {
        check(
            "/v{n:[0-9]{1,2}}/{name:[^/]+}",
            &[
                ("/v12/x", Some("n=12 name=x")),
                ("/v123/x", None),
                ("/v/x", None),
            ],
        );
        check(
            r"/{x:\{[0-9]+\}}",
            &[("/{12}", Some("x={12}")), ("/12", None)],
        );
        check("/{x:a|ab}", &[("/ab", Some("x=ab")), ("/abc", None)]);
    }

    #[test]
    fn text_may_stand_around_a_capture() {
        check(
            "/file-{id}.json",
            &[
                ("/file-7.json", Some("id=7")),
                ("/file-a.json.json", Some("id=a.json")),
                ("/file-.json", None),
                ("/file-.jso", None),
            ],
        );
        check("/é{x}", &[("/%c3%a9%2F", Some("x=%2F"))]);
    }

    #[test]
    fn a_catch_all_takes_zero_or_more_segments() {
        for path in ["/a", "/a/", "/a/b/c", "/a//"] {
            check("/a/**", &[(path, Some(""))]);
            check("/**", &[(path, Some(""))]);
        }
        check("/a/**", &[("/ab", None), ("/", None)]);
        check("/**", &[("/", Some(""))]);
        check(
            "/files/{*rest}",
            &[
                ("/files/a/b", Some("rest=/a/b")),
                ("/files/", Some("rest=/")),
                ("/files", Some("rest=")),
                ("/filesx", None),
            ],
        );
        check("/{*all}", &[("/", Some("all=/")), ("/a", Some("all=/a"))]);
    }

    #[test]
    fn names_are_told_in_order() {
        let pattern = PathPattern::parse("/{a}/x/{b:.}/{*c}").unwrap();
        assert_eq!(pattern.names().collect::<Vec<_>>(), ["a", "b", "c"]);
    }
}
