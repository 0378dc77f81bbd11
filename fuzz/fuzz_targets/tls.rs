//! TLS between the gateway's transport and rustls itself. See `tidegate_fuzz::tls`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate_fuzz::tls::play(bytes));
