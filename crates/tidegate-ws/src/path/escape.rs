//! Percent escapes: which are decoded, and when two spellings are the same text.

use super::PathError;

/// Refuses the bytes that may not stand raw in a path. `Ok(true)` when something in `text` is left
/// to do: an escape, or a segment that begins with a dot. `at` is where `text` begins.
pub(super) fn scan(text: &str, at: usize) -> Result<bool, PathError> {
    let mut work = false;
    let mut previous = 0;
    for (offset, byte) in text.bytes().enumerate() {
        match byte {
            b'%' => work = true,
            b'.' => work |= previous == b'/',
            _ => refuse_raw(byte, at + offset)?,
        }
        previous = byte;
    }
    Ok(work)
}

fn refuse_raw(byte: u8, at: usize) -> Result<(), PathError> {
    match byte {
        b' ' | b'#' | b'?' => Err(PathError::RawDelimiter { byte, at }),
        _ => refuse_anywhere(byte, at),
    }
}

/// The bytes that are refused encoded as well as raw.
fn refuse_anywhere(byte: u8, at: usize) -> Result<(), PathError> {
    match byte {
        0x00..=0x1f | 0x7f => Err(PathError::ControlByte { byte, at }),
        b'\\' => Err(PathError::Backslash { at }),
        _ => Ok(()),
    }
}

/// Writes `text` behind `out` with its escapes of unreserved characters decoded and all others as
/// they are. `at` is where `text` begins, for the errors.
pub(super) fn decode_into(out: &mut String, text: &str, at: usize) -> Result<(), PathError> {
    let mut rest = text;
    while let Some(before) = rest.find('%') {
        let here = at + text.len() - rest.len() + before;
        out.push_str(&rest[..before]);
        rest = &rest[before..];
        let byte = escape(rest.as_bytes()).ok_or(PathError::BadEscape { at: here })?;
        refuse_anywhere(byte, here)?;
        if is_unreserved(byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&rest[..3]);
        }
        rest = &rest[3..];
    }
    out.push_str(rest);
    Ok(())
}

/// Whether two stretches of a normalised path are the same text: hex digits in any case, and an
/// escape equal to its raw byte where RFC 3986 gives that byte no meaning of its own. Without the
/// latter `/caf%C3%A9` would slip past a route for `/café`.
pub(super) fn same_text(left: &str, right: &str) -> bool {
    left == right
        || ((has_escape(left) || has_escape(right)) && Units::of(left).eq(Units::of(right)))
}

/// What is left of `text` behind `prefix`, compared as by [`same_text`].
pub(super) fn strip_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let mut units = Units::of(text);
    for wanted in Units::of(prefix) {
        if units.next()? != wanted {
            return None;
        }
    }
    text.get(units.at..)
}

/// What is left of `text` before `suffix`, compared as by [`same_text`].
pub(super) fn strip_suffix<'a>(text: &'a str, suffix: &str) -> Option<&'a str> {
    // Counted from the front, because an escape can only be told from there.
    let skipped = Units::of(text)
        .count()
        .checked_sub(Units::of(suffix).count())?;
    let mut units = Units::of(text);
    for _ in 0..skipped {
        units.next();
    }
    let end = units.at;
    if units.eq(Units::of(suffix)) {
        text.get(..end)
    } else {
        None
    }
}

fn has_escape(text: &str) -> bool {
    memchr::memchr(b'%', text.as_bytes()).is_some()
}

/// A text as the units in which it is compared.
struct Units<'a> {
    bytes: &'a [u8],
    at: usize,
}

#[derive(PartialEq)]
enum Unit {
    Escaped(u8),
    Plain(u8),
}

impl<'a> Units<'a> {
    fn of(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
            at: 0,
        }
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        let rest = self.bytes.get(self.at..)?;
        let Some(byte) = escape(rest) else {
            self.at += 1;
            return rest.first().copied().map(Unit::Plain);
        };
        self.at += 3;
        Some(if is_reserved(byte) {
            Unit::Escaped(byte)
        } else {
            Unit::Plain(byte)
        })
    }
}

/// The byte that the escape at the front of `bytes` stands for.
fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else {
        return None;
    };
    Some(hex(*high)? << 4 | hex(*low)?)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 3986 section 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 2.2, and the percent sign itself.
const fn is_reserved(byte: u8) -> bool {
    matches!(
        byte,
        b'%' | b':'
            | b'/'
            | b'?'
            | b'#'
            | b'['
            | b']'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'='
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_text_are_the_same() {
        for (left, right) in [
            ("a", "a"),
            ("%2f", "%2F"),
            ("café", "caf%c3%A9"),
            ("a|b", "a%7Cb"),
        ] {
            assert!(same_text(left, right), "{left} {right}");
            assert!(same_text(right, left), "{right} {left}");
        }
        for (left, right) in [("a", "A"), ("%2F", "/"), ("a;b", "a%3Bb"), ("a", "ab")] {
            assert!(!same_text(left, right), "{left} {right}");
        }
    }

    #[test]
    fn affixes_are_taken_off_in_any_spelling() {
        assert_eq!(strip_prefix("caf%C3%A9-1", "café-"), Some("1"));
        assert_eq!(strip_prefix("ca", "café"), None);
        assert_eq!(strip_suffix("1.caf%C3%A9", ".café"), Some("1"));
        assert_eq!(strip_suffix("%41", "41"), None);
        assert_eq!(strip_prefix("é", "%C3"), None, "no half characters");
    }
}
