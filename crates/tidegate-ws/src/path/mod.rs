//! Paths and the patterns for them: what a path means is settled once, so that what is matched is
//! also what is passed on.
//!
//! A [`Path`] is normalised before anything looks at it. A [`PathPattern`] is held against it, and
//! what stood in the places of its variables is kept in [`Captures`].

mod captures;
mod escape;
mod pattern;
mod regex;

use std::fmt;
use std::sync::Arc;

pub use self::regex::{RegexError, WholeRegex};
pub use captures::Captures;
pub use pattern::{PathPattern, PatternError};

/// A normalised path, valid by construction; a clone shares its text.
///
/// It begins with `/`, holds no dot segment, no control byte, no backslash and no delimiter, and
/// every escape in it stands for something that may not be written raw. `//` and a trailing `/`
/// mean something and are kept.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Path(Arc<str>);

/// Why bytes are not a path. `at` counts bytes from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A backslash, raw or encoded: some upstreams take it for a slash.
    #[error("a backslash, raw or encoded, at byte {at}")]
    Backslash {
        /// Where.
        at: usize,
    },
    /// A `%` which two hex digits do not follow.
    #[error("a % without two hex digits at byte {at}")]
    BadEscape {
        /// Where the `%` is.
        at: usize,
    },
    /// A control byte, raw or encoded.
    #[error("the control byte 0x{byte:02x}, raw or encoded, at byte {at}")]
    ControlByte {
        /// Which one.
        byte: u8,
        /// Where.
        at: usize,
    },
    /// A `.` or `..` in a path which a server itself put together, or in a pattern.
    #[error("a dot segment at byte {at}, where none may be")]
    DotSegment {
        /// Where the segment begins.
        at: usize,
    },
    /// A dot segment that hides behind an escape.
    #[error("a percent-encoded dot segment at byte {at}")]
    EncodedDotSegment {
        /// Where the segment begins.
        at: usize,
    },
    /// A `..` which has nothing left to take away.
    #[error("the .. at byte {at} leads out of the root")]
    LeavesRoot {
        /// Where the segment begins.
        at: usize,
    },
    /// It does not begin with a slash (the empty path included).
    #[error("it does not begin with a slash")]
    NoLeadingSlash,
    /// Raw bytes beyond ASCII that are not UTF-8.
    #[error("bytes that are not UTF-8 at byte {at}")]
    NotUtf8 {
        /// Where the first of them is.
        at: usize,
    },
    /// A raw space, `#` or `?`: the caller has already cut off the query.
    #[error("an unencoded {:?} at byte {at}", char::from(*.byte))]
    RawDelimiter {
        /// Which one.
        byte: u8,
        /// Where.
        at: usize,
    },
}

impl Path {
    /// Normalises the path of a request target, without its query.
    ///
    /// Dot segments are resolved (RFC 3986 section 5.2.4) and escapes of unreserved characters
    /// decoded; every other escape is kept byte for byte. What an upstream could read in another
    /// way than we do is refused rather than repaired.
    ///
    /// # Errors
    /// The first thing in it that could be.
    pub fn normalise(raw: &[u8]) -> Result<Self, PathError> {
        let text = std::str::from_utf8(raw).map_err(|error| PathError::NotUtf8 {
            at: error.valid_up_to(),
        })?;
        if !text.starts_with('/') {
            return Err(PathError::NoLeadingSlash);
        }
        if escape::scan(text, 0)? {
            resolve(text)
        } else {
            Ok(Self(text.into()))
        }
    }

    /// Normalises a path which a server itself put together. Here a dot segment is an error: it can
    /// only come from a value that the client chose, to leave the place the operator named.
    ///
    /// # Errors
    /// When `raw` is not a path or holds a dot segment.
    pub fn compose(raw: &str) -> Result<Self, PathError> {
        let mut at = 0;
        for segment in raw.split('/') {
            if is_dot_segment(segment) {
                return Err(PathError::DotSegment { at });
            }
            at += segment.len() + 1;
        }
        Self::normalise(raw.as_bytes())
    }

    /// The text; it begins with `/`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What stands between the slashes: `/a/b` has `a` and `b`, `/a/` has `a` and an empty segment,
    /// and `/` has one empty segment.
    pub fn segments(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.split('/').skip(1)
    }

    /// The path without its first `count` segments, and `/` when it has no more than these. A
    /// trailing slash is kept.
    #[must_use]
    pub fn strip_segments(&self, count: usize) -> Self {
        if count == 0 {
            return self.clone();
        }
        self.0
            .match_indices('/')
            .nth(count)
            .map_or_else(Self::default, |(at, _slash)| Self(self.0[at..].into()))
    }

