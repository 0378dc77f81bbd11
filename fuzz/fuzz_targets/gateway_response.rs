//! Answers through a gateway in memory: what the client got is what the upstream said, and nothing
//! behind it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let [settings, rest @ ..] = bytes {
        tidegate_fuzz::responses::relay(*settings, rest);
    }
});
