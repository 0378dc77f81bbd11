//! The handshake's headers: what is accepted follows the grammar, and is a part of what was sent.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate_ws::handshake::{
    Extension, Key, check_version, chosen_protocol, extensions, offered_protocols,
};

fuzz_target!(|bytes: &[u8]| {
    // A NUL never stands in a header's value, so it may part the lines of one header here.
    let lines = || bytes.split(|&byte| byte == 0);

    if let Ok(key) = Key::of_request(lines()) {
        let accept = key.accept();
        assert_eq!(key.check_accept(std::iter::once(&accept[..])), Ok(()));
    }
    let _ = check_version(lines());
    if let Ok(offered) = offered_protocols(lines()) {
        for protocol in &offered {
            assert!(!protocol.is_empty());
            let line = std::iter::once(protocol.as_bytes());
            assert_eq!(chosen_protocol(line, &offered), Ok(Some(*protocol)));
        }
    }
    for line in lines().filter_map(|line| std::str::from_utf8(line).ok()) {
        if let Some(extension) = Extension::parse(line) {
            assert_eq!(extension.text, line.trim_ascii());
        }
    }
    if let Ok(extensions_sent) = extensions(lines()) {
        for extension in extensions_sent {
            // It is written into the upstream's request, between commas.
            let text = extension.text;
            assert!(text == text.trim_ascii() && !text.contains(','));
            assert!(text.starts_with(extension.name) && !extension.name.is_empty());
            let again = extensions(std::iter::once(extension.text.as_bytes()));
            assert_eq!(again, Ok(vec![extension]));
        }
    }
});
