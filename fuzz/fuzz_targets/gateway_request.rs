//! Requests through a gateway in memory: what the upstream got is what the client sent, and nothing
//! else. Bytes as they are, or (first byte odd) requests put together of nasty pieces.
#![no_main]

use tidegate_fuzz::{generate, requests};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let [mode, manner, rest @ ..] = bytes else {
        return;
    };
    let manner = requests::Manner::of(*manner);
    if mode & 1 == 0 {
        requests::relay(manner, rest);
    } else if let Ok(stream) = generate::requests(rest) {
        requests::relay(manner, &stream);
    }
});
