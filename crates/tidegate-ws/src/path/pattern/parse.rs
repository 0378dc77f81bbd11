//! From the text of a path pattern to its segments.

use std::sync::Arc;

use super::{Capture, PatternError, Segment, Tail};
use crate::path::{PathError, WholeRegex, escape, is_dot_segment, is_variable_name};

/// Parses a whole pattern.
pub(super) fn pattern(text: &str) -> Result<(Vec<Segment>, Tail), PatternError> {
    let mut parser = Parser::default();
    let segments = split(text)?;
    let last = segments.len() - 1;
    let mut tail = Tail::Nothing;
    for (index, piece) in segments.into_iter().enumerate() {
        match catch_all(piece) {
            Some(_) if index < last => {
                return Err(PatternError::CatchAllInside { at: piece.at });
            }
            Some(name) if name.text.is_empty() => tail = Tail::Anything,
            Some(name) => tail = Tail::Captured(parser.name(name)?),
            None => {
                let segment = parser.segment(piece)?;
                parser.segments.push(segment);
            }
        }
    }
    Ok((parser.segments, tail))
}

/// A stretch of the pattern, and where it begins.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Piece<'a> {
    fn until(self, end: usize) -> Self {
        Self {
            text: &self.text[..end],
            at: self.at,
        }
    }

    fn from(self, start: usize) -> Self {
        Self {
            text: &self.text[start..],
            at: self.at + start,
        }
    }

    /// The byte offsets, within the piece, of the first brace pair.
    fn braces(self) -> Option<(usize, usize)> {
        let open = self.text.find('{')?;
        let mut depth = Braces::default();
        for (at, byte) in self.text.bytes().enumerate().skip(open) {
            depth.step(byte, at);
            if depth.open.is_empty() {
                return Some((open, at));
            }
        }
        None
    }
}

/// Splits at the slashes that stand outside of braces; a regex may hold some.
fn split(text: &str) -> Result<Vec<Piece<'_>>, PatternError> {
    if !text.starts_with('/') {
        return Err(PatternError::NoLeadingSlash);
    }
    let mut pieces = Vec::new();
    let mut braces = Braces::default();
    let mut start = 1;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        if !braces.step(byte, at) {
            return Err(PatternError::UnbalancedBrace { at });
        }
        if byte == b'/' && braces.open.is_empty() {
            pieces.push(Piece {
                text: &text[start..at],
                at: start,
            });
            start = at + 1;
        }
    }
    if let Some(&at) = braces.open.first() {
        return Err(PatternError::UnbalancedBrace { at });
    }
    pieces.push(Piece {
        text: &text[start..],
        at: start,
    });
    Ok(pieces)
}

/// Which braces are open. Within them a backslash takes the next byte's meaning away.
#[derive(Default)]
struct Braces {
    open: Vec<usize>,
    escaped: bool,
}

impl Braces {
    /// Takes the next byte; false when it closes what nothing opened.
    fn step(&mut self, byte: u8, at: usize) -> bool {
        if std::mem::take(&mut self.escaped) {
            return true;
        }
        match byte {
            b'\\' if !self.open.is_empty() => self.escaped = true,
            b'{' => self.open.push(at),
            b'}' => return self.open.pop().is_some(),
            _ => {}
        }
        true
    }
}

