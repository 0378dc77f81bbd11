//! One line, written field by field.

use std::fmt::Display;
use std::io::Write as _;
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::escape::{cut, escaped, is_plain, quoted};
use super::stamp;
use crate::mask;

/// The most bytes of a text that a stranger chose, and of a path with its query.
pub(super) const LONGEST: usize = 512;
const LONGEST_PATH: usize = 2048;
/// What stands behind a text that was cut.
const MORE: &[u8] = "…".as_bytes();

/// A line that is being written.
#[derive(Debug)]
pub(super) struct Line<'a> {
    out: &'a mut Vec<u8>,
    json: bool,
}

impl<'a> Line<'a> {
    /// Begins a line of JSON, or of text for people: its time, and its event.
    pub(super) fn begin(out: &'a mut Vec<u8>, json: bool, event: &str) -> Self {
        let (before, between, behind) = if json {
            ("{\"ts\":\"", "\",\"event\":\"", "\"")
        } else {
            ("", " ", "")
        };
        out.extend_from_slice(before.as_bytes());
        stamp::put(out, SystemTime::now());
        out.extend_from_slice(between.as_bytes());
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(behind.as_bytes());
        Self { out, json }
    }

    #[inline]
    fn key(&mut self, key: &str) {
        if self.json {
            self.out.extend_from_slice(b",\"");
            self.out.extend_from_slice(key.as_bytes());
            self.out.extend_from_slice(b"\":");
        } else {
            self.out.push(b' ');
            self.out.extend_from_slice(key.as_bytes());
            self.out.push(b'=');
        }
    }

    /// A text of ours, which needs no escape.
    pub(super) fn word(&mut self, key: &str, word: impl Display) -> &mut Self {
        self.key(key);
        self.quote();
        let _ = write!(self.out, "{word}"); // memory takes it
        self.quote();
        self
    }

    /// An address; most are of IPv4, which is written here in a fraction of the time.
    pub(super) fn address(&mut self, key: &str, address: IpAddr) -> &mut Self {
        let IpAddr::V4(address) = address else {
            return self.word(key, address);
        };
        self.key(key);
        self.quote();
        for (place, octet) in address.octets().into_iter().enumerate() {
            if place > 0 {
                self.out.push(b'.');
            }
            digits(self.out, octet.into());
        }
        self.quote();
        self
    }

    /// One of ours that is at hand.
    pub(super) fn label(&mut self, key: &str, label: &str) -> &mut Self {
        self.key(key);
        self.quote();
        self.out.extend_from_slice(label.as_bytes());
        self.quote();
        self
    }

    #[inline]
    fn quote(&mut self) {
        if self.json {
            self.out.push(b'"');
        }
    }

    /// A text that a stranger chose.
    pub(super) fn text(&mut self, key: &str, text: &[u8]) -> &mut Self {
        self.key(key);
        let (text, is_cut) = cut(text, LONGEST);
        let is_bare = |byte: &u8| is_plain(*byte) && !matches!(byte, b' ' | b'=');
        if !self.json && !text.is_empty() && !is_cut && text.iter().all(is_bare) {
            self.out.extend_from_slice(text);
        } else {
            quoted(self.out, text, self.json);
            self.mark_cut(is_cut);
        }
        self
    }

    /// A path and its query, without the secrets in it.
    pub(super) fn path(&mut self, key: &str, path: &[u8], query: Option<&[u8]>) -> &mut Self {
        self.key(key);
        self.out.push(b'"');
        let is_cut = target(self.out, self.json, path, query);
        self.out.push(b'"');
        self.mark_cut(is_cut);
        self
    }

    /// Puts the mark of what was cut before the last quote.
    fn mark_cut(&mut self, is_cut: bool) {
        if is_cut {
            self.out.pop();
            self.out.extend_from_slice(MORE);
            self.out.push(b'"');
        }
    }

    /// A whole number.
    pub(super) fn number(&mut self, key: &str, number: u64) -> &mut Self {
        self.key(key);
        digits(self.out, number);
        self
    }

    /// A time in milliseconds, to the microsecond.
    pub(super) fn millis(&mut self, key: &str, time: Duration) -> &mut Self {
        self.thousandths(key, time.as_micros())
    }

    /// A time in seconds, to the millisecond.
    pub(super) fn seconds(&mut self, key: &str, time: Duration) -> &mut Self {
        self.thousandths(key, time.as_millis())
    }

