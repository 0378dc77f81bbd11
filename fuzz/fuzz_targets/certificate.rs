//! See `tidegate_fuzz::certificates`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate_fuzz::certificates::read(bytes));
