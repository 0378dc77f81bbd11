//! A `Host`: what is accepted names one host, and is read the same way when it is written again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::authority::Authority;

fuzz_target!(|bytes: &[u8]| {
    let Ok(authority) = Authority::parse(bytes) else {
        return;
    };
    let written = authority.to_string();
    assert_eq!(
        Authority::parse(written.as_bytes()).as_ref(),
        Ok(&authority)
    );
    assert!(!written.contains(['@', '/', '\\', '?', '#', ',', ' ', '%']));
    assert!(!authority.host().is_empty());
});