/// The name of `{*name}`, an empty one for `**`, nothing for any other segment.
fn catch_all(piece: Piece<'_>) -> Option<Piece<'_>> {
    if piece.text == "**" {
        return Some(piece.from(2));
    }
    let inner = piece.text.strip_prefix("{*")?.strip_suffix('}')?;
    // An empty name must stay an error, so the star is given back where there is none.
    Some(if inner.is_empty() {
        piece.until(2).from(1)
    } else {
        piece.until(2 + inner.len()).from(2)
    })
}

#[derive(Default)]
struct Parser {
    segments: Vec<Segment>,
    names: Vec<Arc<str>>,
}

impl Parser {
    fn segment(&mut self, piece: Piece<'_>) -> Result<Segment, PatternError> {
        if piece.text == "*" {
            return Ok(Segment::Any);
        }
        let Some((open, close)) = piece.braces() else {
            return literal_segment(piece);
        };
        let behind = piece.from(close + 1);
        if let Some(second) = behind.text.find('{') {
            let at = behind.at + second;
            return Err(PatternError::ManyCaptures { at });
        }
        let inner = piece.until(close).from(open + 1);
        if inner.text.starts_with('*') {
            return Err(PatternError::CatchAllInside { at: inner.at });
        }
        let (name, regex) = match inner.text.find(':') {
            Some(colon) => (inner.until(colon), Some(inner.from(colon + 1))),
            None => (inner, None),
        };
        let name = self.name(name)?;
        Ok(Segment::Capture(Box::new(Capture {
            prefix: literal(piece.until(open))?,
            suffix: literal(behind)?,
            regex: regex.map(|regex| compile(&name, regex)).transpose()?,
            name,
        })))
    }

    fn name(&mut self, piece: Piece<'_>) -> Result<Arc<str>, PatternError> {
        let (name, at) = (piece.text, piece.at);
        if !is_variable_name(name) {
            let name = name.to_owned();
            return Err(PatternError::InvalidName { name, at });
        }
        if self.names.iter().any(|known| **known == *name) {
            let name = name.to_owned();
            return Err(PatternError::DuplicateName { name, at });
        }
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        Ok(name)
    }
}

fn compile(name: &str, regex: Piece<'_>) -> Result<WholeRegex, PatternError> {
    WholeRegex::parse(regex.text).map_err(|source| PatternError::BadRegex {
        name: name.to_owned(),
        at: regex.at,
        source,
    })
}

fn literal_segment(piece: Piece<'_>) -> Result<Segment, PatternError> {
    let at = piece.at;
    if is_dot_segment(piece.text) {
        return Err(PathError::DotSegment { at }.into());
    }
    let literal = literal(piece)?;
    if is_dot_segment(&literal) {
        return Err(PathError::EncodedDotSegment { at }.into());
    }
    Ok(Segment::Literal(literal))
}

fn literal(piece: Piece<'_>) -> Result<Box<str>, PatternError> {
    if let Some(star) = piece.text.find('*') {
        let at = piece.at + star;
        return Err(PatternError::StarInside { at });
    }
    escape::scan(piece.text, piece.at)?;
    let mut out = String::with_capacity(piece.text.len());
    escape::decode_into(&mut out, piece.text, piece.at)?;
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::path::{Captures, Path, PathError, PathPattern, PatternError};

    fn refused(text: &str) -> PatternError {
        PathPattern::parse(text).unwrap_err()
    }

    #[test]
    fn errors_say_what_and_where() {
        use PatternError::*;
        let name = |name: &str| name.to_owned();
        for (text, wanted) in [
            ("", NoLeadingSlash),
            ("a/b", NoLeadingSlash),
            ("/a/**/b", CatchAllInside { at: 3 }),
            ("/{*x}/b", CatchAllInside { at: 1 }),
            ("/a{*x}", CatchAllInside { at: 3 }),
            ("/{*x}b", CatchAllInside { at: 2 }),
            ("/a*", StarInside { at: 2 }),
            ("/***", StarInside { at: 1 }),
            ("/{x}*", StarInside { at: 4 }),
            ("/a/{x", UnbalancedBrace { at: 3 }),
            ("/a/x}", UnbalancedBrace { at: 4 }),
            ("/{x:[0-9]{2}", UnbalancedBrace { at: 1 }),
            ("/{a}-{b}", ManyCaptures { at: 5 }),
            (
                "/{a}/{a}",
                DuplicateName {
                    name: name("a"),
                    at: 6,
                },
            ),
            (
                "/{a}/{*a}",
                DuplicateName {
                    name: name("a"),
                    at: 7,
                },
            ),
            (
                "/{}",
                InvalidName {
                    name: name(""),
                    at: 2,
                },
            ),
            (
                "/{*}",
                InvalidName {
                    name: name("*"),
                    at: 2,
                },
            ),
            (
                "/{1a}",
                InvalidName {
                    name: name("1a"),
                    at: 2,
                },
            ),
            (
                "/{a b:x}",
                InvalidName {
                    name: name("a b"),
                    at: 2,
                },
            ),
            ("/a/..", Path(PathError::DotSegment { at: 3 })),
            ("/%2e", Path(PathError::EncodedDotSegment { at: 1 })),
            ("/a b", Path(PathError::RawDelimiter { byte: b' ', at: 2 })),
            ("/a?", Path(PathError::RawDelimiter { byte: b'?', at: 2 })),
            ("/{x}%zz", Path(PathError::BadEscape { at: 4 })),
        ] {
            assert_eq!(refused(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_bad_regex_is_shown_with_its_place() {
        let error = refused("/a/{id:[}");
        assert!(matches!(error, PatternError::BadRegex { at: 7, .. }));
        assert!(error.to_string().contains("`id` in column 8"), "{error}");
    }

    #[test]
    fn columns_count_bytes() {
        assert_eq!(refused("/é*").to_string().find("column 4"), Some(0));
    }

    fn tricky() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "/", "/", "{", "}", "{x}", "{*y}", "{z:.}", "*", "**", ":", "a", "é", "%c3", "%a9",
            "%2f", "%", "\\", "[", ".",
        ]);
        prop::collection::vec(piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn any_text_gives_a_pattern_or_an_error(pattern in tricky(), path in tricky()) {
            let pattern = PathPattern::parse(&pattern);
            let path = Path::normalise(path.as_bytes());
            if let (Ok(pattern), Ok(path)) = (pattern, path) {
                let mut captures = Captures::default();
                let matched = pattern.matches(&path, &mut captures);
                prop_assert_eq!(captures.len(), if matched { pattern.names().count() } else { 0 });
            }
        }
    }
}
