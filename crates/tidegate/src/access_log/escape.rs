//! Texts that strangers chose, so that they stay within their quotes and their line.

use std::io::Write as _;

/// Writes `bytes` between quotes, as JSON has it: what could end the text or the line, move the
/// cursor of a terminal or turn the order of letters round is escaped. Bytes that are no UTF-8 stand
/// there as `\xff`, the backslash doubled where `doubled` is set (JSON has no escape for them).
pub(super) fn quoted(out: &mut Vec<u8>, bytes: &[u8], doubled: bool) {
    out.push(b'"');
    escaped(out, bytes, doubled);
    out.push(b'"');
}

/// The same without the quotes.
pub(super) fn escaped(out: &mut Vec<u8>, bytes: &[u8], doubled: bool) {
    let mut rest = bytes;
    loop {
        let (start, behind) = rest.split_at(plain_start(rest));
        out.extend_from_slice(start);
        match behind.first() {
            None => return,
            Some(byte) if byte.is_ascii() => {
                ascii(out, *byte);
                rest = &behind[1..];
            }
            Some(_) => {
                let foreign = behind.iter().position(u8::is_ascii);
                let (foreign, behind) = behind.split_at(foreign.unwrap_or(behind.len()));
                unicode(out, foreign, doubled);
                rest = behind;
            }
        }
    }
}

/// How many bytes stand for themselves before the first that does not. Eight are looked at at a time;
/// almost always all of them do.
fn plain_start(bytes: &[u8]) -> usize {
    let (eights, rest) = bytes.as_chunks::<8>();
    let from = 8 * eights.iter().take_while(|eight| are_plain(**eight)).count();
    let tail = if from == 8 * eights.len() {
        rest
    } else {
        &bytes[from..]
    };
    from + tail.iter().take_while(|byte| is_plain(**byte)).count()
}

/// Whether all eight are plain; it may be `false` where they are.
const fn are_plain(eight: [u8; 8]) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const HIGH: u64 = ONES << 7;
    let word = u64::from_ne_bytes(eight);
    // The high bit of a byte: it is less than a space; it is this one; it is not ASCII, or DEL.
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let foreign = word | word.wrapping_add(ONES);
    (control | quote | backslash | foreign) & HIGH == 0
}

/// Whether a byte stands for itself wherever it stands.
pub(super) const fn is_plain(byte: u8) -> bool {
    byte >= 0x20 && byte < 0x7f && byte != b'"' && byte != b'\\'
}

fn ascii(out: &mut Vec<u8>, byte: u8) {
    if byte == b'"' || byte == b'\\' {
        out.extend_from_slice(&[b'\\', byte]);
    } else {
        unit(out, byte.into());
    }
}

fn unicode(out: &mut Vec<u8>, bytes: &[u8], doubled: bool) {
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if misleads(letter) {
                for one in letter.encode_utf16(&mut [0; 2]) {
                    unit(out, *one);
                }
            } else {
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        for byte in chunk.invalid() {
            let backslash: &[u8] = if doubled { b"\\\\x" } else { b"\\x" };
            out.extend_from_slice(backslash);
            let _ = write!(out, "{byte:02x}"); // memory takes it
        }
    }
}

fn unit(out: &mut Vec<u8>, unit: u16) {
    let _ = write!(out, "\\u{unit:04x}");
}

/// Controls, line ends of Unicode, and marks that nobody sees or that turn the direction round.
fn misleads(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

/// As much of a text as a line takes; `true`: that is not all of it.
pub(super) fn cut(bytes: &[u8], most: usize) -> (&[u8], bool) {
    if bytes.len() <= most {
        return (bytes, false);
    }
    let mut end = most;
    // Not within a letter, which has four bytes at most.
    while end > most.saturating_sub(4) && bytes[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    (&bytes[..end], true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn json(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        quoted(&mut out, bytes, true);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn nothing_leaves_its_quotes() {
        for (bytes, text) in [
            (&b"plain /?&=%41"[..], r#""plain /?&=%41""#),
            (b"a\"b\\c", r#""a\"b\\c""#),
            (
                b"\r\n\t\0\x1b[2J\x7f",
                r#""\u000d\u000a\u0009\u0000\u001b[2J\u007f""#,
            ),
            ("é€😀".as_bytes(), "\"é€😀\""),
            (
                "\u{85}\u{2028}\u{202e}\u{e0041}".as_bytes(),
                r#""\u0085\u2028\u202e\udb40\udc41""#,
            ),
            (b"\xff\xc3(", r#""\\xff\\xc3(""#),
        ] {
            assert_eq!(json(bytes), text);
        }
    }

    #[test]
    fn eight_bytes_are_judged_as_each_of_them() {
        for byte in 0..=255 {
            for place in 0..8 {
                let mut eight = *b"abc XYZ~";
                eight[place] = byte;
                let is_plain = is_plain(byte);
                assert!(is_plain || !are_plain(eight), "{byte} at {place}");
                let start = if is_plain { 8 } else { place };
                assert_eq!(plain_start(&eight), start, "{byte} at {place}");
            }
        }
    }

    #[test]
    fn a_text_is_cut_between_two_letters() {
        assert_eq!(cut("aé".as_bytes(), 2), (&b"a"[..], true));
        assert_eq!(cut("aé".as_bytes(), 3), ("aé".as_bytes(), false));
        assert_eq!(cut(&[0x80; 9], 6).0.len(), 2);
    }

    proptest! {
        #[test]
        fn any_text_is_read_as_it_was(text in "\\PC*|(?s).*") {
            let read: Value = serde_json::from_str(&json(text.as_bytes())).unwrap();
            prop_assert_eq!(read.as_str(), Some(text.as_str()));
        }

        #[test]
        fn any_bytes_are_one_text_on_one_line(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let json = json(&bytes);
            prop_assert!(!json.contains(char::is_control));
            prop_assert!(serde_json::from_str::<Value>(&json).unwrap().is_string());
        }
    }
}