    fn thousandths(&mut self, key: &str, number: u128) -> &mut Self {
        self.key(key);
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        digits(self.out, number / 1000);
        fraction(self.out, number % 1000);
        self
    }

    /// Ends the line.
    pub(super) fn end(self) {
        let end: &[u8] = if self.json { b"}\n" } else { b"\n" };
        self.out.extend_from_slice(end);
    }
}

/// Writes a path and its query, escaped and without secrets; whether they were cut.
pub(super) fn target(out: &mut Vec<u8>, doubled: bool, path: &[u8], query: Option<&[u8]>) -> bool {
    let (path, mut is_cut) = cut(path, LONGEST_PATH);
    let mut left = LONGEST_PATH - path.len();
    escaped(out, path, doubled);
    let Some(query) = query.filter(|_| !is_cut) else {
        return is_cut;
    };
    out.push(b'?');
    mask::query(query, &mut |piece| {
        let (piece, more) = cut(piece, left);
        escaped(out, piece, doubled);
        left -= piece.len();
        is_cut |= more;
        if more {
            left = 0;
        }
    });
    is_cut
}

/// Writes a text for the combined format, or `-`.
pub(super) fn between_quotes(out: &mut Vec<u8>, text: Option<&[u8]>) {
    let (text, is_cut) = cut(text.unwrap_or(b"-"), LONGEST);
    out.push(b'"');
    escaped(out, text, false);
    more(out, is_cut);
    out.push(b'"');
}

/// Puts the mark of what was cut.
pub(super) fn more(out: &mut Vec<u8>, is_cut: bool) {
    if is_cut {
        out.extend_from_slice(MORE);
    }
}

/// Writes a number. There are several in each line, and this takes a third of what formatting does.
pub(super) fn digits(out: &mut Vec<u8>, mut number: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// Writes a point and so many thousandths, all three digits of them.
pub(super) fn fraction(out: &mut Vec<u8>, thousandths: u64) {
    let digit = |of: u64| b'0' + u8::try_from(thousandths / of % 10).unwrap_or_default();
    out.extend_from_slice(&[b'.', digit(100), digit(10), digit(1)]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Line<'_>), json: bool) -> String {
        let mut out = Vec::new();
        let mut line = Line::begin(&mut out, json, "e");
        write(&mut line);
        line.end();
        let text = String::from_utf8(out).unwrap();
        let from = text.find('e').unwrap();
        text[from..].to_owned()
    }

    #[test]
    fn numbers_are_whole_to_the_last_digit() {
        for number in [0, 9, 10, 1234, u64::MAX] {
            let mut out = Vec::new();
            digits(&mut out, number);
            assert_eq!(out, number.to_string().as_bytes());
        }
        let times = |line: &mut Line<'_>| {
            line.millis("a", Duration::from_micros(12_007))
                .seconds("b", Duration::from_millis(5_312_080));
        };
        assert_eq!(text(times, false), "e a=12.007 b=5312.080\n");
    }

    #[test]
    fn what_could_be_taken_for_more_than_one_field_is_quoted() {
        let write = |line: &mut Line<'_>| {
            line.text("a", b"plain")
                .text("b", b"x status=200")
                .text("c", b"");
            line.text("d", b"\"\n").word("e", 7).label("f", "g");
            line.address("h", [10, 0, 203, 9].into());
        };
        let expected =
            "e a=plain b=\"x status=200\" c=\"\" d=\"\\\"\\u000a\" e=7 f=g h=10.0.203.9\n";
        assert_eq!(text(write, false), expected);
    }

    #[test]
    fn long_texts_are_cut_and_say_so() {
        let long = "x".repeat(9000);
        let line = text(
            |line| {
                line.text("a", long.as_bytes());
            },
            true,
        );
        assert_eq!(
            line.len(),
            "event\":\"e\",\"a\":\"\"}\n".len() + LONGEST + MORE.len()
        );
        let query = format!("{long}&token=s3cret");
        let line = text(
            |line| {
                line.path("p", b"/a", Some(query.as_bytes()));
            },
            true,
        );
        assert!(
            line.ends_with("x…\"}\n") && !line.contains("s3cret"),
            "{line}"
        );
        assert!(line.len() < LONGEST_PATH + 50);
    }
}
