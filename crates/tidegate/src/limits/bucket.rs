//! A bucket of tokens, kept as the one moment at which it is full again (GCRA). The unit of time is
//! the caller's.

/// Takes a token at `now` from a bucket that is full at `full`, gains a token in `token` and all of
/// them in `size`: when it is full then, or how long there is none.
pub(crate) fn take(full: u64, now: u64, token: u64, size: u64) -> Result<u64, u64> {
    let full = full.max(now).saturating_add(token);
    match full.saturating_sub(now.saturating_add(size)) {
        0 => Ok(full),
        missing => Err(missing),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_its_size_and_tells_the_wait() {
        assert_eq!(take(0, 100, 10, 20), Ok(110));
        assert_eq!(take(110, 100, 10, 20), Ok(120));
        assert_eq!(take(120, 100, 10, 20), Err(10));
        assert_eq!(take(120, 109, 10, 20), Err(1));
        assert_eq!(take(120, 110, 10, 20), Ok(130));
    }
}
