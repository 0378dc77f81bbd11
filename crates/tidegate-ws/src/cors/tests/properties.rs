use proptest::prelude::*;

use super::*;

/// Origins made of what a comparison may trip over.
fn tricky() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "https",
        "http",
        "://",
        ":",
        "/",
        "//",
        "a",
        "b.",
        "*.",
        "example.org",
        "EXAMPLE.org",
        ".example.org",
        "evil.net",
        ".",
        "..",
        "@",
        "[::1]",
        "443",
        "80",
        "8443",
        "null",
        "*",
        " ",
        "%00",
        "\\",
        "?",
        "#",
        ",",
        "_",
        "-",
        "é",
    ]);
    prop::collection::vec(piece, 0..7).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_wildcard_lets_in_nothing_but_hosts_below_it(line in tricky()) {
        if handshake(&["https://*.example.org"], &line).is_ok() {
            let line = line.to_ascii_lowercase();
            let host = line.strip_prefix("https://").unwrap();
            let host = host.strip_suffix(":443").unwrap_or(host);
            if host != "api.example.com" {
                let labels = host.strip_suffix(".example.org").unwrap();
                let is_label = |label: &str| !label.is_empty()
                    && label.bytes().all(|byte| {
                        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
                    });
                prop_assert!(labels.split('.').all(is_label), "{line}");
            }
        }
    }

    #[test]
    fn what_is_let_in_by_name_is_that_name(allowed in tricky(), line in tricky()) {
        let Ok(pattern) = allowed.parse::<OriginPattern>() else {
            return Ok(());
        };
        prop_assert_eq!(pattern.to_string().parse(), Ok(pattern.clone()));
        let is_exact = !allowed.contains('*');
        if let (Origin::Of(origin), true) = (of(&line), is_exact) {
            let is_same = line.parse::<OriginPattern>() == Ok(pattern.clone());
            prop_assert_eq!(pattern.matches(&origin), is_same, "{} {}", allowed, line);
        }
    }
}
