//! A path: what is normalised stays as it is when an upstream normalises it once more, and holds
//! nothing that somebody could read in another way.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::router::{Captures, Path, PathPattern};

fuzz_target!(|bytes: &[u8]| {
    // A NUL never stands in a path that is accepted, so it may part the pattern from the path here.
    let mut parts = bytes.splitn(2, |&byte| byte == 0);
    let raw = parts.next().unwrap_or_default();
    let Ok(path) = Path::normalise(raw) else {
        return;
    };
    let text = path.as_str();
    assert_eq!(Path::normalise(text.as_bytes()).as_ref(), Ok(&path));
    assert!(text.starts_with('/'));
    assert!(
        !text.contains(['\\', '?', '#', ' ']) && !text.contains(|c: char| c.is_ascii_control())
    );
    assert!(
        path.segments()
            .all(|segment| segment != "." && segment != "..")
    );
    let lower = text.to_ascii_lowercase();
    assert!(
        ["%2e", "%00", "%5c", "%0d", "%0a"]
            .iter()
            .all(|hidden| !lower.contains(hidden))
    );
    for count in 0..4 {
        let stripped = path.strip_segments(count);
        assert_eq!(Path::normalise(stripped.as_str().as_bytes()), Ok(stripped));
    }

    // Patterns are the operator's, and a long regex may take long to compile: short ones only.
    let pattern = parts.next().filter(|pattern| pattern.len() <= 64);
    let pattern = pattern.and_then(|pattern| std::str::from_utf8(pattern).ok());
    if let Some(Ok(pattern)) = pattern.map(PathPattern::parse) {
        let _ = pattern.matches(&path, &mut Captures::default());
    }
});
