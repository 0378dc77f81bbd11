//! An envelope of a bridge, as a client wrote it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tidegate::fuzzing::envelope(bytes));
