//! Where a head ends, found without looking at a byte twice.

use super::head::{HeadError, Limits};

/// Looks for the end of a head from `*scanned` on, which it moves so that no byte is looked at
/// twice; tells the head's size with its empty line.
pub(crate) fn find_end(
    input: &[u8],
    scanned: &mut usize,
    limits: &Limits,
) -> Result<Option<usize>, HeadError> {
    while let Some(found) = memchr::memchr2(b'\r', b'\n', &input[*scanned..]) {
        let at = *scanned + found;
        if input[at] == b'\n' {
            return Err(HeadError::LineEnd);
        }
        match input.get(at + 1) {
            None => break,
            Some(b'\n') => {}
            Some(_) => return Err(HeadError::LineEnd),
        }
        if at + 2 > limits.head {
            return Err(HeadError::TooLarge);
        }
        match input.get(at + 2..at + 4) {
            Some(b"\r\n") if at + 4 > limits.head => return Err(HeadError::TooLarge),
            Some(b"\r\n") => return Ok(Some(at + 4)),
            Some(_) => *scanned = at + 2,
            // Whether the head ends here shows with the next bytes.
            None => match input.get(at + 2) {
                None | Some(b'\r') => {
                    *scanned = at;
                    break;
                }
                Some(_) => *scanned = at + 2,
            },
        }
    }
    if input.len() > limits.head {
        Err(HeadError::TooLarge)
    } else {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_no_larger_than_its_limit() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
        for cut in 0..=head.len() {
            for (limit, expected) in [
                (head.len(), Ok(Some(head.len()))),
                (head.len() - 1, Err(HeadError::TooLarge)),
                (head.len() - 2, Err(HeadError::TooLarge)),
            ] {
                let limits = Limits {
                    head: limit,
                    ..Limits::default()
                };
                let mut scanned = 0;
                let early = find_end(&head[..cut], &mut scanned, &limits);
                let whole = early.and_then(|_| find_end(head, &mut scanned, &limits));
                assert_eq!(whole, expected, "{limit}, cut at {cut}");
            }
        }
    }

    #[test]
    fn the_end_is_found_under_any_cut_and_no_byte_is_looked_at_twice() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nrest";
        for cut in 0..head.len() {
            let mut scanned = 0;
            let early = find_end(&head[..cut], &mut scanned, &Limits::default()).unwrap();
            assert_eq!(early.is_some(), cut >= 27, "{cut}");
            assert_eq!(
                find_end(head, &mut scanned, &Limits::default()),
                Ok(Some(27))
            );
        }
        for bad in [
            "GET / HTTP/1.1\nHost",
            "GET / HTTP/1.1\r\rHost",
            "GET / HTTP/1.1\r\nA: b\n\r\n",
            "a\rb",
        ] {
            assert_eq!(
                find_end(bad.as_bytes(), &mut 0, &Limits::default()),
                Err(HeadError::LineEnd),
                "{bad:?}"
            );
        }
    }
}
