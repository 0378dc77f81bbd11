//! The time at the beginning of a line.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use super::line::fraction;
use crate::time;

/// `2026-11-21T03:00:01` and the second that this is.
type Second = (u64, [u8; 19]);

thread_local! {
    static SECOND: Cell<Second> = const { Cell::new((u64::MAX, [0; 19])) };
}

/// Writes the time as RFC 3339 has it, in UTC, with milliseconds.
pub(super) fn put(out: &mut Vec<u8>, now: SystemTime) {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut second, mut text) = SECOND.get();
    if second != since.as_secs() {
        second = since.as_secs();
        let whole = time::rfc3339(now);
        if let Some(start) = whole.as_bytes().first_chunk() {
            text = *start;
        }
        SECOND.set((second, text));
    }
    out.extend_from_slice(&text);
    fraction(out, since.subsec_millis().into());
    out.push(b'Z');
}

/// Writes the time as the combined format has it: `21/Nov/2026:03:00:01 +0000`.
pub(super) fn put_common(out: &mut Vec<u8>, now: SystemTime) {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut text = Vec::with_capacity(24);
    put(&mut text, now);
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let month = std::str::from_utf8(part(5, 7)).ok();
    let month = month.and_then(|month| month.parse::<usize>().ok());
    let month = month.and_then(|month| MONTHS.get(month.wrapping_sub(1)));
    for (piece, behind) in [
        (part(8, 10), "/"),
        (month.map_or(&b""[..], |month| month.as_bytes()), "/"),
        (part(0, 4), ":"),
        (part(11, 19), " +0000"),
    ] {
        out.extend_from_slice(piece);
        out.extend_from_slice(behind.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (millis, text, common) in [
            (
                1_795_230_001_204,
                "2026-11-21T03:00:01.204Z",
                "21/Nov/2026:03:00:01 +0000",
            ),
            (
                1_795_230_001_007,
                "2026-11-21T03:00:01.007Z",
                "21/Nov/2026:03:00:01 +0000",
            ),
            (
                951_782_400_000,
                "2000-02-29T00:00:00.000Z",
                "29/Feb/2000:00:00:00 +0000",
            ),
        ] {
            let moment = UNIX_EPOCH + Duration::from_millis(millis);
            let (mut out, mut other) = (Vec::new(), Vec::new());
            put(&mut out, moment);
            put_common(&mut other, moment);
            assert_eq!(out, text.as_bytes());
            assert_eq!(other, common.as_bytes());
        }
    }
}
