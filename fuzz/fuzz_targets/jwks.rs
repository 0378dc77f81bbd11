//! Sets of keys.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tidegate::fuzzing::jwks(bytes));
