//! A WebSocket's whole life, played from both sides. See `tidegate_fuzz::session`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate_fuzz::session::play(bytes));