    /// The path behind `prefix`. A slash at the end of `prefix` is not doubled. Errors when
    /// `prefix` is not a path or holds a dot segment.
    pub fn prefixed(&self, prefix: &str) -> Result<Self, PathError> {
        Ok(Self::compose(prefix)?.followed_by(self))
    }

    /// Both paths in one, with one slash between them.
    #[must_use]
    pub fn followed_by(&self, rest: &Self) -> Self {
        let start = self.0.strip_suffix('/').unwrap_or(&self.0);
        Self([start, &rest.0].concat().into())
    }
}

impl Default for Path {
    /// The root, `/`.
    fn default() -> Self {
        Self("/".into())
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `name` can name a capture: letters, digits, `_` and `-`, no digit or `-` first.
#[must_use]
pub fn is_variable_name(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn is_dot_segment(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

/// The slow path: `text` begins with a slash, and only its escapes and dots are still unseen.
fn resolve(text: &str) -> Result<Path, PathError> {
    let mut out = String::with_capacity(text.len());
    let mut at = 1;
    let mut segments = text.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        if segment == ".." {
            let parent = out.rfind('/').ok_or(PathError::LeavesRoot { at })?;
            out.truncate(parent);
        }
        if is_dot_segment(segment) {
            if segments.peek().is_none() {
                out.push('/'); // `/a/.` is the folder `/a/`
            }
        } else {
            out.push('/');
            let start = out.len();
            escape::decode_into(&mut out, segment, at)?;
            if is_dot_segment(&out[start..]) {
                return Err(PathError::EncodedDotSegment { at });
            }
        }
        at += segment.len() + 1;
    }
    Ok(Path(out.into()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normal(raw: &str) -> Result<String, PathError> {
        Path::normalise(raw.as_bytes()).map(|path| path.to_string())
    }

    fn path(raw: &str) -> Path {
        Path::normalise(raw.as_bytes()).unwrap()
    }

    #[test]
    fn dots_are_resolved_and_unreserved_escapes_decoded() {
        for (raw, wanted) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/", "/a/"),
            ("/a//b", "/a//b"),
            ("/a/./b", "/a/b"),
            ("/a/.", "/a/"),
            ("/.", "/"),
            ("/a/b/../c", "/a/c"),
            ("/a/b/..", "/a/"),
            ("/a/..", "/"),
            ("//..", "/"),
            ("/a//../b", "/a/b"),
            ("/...", "/..."),
            ("/.well-known/x", "/.well-known/x"),
            ("/%61dmin", "/admin"),
            ("/a%2ejson", "/a.json"),
            ("/%2e%2e%2e", "/..."),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%2fb", "/a%2fb"),
            ("/a%2F..%2Fb", "/a%2F..%2Fb"),
            ("/%c3%a9", "/%c3%a9"),
            ("/é", "/é"),
            ("/%2561", "/%2561"),
            ("/%25%36%31", "/%2561"),
            ("/%20%23%3F", "/%20%23%3F"),
            ("/{a}", "/{a}"),
        ] {
            assert_eq!(normal(raw).as_deref(), Ok(wanted), "{raw}");
        }
    }

    #[test]
    fn path_tricks_are_refused() {
        use PathError::*;
        for (raw, wanted) in [
            ("", NoLeadingSlash),
            ("a", NoLeadingSlash),
            ("*", NoLeadingSlash),
            ("/..", LeavesRoot { at: 1 }),
            ("/a/../..", LeavesRoot { at: 6 }),
            ("/a/../../b", LeavesRoot { at: 6 }),
            ("/%2e", EncodedDotSegment { at: 1 }),
            ("/a/.%2E/b", EncodedDotSegment { at: 3 }),
            ("/a/%2e%2e", EncodedDotSegment { at: 3 }),
            ("/a/%2E./b", EncodedDotSegment { at: 3 }),
            ("/a%00", ControlByte { byte: 0, at: 2 }),
            ("/%7f", ControlByte { byte: 0x7f, at: 1 }),
            ("/%0d%0a", ControlByte { byte: 13, at: 1 }),
            ("/a\tb", ControlByte { byte: 9, at: 2 }),
            ("/a\\b", Backslash { at: 2 }),
            ("/a%5Cb", Backslash { at: 2 }),
            ("/..%5c", Backslash { at: 3 }),
            ("/a b", RawDelimiter { byte: b' ', at: 2 }),
            ("/a?b", RawDelimiter { byte: b'?', at: 2 }),
            ("/a#b", RawDelimiter { byte: b'#', at: 2 }),
            ("/%", BadEscape { at: 1 }),
            ("/%4", BadEscape { at: 1 }),
            ("/a/%zz", BadEscape { at: 3 }),
            ("/%é", BadEscape { at: 1 }),
            ("/%+1", BadEscape { at: 1 }),
        ] {
            assert_eq!(normal(raw), Err(wanted), "{raw:?}");
        }
        assert_eq!(Path::normalise(b"/a\xff"), Err(NotUtf8 { at: 2 }));
        assert_eq!(Path::normalise(b"/\xc0\xae"), Err(NotUtf8 { at: 1 }));
    }

    #[test]
    fn stripping_drops_leading_segments_and_ends_at_the_root() {
        for (raw, count, wanted) in [
            ("/a/b", 0, "/a/b"),
            ("/a/b", 1, "/b"),
            ("/a/b/", 1, "/b/"),
            ("/a", 1, "/"),
            ("/a/", 1, "/"),
            ("/a/b", 9, "/"),
            ("/", 1, "/"),
            ("/a//b", 1, "//b"),
            ("/a", usize::MAX, "/"),
        ] {
            assert_eq!(path(raw).strip_segments(count).as_str(), wanted, "{raw}");
        }
    }

    #[test]
    fn a_prefix_stands_before_the_path_and_holds_no_dot_segment() {
        let prefixed = |prefix| path("/a").prefixed(prefix).map(|path| path.to_string());
        assert_eq!(prefixed("/api").as_deref(), Ok("/api/a"));
        assert_eq!(prefixed("/api/").as_deref(), Ok("/api/a"));
        assert_eq!(prefixed("/").as_deref(), Ok("/a"));
        assert_eq!(prefixed("/%61pi").as_deref(), Ok("/api/a"));
        assert_eq!(prefixed("api"), Err(PathError::NoLeadingSlash));
        assert_eq!(prefixed("/x/.."), Err(PathError::DotSegment { at: 3 }));
    }

    #[test]
    fn segments_stand_between_the_slashes() {
        assert_eq!(path("/a//b/").segments().count(), 4);
        assert_eq!(Path::default().segments().collect::<Vec<_>>(), [""]);
    }

    /// Paths made of what a normaliser may trip over.
    fn tricky() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop::sample::select(vec![
            "/", "/", ".", "..", "a", "%", "%2", "%2e", "%2E", "%2f", "%25", "%61", "%5c", "%c3",
            "%a9", "é", "é", "2e", "e", ";", "~",
        ]);
        prop::collection::vec(piece, 0..12)
            .prop_map(|pieces| format!("/{}", pieces.concat()).into_bytes())
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing_more(raw in tricky()) {
            if let Ok(once) = Path::normalise(&raw) {
                prop_assert_eq!(Path::normalise(once.as_str().as_bytes()), Ok(once));
            }
        }

        #[test]
        fn no_dot_segment_is_left(raw in tricky()) {
            if let Ok(path) = Path::normalise(&raw) {
                prop_assert!(path.as_str().starts_with('/'));
                prop_assert!(!path.segments().any(is_dot_segment));
                prop_assert!(!path.as_str().to_ascii_lowercase().contains("%2e"));
            }
        }

        #[test]
        fn what_is_routed_is_what_an_upstream_reads(raw in tricky(), prefix in tricky()) {
            if let (Ok(path), Ok(prefix)) = (Path::normalise(&raw), Path::normalise(&prefix)) {
                // An upstream that normalises as RFC 3986 has it finds the same segments.
                let forwarded = prefix.followed_by(&path);
                let read = Path::normalise(forwarded.as_str().as_bytes());
                prop_assert_eq!(read.as_ref(), Ok(&forwarded));
                prop_assert!(forwarded.as_str().ends_with(path.as_str()));
            }
        }

        #[test]
        fn any_bytes_give_a_path_or_an_error(
            raw in prop::collection::vec(any::<u8>(), 0..24),
            count in 0_usize..5,
        ) {
            let raw = [b"/", &raw[..]].concat();
            if let Ok(path) = Path::normalise(&raw) {
                let stripped = path.strip_segments(count);
                prop_assert_eq!(Path::normalise(stripped.as_str().as_bytes()), Ok(stripped));
            }
        }
    }
}
