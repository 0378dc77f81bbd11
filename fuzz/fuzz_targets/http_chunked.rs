//! See `tidegate::fuzzing::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate::fuzzing::chunked(bytes));
